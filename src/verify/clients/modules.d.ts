// The parts of @xmpp/client 0.14 and ws 8 used here; neither ships types.

declare module '@xmpp/client' {
  import type { EventEmitter } from 'node:events';

  export interface Element {
    readonly name: string;
    readonly attrs: Readonly<Record<string, string | undefined>>;
    children: (Element | string)[];
    is(name: string, xmlns?: string): boolean;
    getNS(): string | undefined;
    getChild(name: string, xmlns?: string): Element | undefined;
    getChildren(name: string, xmlns?: string): Element[];
    getChildElements(): Element[];
    getChildText(name: string, xmlns?: string): string | null;
    text(): string;
    toString(): string;
  }

  export type Child = Element | string | undefined;

  export function xml(
    name: string,
    attrs?: Readonly<Record<string, string | undefined>>,
    ...children: readonly (Child | readonly Child[])[]
  ): Element;

  /** What a transport's `Socket` must be: events connect, data, close, error. */
  export interface TransportSocket extends EventEmitter {
    readonly secure: boolean;
    connect(parameters: unknown): void;
    write(data: string, done: (error?: Error) => void): void;
    end(): void;
  }

  export interface TransportInstance {
    Socket: new () => TransportSocket;
    socketParameters(service: string): unknown;
  }

  export interface Transport {
    new (): TransportInstance;
    readonly prototype: TransportInstance;
  }

  export type Authenticate = (
    credentials: { username: string; password: string },
    mechanism: string,
    userAgent?: Element,
  ) => Promise<void>;

  export interface Client extends EventEmitter {
    readonly jid: { toString(): string } | null;
    readonly status: string;
    readonly transports: Transport[];
    readonly reconnect: { stop(): void };
    readonly iqCaller: { request(stanza: Element, timeoutMs?: number): Promise<Element> };
    connect(service: string): Promise<unknown>;
    open(options: { domain: string; lang?: string }): Promise<unknown>;
    stop(): Promise<unknown>;
    send(stanza: Element): Promise<void>;
  }

  export interface ClientOptions {
    readonly service: string;
    readonly domain: string;
    readonly resource?: string;
    /** Milliseconds. */
    readonly timeout?: number;
    readonly credentials: (
      authenticate: Authenticate,
      mechanisms: readonly string[],
      fast: unknown,
      entity: Client,
    ) => Promise<void>;
  }

  export function client(options: ClientOptions): Client;
}

declare module 'ws' {
  import type { EventEmitter } from 'node:events';
  import type { RequestOptions } from 'node:https';

  export default class WebSocket extends EventEmitter {
    constructor(
      url: string,
      protocols: readonly string[],
      options: RequestOptions & { handshakeTimeout?: number },
    );
    send(data: string, done: (error?: Error) => void): void;
    close(): void;
    terminate(): void;
  }
}
