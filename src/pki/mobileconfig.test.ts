import { expect, it } from 'vitest';
import { mobileconfig } from './mobileconfig.js';

const CA = { caDer: Buffer.alloc(700, 'x'), caFingerprintSha256: 'AA:BB' };
const SITE = { title: 'Klinik <Süd> & "Nord"', domain: 'klinik.home.arpa' };

it('is the same for the same CA, and another one for another', () => {
  expect(mobileconfig(SITE, CA)).toBe(mobileconfig(SITE, CA));
  const uuids = (text: string): string[] =>
    text.match(/[0-9A-F]{8}-[0-9A-F]{4}-8[0-9A-F]{3}-[89AB][0-9A-F-]{16}/g) ?? [];
  const one = uuids(mobileconfig(SITE, CA));
  const two = uuids(mobileconfig(SITE, { ...CA, caFingerprintSha256: 'AA:BC' }));
  expect(new Set([...one, ...two]).size).toBe(4);
});

it('escapes what XML would misread and drops what it cannot hold', () => {
  const text = mobileconfig({ ...SITE, title: 'a\u0007<b>&' }, CA);
  expect(text).toContain('<string>a&lt;b&gt;&amp; site CA</string>');
  expect(text).toContain('<string>arpa.home.klinik.commesh.ca</string>');
});
