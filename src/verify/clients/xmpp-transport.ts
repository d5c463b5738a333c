import { EventEmitter } from 'node:events';
import { StringDecoder } from 'node:string_decoder';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import type { Client, TransportSocket } from '@xmpp/client';
import WebSocket from 'ws';
import type { Endpoint } from '../dialer.js';

/** A way to the chat server, with the site's CA as the only one trusted. */
export interface XmppRoute {
  /** direct: XEP-0368. starttls: RFC 6120, section 5. websocket: RFC 7395. */
  readonly kind: 'direct' | 'starttls' | 'websocket';
  readonly endpoint: Endpoint;
  readonly domain: string;
  readonly caPem: string;
  /** Path of the websocket. */
  readonly path?: string;
}

function tlsOptions({ domain, caPem }: XmppRoute): ConnectionOptions {
  // TLS 1.2 at least: RFC 9325, section 3.1.1.
  return { servername: domain, ca: caPem, minVersion: 'TLSv1.2' };
}

/** XML stream over TLS; STARTTLS is done before the library sees the first byte. */
class StreamSocket extends EventEmitter implements TransportSocket {
  readonly secure = true;
  #socket: Socket | TLSSocket | null = null;

  connect(parameters: unknown): void {
    const route = parameters as XmppRoute;
    const { host, port } = route.endpoint;
    if (route.kind === 'direct') {
      // The protocol name XEP-0368, section 3 asks for.
      this.#secured(connectTls({ ...tlsOptions(route), host, port, ALPNProtocols: ['xmpp-client'] }));
      return;
    }
    const socket = connectTcp(port, host);
    this.#socket = socket;
    const onError = (error: Error): boolean => this.emit('error', error);
    const onClose = (): boolean => this.emit('error', new Error('the chat server hung up before STARTTLS'));
    socket.on('error', onError).on('close', onClose);
    let seen = '';
    let asked = false;
    socket.once('connect', () =>
      socket.write(
        `<?xml version='1.0'?><stream:stream to='${route.domain}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`,
      ),
    );
    const onData = (chunk: Buffer): void => {
      seen += chunk.toString('utf8');
      if (!asked && /<\/stream:features>/.test(seen)) {
        if (!seen.includes('urn:ietf:params:xml:ns:xmpp-tls')) {
          this.emit('error', new Error('the chat server does not offer STARTTLS'));
          socket.destroy();
          return;
        }
        asked = true;
        seen = '';
        socket.write("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
      } else if (asked && seen.includes('<proceed')) {
        socket.off('data', onData).off('error', onError).off('close', onClose);
        this.#secured(connectTls({ ...tlsOptions(route), socket }));
      }
    };
    socket.on('data', onData);
  }

  #secured(socket: TLSSocket): void {
    this.#socket = socket;
    socket.once('secureConnect', () => this.emit('connect'));
    // A letter may be cut by the end of a packet.
    const decoder = new StringDecoder('utf8');
    socket.on('data', (chunk: Buffer) => this.emit('data', decoder.write(chunk)));
    socket.on('error', (error) => this.emit('error', error));
    socket.on('close', () => this.emit('close'));
  }

  write(data: string, done: (error?: Error) => void): void {
    if (!this.#socket || this.#socket.destroyed)
      done(new Error('the connection to the chat server is closed'));
    else this.#socket.write(data, (error) => done(error ?? undefined));
  }

  end(): void {
    const socket = this.#socket;
    socket?.end();
    // A server that does not hang up in turn must not hold us.
    setTimeout(() => socket?.destroy(), 1000).unref();
  }
}

class WebSocketSocket extends EventEmitter implements TransportSocket {
  readonly secure = true;
  #socket: WebSocket | null = null;

  connect(parameters: unknown): void {
    const route = parameters as XmppRoute;
    const { host, port } = route.endpoint;
    const socket = new WebSocket(`wss://${host}:${port}${route.path ?? '/xmpp-websocket'}`, ['xmpp'], {
      ...tlsOptions(route),
      headers: { Host: route.domain },
      handshakeTimeout: 15_000,
    });
    this.#socket = socket;
    socket.on('open', () => this.emit('connect'));
    socket.on('message', (data: Buffer) => this.emit('data', data.toString('utf8')));
    socket.on('error', (error) => this.emit('error', error));
    socket.on('close', () => this.emit('close'));
  }

  write(data: string, done: (error?: Error) => void): void {
    if (this.#socket) this.#socket.send(data, done);
    else done(new Error('the connection to the chat server is closed'));
  }

  end(): void {
    const socket = this.#socket;
    socket?.close();
    setTimeout(() => socket?.terminate(), 1000).unref();
  }
}

/**
 * Makes the client use this way and no other: the library itself can neither pin a CA nor connect to another
 * address than the name's, and its websocket needs a newer Node.
 */
export function useRoute(entity: Client, route: XmppRoute): void {
  const model = route.kind === 'websocket' ? 'wss://kit' : 'xmpps://kit';
  const Base = entity.transports.find((transport) => {
    try {
      return transport.prototype.socketParameters(model) !== undefined;
    } catch {
      return false;
    }
  });
  if (!Base) throw new Error('the XMPP library has no transport for this');
  class Pinned extends Base {
    override socketParameters(): unknown {
      return route;
    }
  }
  Pinned.prototype.Socket = route.kind === 'websocket' ? WebSocketSocket : StreamSocket;
  entity.transports.splice(0, entity.transports.length, Pinned);
}
