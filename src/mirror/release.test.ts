import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createCleartextMessage,
  generateKey,
  readKey,
  readKeys,
  revokeKey,
  sign,
  type PrivateKey,
} from 'openpgp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../host/paths.js';
import { verifySigned } from './release.js';

const TEXT = 'Origin: Test\n- a line that is escaped\nSuite: trixie\n';
const DAY = 86_400_000;
const folder = mkdtempSync(join(tmpdir(), 'release-test-'));
afterAll(() => rmSync(folder, { recursive: true }));

interface Key {
  readonly privateKey: PrivateKey;
  readonly revocation: string;
  readonly fingerprint: string;
  /** Armoured. */
  readonly publicKey: string;
}

async function makeKey(options: { created?: Date; seconds?: number; subkeys?: boolean } = {}): Promise<Key> {
  const { created, seconds = 0, subkeys = false } = options;
  const { privateKey, publicKey, revocationCertificate } = await generateKey({
    type: 'curve25519',
    userIDs: [{ name: 'archive' }],
    keyExpirationTime: seconds,
    subkeys: subkeys ? [{ sign: true }] : [],
    format: 'object',
    ...(created === undefined ? {} : { date: created }),
  });
  return {
    privateKey,
    publicKey: publicKey.armor(),
    revocation: revocationCertificate,
    fingerprint: publicKey.getFingerprint().toUpperCase(),
  };
}

async function signed(keys: readonly Key[], date = new Date()): Promise<string> {
  const message = await createCleartextMessage({ text: TEXT });
  return await sign({ message, signingKeys: keys.map((key) => key.privateKey), date });
}

let count = 0;
function keyring(armoured: string): string {
  const path = join(folder, `${(count += 1)}.asc`);
  writeFileSync(path, armoured);
  return path;
}

describe('signatures', () => {
  let good: Key;
  let other: Key;
  beforeAll(async () => {
    [good, other] = await Promise.all([makeKey({ subkeys: true }), makeKey()]);
  });

  it('give the signed text alone, and the keys with their main keys', async () => {
    const text = await signed([good]);
    const found = await verifySigned(`junk before\n${text}\njunk after\n`, keyring(good.publicKey));
    if ('fault' in found) throw new Error(found.reason);
    expect(found.text.trimEnd()).toBe(TEXT.trimEnd());
    expect(found.fingerprints).toHaveLength(2);
    expect(found.fingerprints).toContain(good.fingerprint);
  });

  it('of unknown keys do not count beside a good one, and are not enough', async () => {
    const text = await signed([other, good]);
    expect(await verifySigned(text, keyring(good.publicKey))).toHaveProperty('text');
    expect(await verifySigned(await signed([other]), keyring(good.publicKey))).toHaveProperty(
      'fault',
      'unknown-key',
    );
  });

  it('that do not fit spoil all, beside good ones too', async () => {
    const text = await signed([good]);
    const ring = keyring(good.publicKey);
    expect(await verifySigned(text.replace('Origin', 'Orygin'), ring)).toHaveProperty('fault', 'wrong');
    expect(await verifySigned('Origin: Test\n', ring)).toHaveProperty('fault', 'unsigned');
    expect(await verifySigned('', ring)).toHaveProperty('fault', 'unsigned');
  });

  it('of a revoked key are refused', async () => {
    const { publicKey } = await revokeKey({
      key: await readKey({ armoredKey: other.publicKey }),
      revocationCertificate: other.revocation,
    });
    const text = await signed([other]);
    expect(await verifySigned(text, keyring(other.publicKey))).toHaveProperty('text');
    expect(await verifySigned(text, keyring(publicKey))).toHaveProperty('fault', 'revoked-key');
  });

  it('of an expired key are refused where it counts, and good for what was fetched in time', async () => {
    const created = new Date(Date.now() - 10 * DAY);
    const old = await makeKey({ created, seconds: (5 * DAY) / 1000 });
    const ring = keyring(old.publicKey);
    const text = await signed([old], new Date(created.getTime() + DAY));
    expect(await verifySigned(text, ring, Date.now())).toHaveProperty('fault', 'expired-key');
    expect(await verifySigned(text, ring)).toHaveProperty('text');
  });
});

describe('the keys of other publishers', () => {
  it('are those keys/README.md lists, and could sign in November 2026', async () => {
    const readme = readFileSync(join(packageRoot(), 'keys/README.md'), 'utf8');
    const rows = [...readme.matchAll(/^\| `([^`]+\.asc)` \| `([0-9A-F]{40})` \|/gm)];
    const files = readdirSync(join(packageRoot(), 'keys')).filter((name) => name.endsWith('.asc'));
    expect(rows.map(([, file]) => file).sort()).toEqual(files.sort());
    for (const [, file = '', fingerprint] of rows) {
      const keys = await readKeys({ armoredKeys: readFileSync(join(packageRoot(), 'keys', file), 'utf8') });
      expect(keys.map((key) => key.getFingerprint().toUpperCase())).toEqual([fingerprint]);
      await keys[0]?.getSigningKey(undefined, new Date('2026-11-25'));
    }
  });
});

describe('the keys of Debian', () => {
  it('are those keys/README.md lists, each in its own file', async () => {
    const readme = readFileSync(join(packageRoot(), 'keys/README.md'), 'utf8');
    const rows = [...readme.matchAll(/^\| `([^`]+\.gpg)` \| `([0-9A-F]{40})` \|/gm)];
    const listed = Object.fromEntries(rows.map(([, file, fingerprint]) => [file, fingerprint]));
    expect(Object.keys(listed)).toHaveLength(6);
    for (const [file = '', fingerprint] of Object.entries(listed)) {
      const keys = await readKeys({ binaryKeys: readFileSync(join(packageRoot(), 'keys/debian', file)) });
      expect(keys.map((key) => key.getFingerprint().toUpperCase())).toEqual([fingerprint]);
    }
  });
});
