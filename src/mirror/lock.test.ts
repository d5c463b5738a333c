import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { archsOf, becauseOf, formatLock, lockPath, readLock, writeLock } from './lock.js';
import { requestDigest, type Request } from './request.js';
import type { Lock, LockIndex, LockPackage } from './types.js';

const package_ = (name: string, arch: string, extra: Partial<LockPackage> = {}): LockPackage => ({
  name,
  version: '1:1.0~rc1-2+deb13u1',
  arch,
  path: `pool/main/${name[0]}/${name}/${name}_1.0~rc1-2+deb13u1_${arch}.deb`,
  size: 1,
  sha256: 'a'.repeat(64),
  source: name,
  sourceVersion: '1.0',
  archive: 'debian',
  suite: 'trixie',
  installedKiB: 1,
  ...extra,
});
const lock: Lock = {
  format: 1,
  request: 'b'.repeat(64),
  epoch: 1_700_000_000,
  indexes: [
    {
      archive: 'debian',
      suite: 'trixie',
      components: ['main'],
      signedBy: ['A'.repeat(40)],
      date: 1_700_000_000,
      files: [{ path: 'dists/trixie/InRelease', size: 1, sha256: 'c'.repeat(64) }],
    },
  ],
  sets: {
    system: [package_('chat', 'arm64', { for: 'chat' }), package_('lib', 'all', { for: 'chat' })],
    boot: [package_('firmware', 'all', { for: 'firmware' })],
  },
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lock-test-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('lock files', () => {
  it('lie beside the profile', () => {
    expect(lockPath('sites/clinic.yaml')).toBe('sites/clinic.lock.json');
    expect(lockPath('sites/clinic.yml')).toBe('sites/clinic.lock.json');
  });

  it('come back as they were written, the same bytes for any order of sets', async () => {
    const file = join(folder, 'kit.lock.json');
    expect(await readLock(file)).toBeNull();
    await writeLock(file, lock);
    const back = await readLock(file);
    expect(back).toEqual(lock);
    const { system = [], boot = [] } = lock.sets;
    expect(formatLock({ ...lock, sets: { boot, system } })).toBe(formatLock(lock));
  });

  const altered = (
    change: (copy: {
      indexes: { archive: string; files: { path: string }[] }[];
      sets: { system: Record<string, unknown>[] };
    }) => void,
  ): string => {
    const copy = structuredClone(lock) as unknown as Parameters<typeof change>[0];
    change(copy);
    return JSON.stringify(copy);
  };
  it.each([
    ['half a file', formatLock(lock).slice(0, 400), 'not JSON'],
    ['nothing', '', 'not JSON'],
    ['another format', JSON.stringify({ ...lock, format: 2 }), '/format'],
    ['a missing part', JSON.stringify({ format: 1 }), 'required'],
    [
      'a short digest',
      altered((copy) => Object.assign(copy.sets.system[0] ?? {}, { sha256: 'abc' })),
      '/sets/system/0/sha256',
    ],
    [
      'a path out of the cache',
      altered((copy) => Object.assign(copy.sets.system[0] ?? {}, { path: 'pool/../../../etc/passwd' })),
      '/sets/system/0/path',
    ],
    [
      'an absolute path',
      altered((copy) => Object.assign(copy.sets.system[0] ?? {}, { path: '/etc/passwd' })),
      '/sets/system/0/path',
    ],
    [
      'an archive out of the cache',
      altered((copy) => Object.assign(copy.indexes[0] ?? {}, { archive: '../..' })),
      '/indexes/0/archive',
    ],
    [
      'an index out of the cache',
      altered((copy) => Object.assign(copy.indexes[0]?.files[0] ?? {}, { path: 'dists/../../x' })),
      '/indexes/0/files/0/path',
    ],
    [
      'a flat index out of the cache',
      altered((copy) => Object.assign(copy.indexes[0]?.files[0] ?? {}, { path: 'stable/../../InRelease' })),
      '/indexes/0/files/0/path',
    ],
    [
      'a suite out of the cache',
      altered((copy) => Object.assign(copy.indexes[0] ?? {}, { suite: '../' })),
      '/indexes/0/suite',
    ],
    [
      'an unknown key',
      altered((copy) => Object.assign(copy.sets.system[0] ?? {}, { extra: 1 })),
      'additional',
    ],
  ])('are refused when damaged: %s', async (_title, text, words) => {
    const file = join(folder, 'damaged.lock.json');
    await writeFile(file, text);
    await expect(readLock(file)).rejects.toThrow(/is damaged/);
    await expect(readLock(file)).rejects.toThrow(words);
  });

  it('may name a flat repository, in a folder or at the top', async () => {
    const [index] = lock.indexes;
    if (index === undefined) throw new Error('no index');
    const flat = (suite: string, folder: string): LockIndex => ({
      ...index,
      archive: 'meet',
      suite,
      components: [],
      files: [{ path: `${folder}InRelease`, size: 1, sha256: 'c'.repeat(64) }],
    });
    const packages = ['stable/a_1~b+c_all.deb', 'a_1_all.deb'].map((path) =>
      package_('a', 'all', { archive: 'meet', suite: 'stable/', path }),
    );
    const file = join(folder, 'flat.lock.json');
    const written = { ...lock, indexes: [flat('stable/', 'stable/'), flat('./', '')], sets: { packages } };
    await writeLock(file, written);
    expect(await readLock(file)).toEqual(written);
  });

  it('tell which architectures a set needs', () => {
    expect(archsOf(lock, ['system'])).toEqual(new Set(['all', 'arm64']));
    expect(archsOf(lock, ['system', 'boot'])).toBeNull();
  });
});

const request: Request = {
  sources: [{ archive: 'debian', suite: 'trixie', components: ['main'], fingerprints: [], use: 'all' }],
  sets: [
    {
      id: 'system',
      arch: 'arm64',
      packages: [
        { name: 'chat', service: 'prosody', because: ['services', 'prosody'] },
        { name: 'turn', suite: 'forky', service: 'coturn', because: ['services', 'coturn'] },
      ],
    },
  ],
};

it('an entry of the lock leads back to the wish that asked for it', () => {
  const [chat, lib] = lock.sets['system'] ?? [];
  expect(becauseOf(request, 'system', chat as LockPackage)).toEqual(['services', 'prosody']);
  expect(becauseOf(request, 'system', lib as LockPackage)).toEqual(['services', 'prosody']);
  expect(becauseOf(request, 'system', package_('libc', 'arm64'))).toEqual(['base']);
});

describe('the digest of a request', () => {
  const [set] = request.sets;
  const [chat, turn] = set?.packages ?? [];
  if (!set || !chat || !turn) throw new Error('the request is incomplete');

  it('does not mind order, doubles and who asked', () => {
    const same = [turn, { ...chat, service: 'other', because: ['x'] }, chat];
    expect(requestDigest({ ...request, sets: [{ ...set, packages: same }] })).toBe(requestDigest(request));
  });

  it('stays what it is for those who ask no other publisher, so that their locks serve', () => {
    expect(requestDigest(request)).toBe('694bc9e8706d31139a57ec1ee2af43c7c4cd1327318fc8c4382c5cf6af3e48b9');
  });

  it('does not mind the address of an archive', () => {
    const at = (uri: string): Request => ({
      ...request,
      sources: request.sources.map((source) => ({ ...source, uri, because: ['services'] })),
    });
    expect(requestDigest(at('https://a.invalid'))).toBe(requestDigest(at('https://b.invalid')));
  });

  it.each([
    ['a package', { ...request, sets: [{ ...set, packages: [chat] }] }],
    ['an archive', { ...request, sets: [{ ...set, packages: [chat, { ...turn, archive: 'meet' }] }] }],
    ['a suite', { ...request, sets: [{ ...set, packages: [chat, { ...turn, suite: 'sid' }] }] }],
    ['the architecture', { ...request, sets: [{ ...set, arch: 'amd64' as const }] }],
    ['a source', { ...request, sources: [] }],
  ])('minds %s', (_title, other) => {
    expect(requestDigest(other)).not.toBe(requestDigest(request));
  });
});
