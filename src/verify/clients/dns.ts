import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { deadline } from '../deadline.js';
import type { Endpoint } from '../dialer.js';

/** Record types used here (RFC 1035, RFC 3596, RFC 2782). */
export const DNS_TYPES = { A: 1, PTR: 12, AAAA: 28, SRV: 33 } as const;
export type DnsType = keyof typeof DNS_TYPES;

/** Response codes in words (RFC 1035, section 4.1.1). */
const RCODES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'];

export interface DnsRecord {
  readonly name: string;
  readonly type: number;
  /** Seconds. */
  readonly ttl: number;
  /** An address, a name, or `priority weight port target` for SRV; hex for other types. */
  readonly value: string;
}

export interface DnsAnswer {
  readonly id: number;
  /** NOERROR, NXDOMAIN, REFUSED … or the number. */
  readonly code: string;
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly answers: readonly DnsRecord[];
}

/** A query as on the wire (RFC 1035, section 4.1); recursion desired, as a phone asks. */
export function encodeQuery(id: number, name: string, type: DnsType): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(0x0100, 2);
  header.writeUInt16BE(1, 4);
  const labels = name
    .replace(/\.$/, '')
    .split('.')
    .filter((label) => label !== '')
    .map((label) => {
      const bytes = Buffer.from(label, 'ascii');
      if (bytes.length > 63) throw new RangeError(`label "${label}" is longer than 63 characters`);
      return Buffer.concat([Buffer.from([bytes.length]), bytes]);
    });
  const tail = Buffer.alloc(5);
  tail.writeUInt16BE(DNS_TYPES[type], 1);
  tail.writeUInt16BE(1, 3);
  return Buffer.concat([header, ...labels, tail]);
}

/** Reads a response. @throws RangeError for a message that is cut off or loops. */
export function decodeAnswer(message: Buffer): DnsAnswer {
  const flags = message.readUInt16BE(2);
  let offset = 12;
  const skipName = (): string => {
    const [name, next] = readName(message, offset);
    offset = next;
    return name;
  };
  for (let left = message.readUInt16BE(4); left > 0; left -= 1) {
    skipName();
    offset += 4;
  }
  const answers: DnsRecord[] = [];
  for (let left = message.readUInt16BE(6); left > 0; left -= 1) {
    const name = skipName();
    const type = message.readUInt16BE(offset);
    const ttl = message.readUInt32BE(offset + 4);
    const length = message.readUInt16BE(offset + 8);
    offset += 10;
    if (offset + length > message.length) throw new RangeError('the DNS message is cut off');
    answers.push({ name, type, ttl, value: readData(message, offset, length, type) });
    offset += length;
  }
  return {
    id: message.readUInt16BE(0),
    code: RCODES[flags & 15] ?? String(flags & 15),
    authoritative: (flags & 0x0400) !== 0,
    truncated: (flags & 0x0200) !== 0,
    answers,
  };
}

function readName(message: Buffer, start: number): [string, number] {
  const labels: string[] = [];
  let offset = start;
  let after = -1;
  for (let jumps = 0; jumps < 64;) {
    const length = message.readUInt8(offset);
    if (length === 0) return [labels.join('.').toLowerCase(), after < 0 ? offset + 1 : after];
    if ((length & 0xc0) === 0xc0) {
      if (after < 0) after = offset + 2;
      offset = message.readUInt16BE(offset) & 0x3fff;
      jumps += 1;
      continue;
    }
    if (offset + 1 + length > message.length) break;
    labels.push(message.toString('latin1', offset + 1, offset + 1 + length));
    offset += 1 + length;
  }
  throw new RangeError('a name in the DNS message is cut off or refers to itself');
}

function readData(message: Buffer, offset: number, length: number, type: number): string {
  const data = message.subarray(offset, offset + length);
  switch (type) {
    case DNS_TYPES.A:
      return [...data].join('.');
    case DNS_TYPES.AAAA:
      return Array.from({ length: 8 }, (_, index) => data.readUInt16BE(index * 2).toString(16)).join(':');
    case DNS_TYPES.PTR:
      return readName(message, offset)[0];
    case DNS_TYPES.SRV:
      return `${data.readUInt16BE(0)} ${data.readUInt16BE(2)} ${data.readUInt16BE(4)} ${readName(message, offset + 6)[0]}`;
    default:
      return data.toString('hex');
  }
}

export interface DnsReply extends DnsAnswer {
  readonly milliseconds: number;
}

export interface DnsOptions {
  readonly protocol?: 'udp' | 'tcp';
  /** For the whole question; UDP asks again at a third and two thirds of it. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Asks one question. @throws Error when no answer comes in time. */
export async function askDns(
  server: Endpoint,
  name: string,
  type: DnsType,
  options: DnsOptions = {},
): Promise<DnsReply> {
  const id = Math.floor(Math.random() * 0xffff);
  const query = encodeQuery(id, name, type);
  const begin = performance.now();
  const timeoutMs = options.timeoutMs ?? 5000;
  const limit = deadline(timeoutMs, options.signal);
  try {
    const answer = await (options.protocol === 'tcp'
      ? overTcp(server, query, limit.signal, name)
      : overUdp(server, id, query, limit.signal, timeoutMs, name));
    return { ...answer, milliseconds: Math.round(performance.now() - begin) };
  } finally {
    limit.done();
  }
}

function overUdp(
  server: Endpoint,
  id: number,
  query: Buffer,
  signal: AbortSignal,
  timeoutMs: number,
  name: string,
): Promise<DnsAnswer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(server.host.includes(':') ? 'udp6' : 'udp4');
    const send = (): void => socket.send(query, server.port, server.host);
    const timer = setInterval(send, timeoutMs / 3);
    const end = (action: () => void): void => {
      clearInterval(timer);
      signal.removeEventListener('abort', onAbort);
      socket.close();
      action();
    };
    const onAbort = (): void =>
      end(() => reject(new Error(`no answer over UDP to the question for ${name}`)));
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', (error) => end(() => reject(error)));
    socket.on('message', (message) => {
      try {
        const answer = decodeAnswer(message);
        if (answer.id === id) end(() => resolve(answer));
      } catch (error) {
        end(() => reject(error instanceof Error ? error : new Error(String(error))));
      }
    });
    send();
  });
}

// Two octets of length come before each message (RFC 1035, section 4.2.2).
function overTcp(server: Endpoint, query: Buffer, signal: AbortSignal, name: string): Promise<DnsAnswer> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, server.host);
    let received = Buffer.alloc(0);
    const end = (action: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      action();
    };
    const silence = (): void =>
      end(() => reject(new Error(`no answer over TCP to the question for ${name}`)));
    const onAbort = silence;
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', (error) => end(() => reject(error)));
    socket.once('close', silence);
    socket.once('connect', () => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(query.length, 0);
      socket.write(Buffer.concat([length, query]));
    });
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      try {
        const answer = decodeAnswer(received.subarray(2, 2 + received.readUInt16BE(0)));
        end(() => resolve(answer));
      } catch (error) {
        end(() => reject(error instanceof Error ? error : new Error(String(error))));
      }
    });
  });
}
