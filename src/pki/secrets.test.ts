import { chmod, chown, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHost } from '../host/host.js';
import { secretsFolder, shellWord } from './folder.js';
import { openSecrets, readSecrets } from './secrets.js';
import { makeSshKey, publicSshKey } from './ssh-key.js';
import type { SecretNeed } from './types.js';
import { WORDS } from './words.js';

const NEEDS: SecretNeed[] = [
  { id: 'turn-secret', kind: 'token', length: 40 },
  { id: 'backup-key', kind: 'hex', length: 64 },
  { id: 'wifi-passphrase', kind: 'words', length: 4 },
  { id: 'ssh-operator', kind: 'ssh-ed25519', length: 0 },
  { id: 'signing', kind: 'matrix-ed25519', length: 4 },
];

describe('the secrets folder', () => {
  let host: ReturnType<typeof createHost>;
  let profile: string;
  let folder: string;
  beforeEach(async () => {
    host = createHost();
    profile = join(await host.temporary('secrets-test'), "o'clinic.yaml");
    folder = secretsFolder(profile);
  });
  afterEach(() => host.close());

  it('stands beside the profile', () => {
    expect(secretsFolder('a/b/clinic.yaml')).toBe('a/b/clinic.secrets');
    expect(secretsFolder('clinic.YML')).toBe('clinic.secrets');
    expect(secretsFolder('clinic')).toBe('clinic.secrets');
  });

  it('is made private, with every kind of value, and a note on what it is', async () => {
    const store = await openSecrets(host, profile, NEEDS);
    expect(store.value('turn-secret')).toMatch(/^[A-Za-z0-9]{40}$/);
    expect(store.value('backup-key')).toMatch(/^[0-9a-f]{64}$/);
    expect(store.value('wifi-passphrase').split('-')).toHaveLength(4);
    expect(store.value('signing')).toMatch(/^ed25519 a_[A-Za-z0-9]{4} [A-Za-z0-9+/]{43}$/);
    expect(publicSshKey(store.value('ssh-operator'))).toBe(store.value('ssh-operator.pub'));
    expect(store.value('ssh-operator.pub')).toContain(" o'clinic-ssh-operator");
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    for (const name of await readdir(folder, { recursive: true, withFileTypes: true })) {
      const mode = (await stat(join(name.parentPath, name.name))).mode & 0o777;
      expect([name.name, mode]).toEqual([name.name, name.isDirectory() ? 0o700 : 0o600]);
    }
    expect(await readFile(join(folder, 'README.txt'), 'utf8')).toMatch(/Never publish/);
    expect(await readFile(join(folder, '.gitignore'), 'utf8')).toBe('*\n');
  });

  it('is made private whatever the umask is', async () => {
    const before = process.umask(0);
    try {
      await openSecrets(host, profile, NEEDS);
    } finally {
      process.umask(before);
    }
    await readSecrets(host, profile);
  });

  it('gives the same values every time, and makes only what is missing', async () => {
    const first = await openSecrets(host, profile, NEEDS.slice(0, 2));
    const second = await openSecrets(host, profile, NEEDS);
    const third = await openSecrets(host, profile, NEEDS);
    for (const id of first.ids()) expect(second.value(id)).toBe(first.value(id));
    for (const id of second.ids()) expect(third.value(id)).toBe(second.value(id));
    expect(second.ids()).toEqual([
      'backup-key',
      'signing',
      'ssh-operator',
      'ssh-operator.pub',
      'turn-secret',
      'wifi-passphrase',
    ]);
  });

  it('gives two runs at the same time the same values', async () => {
    const other = createHost();
    try {
      const stores = await Promise.all(
        Array.from({ length: 6 }, (_, index) => openSecrets(index % 2 ? other : host, profile, NEEDS)),
      );
      for (const id of stores[0]?.ids() ?? []) {
        expect(new Set(stores.map((store) => store.value(id))).size, id).toBe(1);
      }
    } finally {
      await other.close();
    }
  });

  it('stores a value that the profile gives, and lets it win', async () => {
    const key = makeSshKey('mine', Buffer.alloc(4, 7));
    await openSecrets(host, profile, NEEDS);
    const store = await openSecrets(host, profile, NEEDS, {
      'wifi-passphrase': 'naïve & <café>',
      'ssh-operator': key.privateKey,
    });
    expect(store.value('wifi-passphrase')).toBe('naïve & <café>');
    expect(store.value('ssh-operator.pub')).toBe(key.publicKey);
    expect((await openSecrets(host, profile, NEEDS)).value('wifi-passphrase')).toBe('naïve & <café>');
  });

  it('finds the public half of a key again', async () => {
    const first = await openSecrets(host, profile, NEEDS);
    await rm(join(folder, 'values', 'ssh-operator.pub'));
    expect((await openSecrets(host, profile, NEEDS)).value('ssh-operator.pub')).toBe(
      first.value('ssh-operator.pub'),
    );
  });

  it.each([
    ['the folder', ''],
    ['a value', 'values/turn-secret'],
    ['the folder of values', 'values'],
  ])('refuses when others can read %s, and says how to close it', async (_what, name) => {
    await openSecrets(host, profile, NEEDS);
    await chmod(join(folder, name), name === '' || name === 'values' ? 0o750 : 0o640);
    const mend = `chmod -R go-rwx ${shellWord(folder)}`;
    for (const open of [openSecrets, readSecrets]) {
      await expect(open(host, profile, NEEDS)).rejects.toMatchObject({
        message: expect.stringContaining('other users of this computer can read'),
        hint: expect.stringContaining(mend),
      });
    }
    await host.exec(['sh', '-c', mend]);
    await openSecrets(host, profile, NEEDS);
  });

  it.runIf(process.getuid?.() === 0)('refuses a folder of another user', async () => {
    await openSecrets(host, profile, NEEDS);
    await chown(join(folder, 'values', 'turn-secret'), 12345, 12345);
    await expect(openSecrets(host, profile, NEEDS)).rejects.toMatchObject({
      message: expect.stringContaining('belongs to another user (id 12345)'),
      hint: expect.stringContaining('sudo chown -R'),
    });
  });

  it('says what is wrong with an emptied value, a foreign key, a missing folder, an unknown id', async () => {
    await expect(readSecrets(host, profile)).rejects.toMatchObject({
      message: expect.stringContaining('is not there'),
    });
    const store = await openSecrets(host, profile, NEEDS);
    expect(() => store.value('nothing')).toThrow('the site has no secret "nothing"');
    await writeFile(join(folder, 'values', 'turn-secret'), '\n');
    await expect(openSecrets(host, profile, NEEDS)).rejects.toThrow(/turn-secret is empty/);
    await rm(join(folder, 'values', 'turn-secret'));
    await writeFile(join(folder, 'values', 'ssh-operator'), 'not a key\n');
    await expect(openSecrets(host, profile, NEEDS)).rejects.toThrow(/not an Ed25519 key/);
    await expect(openSecrets(host, profile, NEEDS, { 'turn-secret': ' ' })).rejects.toThrow(/is empty/);
  });

  it('refuses a file in the place of the folder', async () => {
    await mkdir(join(folder, '..'), { recursive: true });
    await writeFile(folder, '');
    await expect(readSecrets(host, profile)).rejects.toThrow(/is not a folder/);
  });

  it('strikes values out of logs, as they are and quoted', async () => {
    const store = await openSecrets(host, profile, NEEDS, { 'wifi-passphrase': 'two "words" & more' });
    const operator = store.value('ssh-operator');
    const body = operator.split('\n')[1] ?? '';
    const log = [
      `passphrase two "words" & more.`,
      JSON.stringify({ psk: store.value('wifi-passphrase') }),
      `https://x/?p=${encodeURIComponent(store.value('wifi-passphrase'))}`,
      operator,
      `line: ${body}`,
      store.value('ssh-operator.pub'),
    ].join('\n');
    const clean = store.redact(log);
    expect(clean.split('\n')).toEqual([
      'passphrase [secret: wifi-passphrase].',
      '{"psk":"[secret: wifi-passphrase]"}',
      'https://x/?p=[secret: wifi-passphrase]',
      '[secret: ssh-operator]',
      'line: [secret: ssh-operator]',
      store.value('ssh-operator.pub'),
    ]);
  });
});

it('has enough words that are easy to type', () => {
  expect(WORDS.length).toBeGreaterThanOrEqual(1024);
  expect(new Set(WORDS).size).toBe(WORDS.length);
  expect(WORDS.filter((word) => !/^[a-z]{3,8}$/.test(word))).toEqual([]);
});

it('does not take a key whose halves do not belong together', () => {
  const one = makeSshKey('a', Buffer.alloc(4));
  const bytes = Buffer.from(one.privateKey.split('\n').slice(1, -1).join(''), 'base64');
  // The seed begins 64 + 4 + comment and padding before the end; flip one of its bits.
  const point = Buffer.from(one.publicKey.split(' ')[1] ?? '', 'base64').subarray(-32);
  const seedAt = bytes.lastIndexOf(point) - 32;
  bytes[seedAt] = (bytes[seedAt] ?? 0) ^ 1;
  const broken = `-----BEGIN OPENSSH PRIVATE KEY-----\n${bytes.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----`;
  expect(publicSshKey(one.privateKey)).toBe(one.publicKey);
  expect(publicSshKey(broken)).toBeNull();
});
