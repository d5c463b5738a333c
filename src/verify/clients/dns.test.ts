import { expect, test } from 'vitest';
import { decodeAnswer, encodeQuery } from './dns.js';
import { decodeNtpAnswer, encodeNtpRequest } from './ntp.js';

const hex = (text: string): Buffer => Buffer.from(text.replace(/\s+/g, ''), 'hex');

test('a question is written as RFC 1035 says', () => {
  expect(encodeQuery(0x1234, 'kit.home.arpa', 'A').toString('hex')).toBe(
    '123401000001000000000000' + '036b697404686f6d65046172706100' + '00010001',
  );
  expect(encodeQuery(1, '.', 'SRV').toString('hex')).toBe('000101000001000000000000' + '00' + '00210001');
  expect(() => encodeQuery(1, 'a'.repeat(64), 'A')).toThrow(RangeError);
});

test('answers are read, with compressed names', () => {
  const question = '036b697404686f6d65046172706100';
  const a = hex(`1234 8580 0001 0001 0000 0000 ${question} 0001 0001 c00c 0001 0001 0000003c 0004 0a4d0001`);
  expect(decodeAnswer(a)).toEqual({
    id: 0x1234,
    code: 'NOERROR',
    authoritative: true,
    truncated: false,
    answers: [{ name: 'kit.home.arpa', type: 1, ttl: 60, value: '10.77.0.1' }],
  });
  const srv = hex(
    `1234 8180 0001 0001 0000 0000 ${question} 0021 0001 c00c 0021 0001 0000003c 000c 0005 0001 1467 03666f6f c00c`,
  );
  expect(decodeAnswer(srv).answers[0]?.value).toBe('5 1 5223 foo.kit.home.arpa');
  expect(decodeAnswer(hex(`1234 8183 0001 0000 0000 0000 ${question} 0001 0001`)).code).toBe('NXDOMAIN');
});

test('a name that refers to itself or a cut message is refused', () => {
  expect(() => decodeAnswer(hex('1234 8180 0001 0000 0000 0000 c00c 0001 0001'))).toThrow(RangeError);
  expect(() => decodeAnswer(hex('1234 8180 0000 0001 0000 0000 00 0001 0001 0000003c 0004 0a'))).toThrow(
    RangeError,
  );
});

test('NTP: offset and round trip from the four time stamps', () => {
  const sent = Date.UTC(2026, 10, 1, 12, 0, 0);
  const request = encodeNtpRequest(sent);
  expect(request.length).toBe(48);
  expect(request[0]).toBe(0x23);
  // The server is 90 s ahead, takes 10 ms, and each way takes 20 ms.
  const answer = Buffer.alloc(48);
  answer[0] = 0x24;
  answer[1] = 8;
  encodeNtpRequest(sent + 90_020).copy(answer, 32, 40, 48);
  encodeNtpRequest(sent + 90_030).copy(answer, 40, 40, 48);
  expect(decodeNtpAnswer(answer, sent, sent + 50)).toEqual({
    leap: 0,
    stratum: 8,
    offsetMs: 90_000,
    roundTripMs: 40,
  });
  expect(() => decodeNtpAnswer(request, 0, 0)).toThrow(RangeError);
});
