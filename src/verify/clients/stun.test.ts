import { expect, test } from 'vitest';
import {
  ATTRIBUTE,
  attributeOf,
  CLASS,
  decodeAddress,
  decodeError,
  decodeStun,
  encodeAddress,
  encodeStun,
  hasFingerprint,
  hasIntegrity,
  longTermKey,
  METHOD,
} from './stun.js';

const hex = (text: string): Buffer => Buffer.from(text.replace(/\s+/g, ''), 'hex');

// RFC 5769, section 2.1: sample request. Padding there is 0x20, which a sender may choose.
const REQUEST = hex(`
  00010058 2112a442 b7e7a701 bc34d686 fa87dfae 80220010 5354554e 20746573 7420636c 69656e74
  00240004 6e0001ff 80290008 932ff9b1 51263b36 00060009 6576746a 3a683676 59202020
  00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2 80280004 e57a3bcf`);
// Section 2.2: sample IPv4 response.
const RESPONSE = hex(`
  0101003c 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b 74657374 20766563 746f7220
  00200008 0001a147 e112a643 00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7
  80280004 c07d4c96`);
// Section 2.3: sample IPv6 response.
const RESPONSE6 = hex(`
  01010048 2112a442 b7e7a701 bc34d686 fa87dfae 8022000b 74657374 20766563 746f7220
  00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9 00080014 a382954e 4be67bf1 1784c97c
  8292c275 bfe3ed41 80280004 c8fb0b4c`);
const PASSWORD = Buffer.from('VOkJxbRl1RmTxUk/WvJxBt');

test('RFC 5769: integrity and fingerprint of the samples hold, and a changed byte breaks them', () => {
  for (const sample of [REQUEST, RESPONSE, RESPONSE6]) {
    expect(hasIntegrity(sample, PASSWORD)).toBe(true);
    expect(hasFingerprint(sample)).toBe(true);
    const changed = Buffer.from(sample);
    changed[24] = (changed[24] ?? 0) ^ 1;
    expect(hasIntegrity(changed, PASSWORD)).toBe(false);
    expect(hasFingerprint(changed)).toBe(false);
  }
  expect(hasIntegrity(REQUEST, Buffer.from('wrong'))).toBe(false);
});

test('RFC 5769: the samples are read', () => {
  const request = decodeStun(REQUEST);
  expect([request.method, request.class]).toEqual([METHOD.binding, CLASS.request]);
  expect(attributeOf(request, ATTRIBUTE.username)?.toString()).toBe('evtj:h6vY');
  for (const [sample, ip] of [
    [RESPONSE, '192.0.2.1'],
    [RESPONSE6, '2001:db8:1234:5678:11:2233:4455:6677'],
  ] as const) {
    const response = decodeStun(sample);
    expect(response.class).toBe(CLASS.success);
    const mapped = attributeOf(response, ATTRIBUTE.xorMappedAddress) ?? Buffer.alloc(0);
    expect(decodeAddress(mapped, response.transaction)).toEqual({ ip, port: 32853 });
    expect(encodeAddress({ ip, port: 32853 }, response.transaction)).toEqual(mapped);
  }
});

test('RFC 5769, section 2.4: a request with long-term credentials', () => {
  const sample = hex(`
    00010060 2112a442 78ad3433 c6ad72c0 29da412e 00060012 e3839ee3 8388e383 aae38383 e382afe3
    82b90000 0015001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 36347341
    0014000b 6578616d 706c652e 6f726700 00080014 f6702465 6dd64a3e 02b8e071 2e85c9a2 8ca89666`);
  const request = decodeStun(sample);
  const username = attributeOf(request, ATTRIBUTE.username)?.toString() ?? '';
  const realm = attributeOf(request, ATTRIBUTE.realm)?.toString() ?? '';
  expect(username).toBe('マトリックス');
  expect(hasIntegrity(sample, longTermKey(username, realm, 'TheMatrIX'))).toBe(true);
  expect(hasIntegrity(sample, longTermKey(username, realm, 'TheMatrix'))).toBe(false);
});

test('what is written can be read, for every method and class', () => {
  const key = longTermKey('u', 'r', 'p');
  for (const method of Object.values(METHOD))
    for (const kind of Object.values(CLASS)) {
      const transaction = Buffer.from('0123456789ab');
      const bytes = encodeStun(
        {
          method,
          class: kind,
          transaction,
          attributes: [{ type: ATTRIBUTE.data, value: Buffer.from('odd') }],
        },
        key,
      );
      const read = decodeStun(bytes);
      expect([read.method, read.class, read.transaction]).toEqual([method, kind, transaction]);
      expect(attributeOf(read, ATTRIBUTE.data)?.toString()).toBe('odd');
      expect(hasIntegrity(bytes, key)).toBe(true);
      expect(hasFingerprint(bytes)).toBe(true);
    }
});

test('addresses in all spellings, errors, and rubbish', () => {
  const transaction = Buffer.alloc(12, 7);
  for (const [written, read] of [
    ['10.77.0.1', '10.77.0.1'],
    ['::1', '0:0:0:0:0:0:0:1'],
    ['::ffff:127.0.0.1', '0:0:0:0:0:ffff:7f00:1'],
    ['64:ff9b::7f00:1', '64:ff9b:0:0:0:0:7f00:1'],
  ] as const)
    expect(decodeAddress(encodeAddress({ ip: written, port: 53 }, transaction), transaction)).toEqual({
      ip: read,
      port: 53,
    });
  expect(decodeError(Buffer.concat([Buffer.from([0, 0, 4, 3]), Buffer.from('Forbidden')]))).toEqual({
    code: 403,
    reason: 'Forbidden',
  });
  expect(() => decodeStun(Buffer.from('hello'))).toThrow(RangeError);
  expect(() => decodeStun(REQUEST.subarray(0, 40))).toThrow(RangeError);
});
