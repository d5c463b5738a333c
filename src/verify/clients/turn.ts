import { createHmac, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { Endpoint } from '../dialer.js';
import {
  type Address,
  ATTRIBUTE,
  attributeOf,
  CLASS,
  decodeAddress,
  decodeError,
  decodeStun,
  encodeAddress,
  encodeStun,
  hasIntegrity,
  longTermKey,
  METHOD,
  type StunAttribute,
  type StunMessage,
} from './stun.js';

export interface TurnCredentials {
  readonly username: string;
  readonly password: string;
}

export interface TurnServer {
  readonly endpoint: Endpoint;
  readonly transport: 'udp' | 'tcp' | 'tls';
  /** For TLS: the only CA accepted, PEM, and the name that must be on the certificate. */
  readonly tls?: { readonly caPem: string; readonly servername: string };
}

/** The server's answer to a request it refuses (RFC 8489, section 14.8). */
export class TurnRefusal extends Error {
  constructor(
    readonly code: number,
    readonly reason: string,
  ) {
    super(`refused with ${code} ${reason}`.trim());
  }
}

/** One allocation on a TURN server (RFC 8656). */
export interface TurnClient {
  /** Where others send to reach us: the relayed transport address. */
  allocate(): Promise<{ relayed: Address; mapped: Address; lifetimeSeconds: number }>;
  /** Allocate for another relayed transport, e.g. 6 for TCP (RFC 6062). */
  allocateFor(protocol: number): Promise<void>;
  createPermission(ip: string): Promise<void>;
  /** Binds a channel (0x4000..0x4FFF) to a peer; `sendChannel` uses it. */
  bindChannel(channel: number, peer: Address): Promise<void>;
  send(peer: Address, data: Buffer): void;
  sendChannel(channel: number, data: Buffer): void;
  /** The next datagram relayed to us, or null after the time. */
  receive(timeoutMs: number): Promise<{ peer: Address | null; channel: number | null; data: Buffer } | null>;
  /** Gives the allocation back (Refresh with lifetime 0) and ends the connection. */
  close(): Promise<void>;
}

/**
 * Time-limited credentials from the shared secret (draft-uberti-behave-turn-rest-00, section 2.2).
 * @param expires seconds since 1970.
 */
export function sharedSecretCredentials(secret: string, name: string, expires: number): TurnCredentials {
  const username = `${expires}:${name}`;
  return { username, password: createHmac('sha1', secret).update(username).digest('base64') };
}

const CONNECT_MS = 10_000;
/** Retransmissions over UDP (RFC 8489, section 6.2.1), and how long an answer may take in all. */
const RETRY_MS = [500, 1000, 2000, 4000];
const REQUEST_MS = 10_000;

interface Wire {
  send(bytes: Buffer): void;
  close(): void;
  readonly reliable: boolean;
}

type Wanted = StunAttribute | ((transaction: Buffer) => StunAttribute);

interface Relayed {
  peer: Address | null;
  channel: number | null;
  data: Buffer;
}

/**
 * Connects to a TURN server. Nothing is asked yet.
 * @throws Error when there is no connection, or the certificate does not fit.
 */
export async function openTurn(
  server: TurnServer,
  credentials: TurnCredentials | null,
  signal?: AbortSignal,
): Promise<TurnClient> {
  const waiting = new Map<string, (bytes: Buffer | Error) => void>();
  const inbox: Relayed[] = [];
  const readers: ((item: Relayed) => void)[] = [];
  let broken: Error | null = null;

  const deliver = (item: Relayed): void => {
    const reader = readers.shift();
    if (reader) reader(item);
    else inbox.push(item);
  };
  const onMessage = (bytes: Buffer): void => {
    const first = bytes[0] ?? 0;
    if (first >= 0x40 && first <= 0x4f) {
      const size = bytes.readUInt16BE(2);
      deliver({ peer: null, channel: bytes.readUInt16BE(0), data: bytes.subarray(4, 4 + size) });
      return;
    }
    let message: StunMessage;
    try {
      message = decodeStun(bytes);
    } catch {
      return;
    }
    if (message.class === CLASS.indication && message.method === METHOD.data) {
      const peer = attributeOf(message, ATTRIBUTE.xorPeerAddress);
      const data = attributeOf(message, ATTRIBUTE.data);
      if (peer && data) deliver({ peer: decodeAddress(peer, message.transaction), channel: null, data });
      return;
    }
    waiting.get(message.transaction.toString('hex'))?.(bytes);
  };
  const onBroken = (error: Error): void => {
    broken ??= error;
    for (const settle of [...waiting.values()]) settle(error);
  };

  const wire = await openWire(server, onMessage, onBroken, signal);
  let login: { username: string; realm: Buffer; nonce: Buffer; key: Buffer } | null = null;
  let allocated = false;

  function exchange(method: number, wanted: readonly Wanted[]): Promise<StunMessage> {
    if (broken) return Promise.reject(broken);
    const transaction = randomBytes(12);
    const id = transaction.toString('hex');
    const used = login;
    const attributes = wanted.map((entry) => (typeof entry === 'function' ? entry(transaction) : entry));
    const bytes = encodeStun(
      {
        method,
        class: CLASS.request,
        transaction,
        attributes: used
          ? [
              ...attributes,
              { type: ATTRIBUTE.username, value: Buffer.from(used.username) },
              { type: ATTRIBUTE.realm, value: used.realm },
              { type: ATTRIBUTE.nonce, value: used.nonce },
            ]
          : attributes,
      },
      used?.key,
    );
    return new Promise((resolve, reject) => {
      const timers: NodeJS.Timeout[] = [];
      const onAbort = (): void => settle(new Error('given up'));
      const settle = (answer: Buffer | Error): void => {
        for (const timer of timers) clearTimeout(timer);
        waiting.delete(id);
        signal?.removeEventListener('abort', onAbort);
        if (answer instanceof Error) {
          reject(answer);
          return;
        }
        const message = decodeStun(answer);
        // An answer to a signed request is signed too, unless it is an error (RFC 8489, section 9.2.5).
        if (used && message.class === CLASS.success && !hasIntegrity(answer, used.key)) {
          reject(new Error('the answer of the relay is not signed with the shared credentials'));
          return;
        }
        resolve(message);
      };
      waiting.set(id, settle);
      signal?.addEventListener('abort', onAbort, { once: true });
      timers.push(setTimeout(() => settle(new Error('the relay does not answer')), REQUEST_MS));
      if (!wire.reliable)
        for (const delay of RETRY_MS) timers.push(setTimeout(() => wire.send(bytes), delay));
      wire.send(bytes);
    });
  }

  async function request(method: number, attributes: readonly Wanted[]): Promise<StunMessage> {
    for (let tries = 0; ; tries += 1) {
      const answer = await exchange(method, attributes);
      if (answer.class === CLASS.success) return answer;
      const { code, reason } = decodeError(attributeOf(answer, ATTRIBUTE.errorCode) ?? Buffer.alloc(4));
      const realm = attributeOf(answer, ATTRIBUTE.realm);
      const nonce = attributeOf(answer, ATTRIBUTE.nonce);
      // 401 asks for credentials, 438 for a fresh nonce (RFC 8489, section 9.2.5).
      const again = (code === 401 && login === null && tries === 0) || (code === 438 && tries < 3);
      if (!credentials || !again || !realm || !nonce) throw new TurnRefusal(code, reason);
      login = {
        username: credentials.username,
        realm,
        nonce,
        key: longTermKey(credentials.username, realm.toString('utf8'), credentials.password),
      };
    }
  }

  // IPv6 addresses are masked with the transaction id, so the attribute is made for each message.
  const peerAttribute =
    (peer: Address) =>
    (transaction: Buffer): StunAttribute => ({
      type: ATTRIBUTE.xorPeerAddress,
      value: encodeAddress(peer, transaction),
    });

  return {
    async allocate() {
      const answer = await request(METHOD.allocate, [transportAttribute(17)]);
      allocated = true;
      const relayed = attributeOf(answer, ATTRIBUTE.xorRelayedAddress);
      const mapped = attributeOf(answer, ATTRIBUTE.xorMappedAddress);
      if (!relayed || !mapped) throw new Error('the relay gave no address');
      return {
        relayed: decodeAddress(relayed, answer.transaction),
        mapped: decodeAddress(mapped, answer.transaction),
        lifetimeSeconds: attributeOf(answer, ATTRIBUTE.lifetime)?.readUInt32BE(0) ?? 0,
      };
    },
    async allocateFor(protocol) {
      await request(METHOD.allocate, [transportAttribute(protocol)]);
      allocated = true;
    },
    async createPermission(ip) {
      await request(METHOD.createPermission, [peerAttribute({ ip, port: 0 })]);
    },
    async bindChannel(channel, peer) {
      const value = Buffer.alloc(4);
      value.writeUInt16BE(channel, 0);
      await request(METHOD.channelBind, [{ type: ATTRIBUTE.channelNumber, value }, peerAttribute(peer)]);
    },
    send(peer, data) {
      const transaction = randomBytes(12);
      wire.send(
        encodeStun({
          method: METHOD.send,
          class: CLASS.indication,
          transaction,
          attributes: [peerAttribute(peer)(transaction), { type: ATTRIBUTE.data, value: data }],
        }),
      );
    },
    sendChannel(channel, data) {
      // Padded to four octets over TCP and TLS (RFC 8656, section 12.5).
      const bytes = Buffer.alloc(4 + (wire.reliable ? Math.ceil(data.length / 4) * 4 : data.length));
      bytes.writeUInt16BE(channel, 0);
      bytes.writeUInt16BE(data.length, 2);
      data.copy(bytes, 4);
      wire.send(bytes);
    },
    receive(timeoutMs) {
      const ready = inbox.shift();
      if (ready) return Promise.resolve(ready);
      return new Promise((resolve) => {
        const reader = (item: Relayed): void => {
          clearTimeout(timer);
          resolve(item);
        };
        const timer = setTimeout(() => {
          readers.splice(readers.indexOf(reader), 1);
          resolve(null);
        }, timeoutMs);
        readers.push(reader);
      });
    },
    async close() {
      if (allocated && !broken)
        await request(METHOD.refresh, [{ type: ATTRIBUTE.lifetime, value: Buffer.alloc(4) }]).catch(() => {});
      wire.close();
    },
  };
}

function transportAttribute(protocol: number): StunAttribute {
  return { type: ATTRIBUTE.requestedTransport, value: Buffer.from([protocol, 0, 0, 0]) };
}

function openWire(
  server: TurnServer,
  onMessage: (bytes: Buffer) => void,
  onBroken: (error: Error) => void,
  signal: AbortSignal | undefined,
): Promise<Wire> {
  const { host, port } = server.endpoint;
  if (server.transport === 'udp')
    return new Promise((resolve, reject) => {
      const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
      socket.on('error', (error) => {
        onBroken(error);
        reject(error);
      });
      socket.on('message', onMessage);
      socket.connect(port, host, () => {
        let open = true;
        resolve({
          reliable: false,
          send: (bytes) => {
            if (open) socket.send(bytes);
          },
          close: () => {
            if (open) socket.close();
            open = false;
          },
        });
      });
    });
  return new Promise((resolve, reject) => {
    const tls = server.transport === 'tls';
    const socket: Socket = tls
      ? connectTls({
          host,
          port,
          ca: server.tls?.caPem ?? '',
          servername: server.tls?.servername ?? '',
          minVersion: 'TLSv1.2',
        })
      : connectTcp(port, host);
    const fail = (error: Error): void => {
      onBroken(error);
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(() => fail(new Error('the relay does not answer')), CONNECT_MS);
    const onAbort = (): void => fail(new Error('given up'));
    signal?.addEventListener('abort', onAbort, { once: true });
    socket.on('error', fail);
    socket.on('close', () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      fail(new Error('the relay closed the connection'));
    });
    let received = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      for (
        let size = frameSize(received);
        size !== null && size <= received.length;
        size = frameSize(received)
      ) {
        onMessage(received.subarray(0, size));
        received = received.subarray(size);
      }
    });
    socket.once(tls ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer);
      resolve({
        reliable: true,
        send: (bytes) => {
          if (!socket.destroyed) socket.write(bytes);
        },
        close: () => socket.destroy(),
      });
    });
  });
}

// STUN messages and channel data tell their own length; channel data is padded (RFC 8656, section 12.5).
function frameSize(received: Buffer): number | null {
  if (received.length < 4) return null;
  const size = received.readUInt16BE(2);
  return (received[0] ?? 0) >= 0x40 ? 4 + Math.ceil(size / 4) * 4 : 20 + size;
}
