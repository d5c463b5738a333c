import { createHash, createHmac } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';

/** The magic cookie that marks a STUN message (RFC 8489, section 5). */
export const MAGIC_COOKIE = 0x2112a442;

/** Methods (RFC 8489, section 18.2; RFC 8656, section 17). */
export const METHOD = {
  binding: 0x001,
  allocate: 0x003,
  refresh: 0x004,
  send: 0x006,
  data: 0x007,
  createPermission: 0x008,
  channelBind: 0x009,
} as const;

export const CLASS = { request: 0, indication: 1, success: 2, error: 3 } as const;

/** Attribute types (RFC 8489, section 18.3; RFC 8656, section 18). */
export const ATTRIBUTE = {
  username: 0x0006,
  messageIntegrity: 0x0008,
  errorCode: 0x0009,
  channelNumber: 0x000c,
  lifetime: 0x000d,
  xorPeerAddress: 0x0012,
  data: 0x0013,
  realm: 0x0014,
  nonce: 0x0015,
  xorRelayedAddress: 0x0016,
  requestedTransport: 0x0019,
  xorMappedAddress: 0x0020,
  software: 0x8022,
  fingerprint: 0x8028,
} as const;

export interface StunAttribute {
  readonly type: number;
  readonly value: Buffer;
}

export interface StunMessage {
  readonly method: number;
  readonly class: number;
  /** 12 octets. */
  readonly transaction: Buffer;
  readonly attributes: readonly StunAttribute[];
}

export interface Address {
  readonly ip: string;
  readonly port: number;
}

const FINGERPRINT_XOR = 0x5354554e;

/**
 * A message as on the wire.
 * @param key when given, MESSAGE-INTEGRITY is added (RFC 8489, section 14.5), then FINGERPRINT (14.7).
 */
export function encodeStun(message: StunMessage, key?: Buffer): Buffer {
  const parts: Buffer[] = message.attributes.map(({ type, value }) => attribute(type, value));
  if (key) {
    const covered = Buffer.concat([header(message, length(parts) + 24), ...parts]);
    parts.push(attribute(ATTRIBUTE.messageIntegrity, createHmac('sha1', key).update(covered).digest()));
  }
  const covered = Buffer.concat([header(message, length(parts) + 8), ...parts]);
  const print = Buffer.alloc(4);
  print.writeUInt32BE((crc32(covered) ^ FINGERPRINT_XOR) >>> 0, 0);
  return Buffer.concat([covered, attribute(ATTRIBUTE.fingerprint, print)]);
}

/** Reads a message. @throws RangeError when it is not a STUN message. */
export function decodeStun(bytes: Buffer): StunMessage {
  if (
    bytes.length < 20 ||
    bytes.readUInt32BE(4) !== MAGIC_COOKIE ||
    bytes.readUInt16BE(2) + 20 !== bytes.length
  )
    throw new RangeError('this is not a STUN message');
  const type = bytes.readUInt16BE(0);
  const attributes: StunAttribute[] = [];
  for (let offset = 20; offset < bytes.length;) {
    const size = bytes.readUInt16BE(offset + 2);
    if (offset + 4 + size > bytes.length) throw new RangeError('the STUN message is cut off');
    attributes.push({
      type: bytes.readUInt16BE(offset),
      value: bytes.subarray(offset + 4, offset + 4 + size),
    });
    offset += 4 + size + ((4 - (size % 4)) % 4);
  }
  return {
    // The class bits lie inside the method's (RFC 8489, figure 3).
    method: (type & 0x000f) | ((type & 0x00e0) >> 1) | ((type & 0x3e00) >> 2),
    class: ((type & 0x0010) >> 4) | ((type & 0x0100) >> 7),
    transaction: bytes.subarray(8, 20),
    attributes,
  };
}

/** Whether MESSAGE-INTEGRITY is there and right for the key. */
export function hasIntegrity(bytes: Buffer, key: Buffer): boolean {
  for (let offset = 20; offset + 4 <= bytes.length;) {
    const size = bytes.readUInt16BE(offset + 2);
    if (bytes.readUInt16BE(offset) === ATTRIBUTE.messageIntegrity) {
      const covered = Buffer.from(bytes.subarray(0, offset));
      covered.writeUInt16BE(offset + 24 - 20, 2);
      return createHmac('sha1', key)
        .update(covered)
        .digest()
        .equals(bytes.subarray(offset + 4, offset + 4 + size));
    }
    offset += 4 + size + ((4 - (size % 4)) % 4);
  }
  return false;
}

/** Whether FINGERPRINT is the last attribute and right. */
export function hasFingerprint(bytes: Buffer): boolean {
  const at = bytes.length - 8;
  return (
    at >= 20 &&
    bytes.readUInt16BE(at) === ATTRIBUTE.fingerprint &&
    bytes.readUInt32BE(at + 4) === (crc32(bytes.subarray(0, at)) ^ FINGERPRINT_XOR) >>> 0
  );
}

/** The key of the long-term credential mechanism: MD5 of `username:realm:password` (RFC 8489, section 18.5.1). */
export function longTermKey(username: string, realm: string, password: string): Buffer {
  return createHash('md5').update(`${username}:${realm}:${password}`).digest();
}

/** Value of an XOR-…-ADDRESS attribute (RFC 8489, section 14.2). */
export function encodeAddress({ ip, port }: Address, transaction: Buffer): Buffer {
  const bytes = addressBytes(ip);
  const head = Buffer.alloc(4);
  head[1] = bytes.length === 4 ? 1 : 2;
  head.writeUInt16BE(port ^ (MAGIC_COOKIE >>> 16), 2);
  return Buffer.concat([head, mask(bytes, transaction)]);
}

/** Reads the value of an XOR-…-ADDRESS attribute. */
export function decodeAddress(value: Buffer, transaction: Buffer): Address {
  const bytes = mask(value.subarray(4), transaction);
  const ip =
    bytes.length === 4
      ? [...bytes].join('.')
      : Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16)).join(':');
  return { ip, port: value.readUInt16BE(2) ^ (MAGIC_COOKIE >>> 16) };
}

/** Code and reason of an ERROR-CODE attribute (RFC 8489, section 14.8). */
export function decodeError(value: Buffer): { code: number; reason: string } {
  return { code: (value.readUInt8(2) & 7) * 100 + value.readUInt8(3), reason: value.toString('utf8', 4) };
}

/** The value of an attribute, or undefined. */
export function attributeOf(message: StunMessage, type: number): Buffer | undefined {
  return message.attributes.find((entry) => entry.type === type)?.value;
}

function header(message: StunMessage, size: number): Buffer {
  const { method } = message;
  const bytes = Buffer.alloc(20);
  const type =
    (method & 0x000f) |
    ((method & 0x0070) << 1) |
    ((method & 0x0f80) << 2) |
    ((message.class & 1) << 4) |
    ((message.class & 2) << 7);
  bytes.writeUInt16BE(type, 0);
  bytes.writeUInt16BE(size, 2);
  bytes.writeUInt32BE(MAGIC_COOKIE, 4);
  message.transaction.copy(bytes, 8);
  return bytes;
}

function attribute(type: number, value: Buffer): Buffer {
  const bytes = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4);
  bytes.writeUInt16BE(type, 0);
  bytes.writeUInt16BE(value.length, 2);
  value.copy(bytes, 4);
  return bytes;
}

const length = (parts: readonly Buffer[]): number => parts.reduce((sum, part) => sum + part.length, 0);

function mask(bytes: Buffer, transaction: Buffer): Buffer {
  const key = Buffer.alloc(16);
  key.writeUInt32BE(MAGIC_COOKIE, 0);
  transaction.copy(key, 4);
  return Buffer.from(bytes.map((byte, index) => byte ^ (key[index] ?? 0)));
}

function addressBytes(ip: string): Buffer {
  if (isIPv4(ip)) return Buffer.from(ip.split('.').map(Number));
  if (!isIPv6(ip)) throw new RangeError(`"${ip}" is not an address`);
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(ip);
  const text = dotted
    ? `${dotted[1]}${((Number(dotted[2]) << 8) | Number(dotted[3])).toString(16)}:${((Number(dotted[4]) << 8) | Number(dotted[5])).toString(16)}`
    : ip;
  const [before = '', after] = text.split('::');
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const left = groups(before);
  const right = after === undefined ? [] : groups(after);
  const all = [...left, ...Array<number>(8 - left.length - right.length).fill(0), ...right];
  const bytes = Buffer.alloc(16);
  all.forEach((group, index) => bytes.writeUInt16BE(group, index * 2));
  return bytes;
}

/** CRC-32 as in ITU V.42, which FINGERPRINT uses. */
export function crc32(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
