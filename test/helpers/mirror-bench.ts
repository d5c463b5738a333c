/** Small signed archives laid out like Debian's, a mirror that serves them, and a fresh workplace for each test. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import type { HostEvent } from '../../src/host/events.js';
import { createHost, type Host } from '../../src/host/host.js';
import { CommeshError } from '../../src/diagnostics/errors.js';
import { verifyCache } from '../../src/mirror/cache.js';
import { fetchRequest, type FetchOptions, type FetchReport } from '../../src/mirror/fetch.js';
import type { Request } from '../../src/mirror/request.js';
import type { PlanSource } from '../../src/plan/types.js';
import type { Lock } from '../../src/mirror/types.js';
import { testBase } from './base-tree.js';
import { forgetKey, makeKey, TinyArchive, TinyMirror, type ArchiveKey, type TinyPackage } from './archive.js';

export const DAY = 86_400_000;
export const BIG = 3_000_000;

const base: TinyPackage[] = [
  { name: 'base-core', version: '13', arch: 'all', fields: { Essential: 'yes', Depends: 'base-lib' } },
  { name: 'base-lib', version: '2', arch: 'all' },
  { name: 'base-needed', version: '1', arch: 'all', fields: { Priority: 'required' } },
];
export const trixie: TinyPackage[] = [
  ...base,
  ...(['amd64', 'arm64'] as const).flatMap((arch): TinyPackage[] => [
    {
      name: 'chat',
      version: '1:1.0+deb13',
      arch,
      fields: { Depends: 'libchat (>= 1)', Recommends: 'chat-extras', Source: 'chat-src (1.0)' },
    },
    { name: 'libchat', version: '1', arch },
    { name: 'turn', version: '4.6', arch, fields: { Depends: 'libchat' } },
  ]),
  { name: 'chat-extras', version: '1', arch: 'all' },
  { name: 'big', version: '1', arch: 'all', bytes: BIG },
  { name: 'broken', version: '1', arch: 'all', fields: { Depends: 'not-to-be-had' } },
];
const security: TinyPackage[] = (['amd64', 'arm64'] as const).map((arch) => ({
  name: 'chat',
  version: '1:1.1+deb13u1',
  arch,
  fields: { Depends: 'libchat (>= 1)' },
}));
const forky: TinyPackage[] = [
  { name: 'forky-core', version: '1', arch: 'all', fields: { Essential: 'yes' } },
  ...(['amd64', 'arm64'] as const).flatMap((arch): TinyPackage[] => [
    { name: 'turn', version: '4.18', arch, fields: { Depends: 'libchat' } },
    { name: 'libchat', version: '9', arch },
    { name: 'greedy', version: '1', arch, fields: { Depends: 'libchat (>= 9)' } },
  ]),
];

export let folder: string;
export let key: ArchiveKey;
export let stranger: ArchiveKey;
export let mirror: TinyMirror;
export let debian: TinyArchive;
export let host: Host & { interrupt(): void };
export let events: HostEvent[];
/** Fresh for each test. */
export let work: string;

async function publish(): Promise<void> {
  const until = new Date(Date.now() + 7 * DAY);
  await debian.publish({ suite: 'trixie', packages: trixie, key });
  await debian.publish({ suite: 'trixie-updates', packages: [], key, validUntil: until });
  await debian.publish({ suite: 'forky', packages: forky, key, validUntil: until });
  const archive = new TinyArchive(join(folder, 'www/debian-security'));
  await archive.publish({ suite: 'trixie-security', packages: security, key, validUntil: until });
}

/** Registers the hooks that make and remove all this; call it once in a test file. */
export function useArchives(): void {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'mirror-test-'));
    [key, stranger] = await Promise.all([makeKey(folder, 'archive'), makeKey(folder, 'stranger')]);
    debian = new TinyArchive(join(folder, 'www/debian'));
    await publish();
    mirror = new TinyMirror(join(folder, 'www'));
    await mirror.start();
  });

  afterAll(async () => {
    await mirror.stop();
    await Promise.all([forgetKey(key), forgetKey(stranger)]);
    await rm(folder, { recursive: true, force: true });
  });

  beforeEach(async () => {
    work = await mkdtemp(join(folder, 'case-'));
    fresh();
  });

  afterEach(async () => {
    mirror.troubles.length = 0;
    mirror.requests.length = 0;
    await host.close();
  });
}

/** A host of its own, as for a new run of the program. */
export function fresh(): void {
  events = [];
  host = createHost((event) => events.push(event));
}

export function request(
  packages: readonly string[],
  extra: Partial<{
    tools: readonly string[];
    armTools: readonly string[];
    boot: readonly string[];
    fingerprints: readonly string[];
    /** Archives of other publishers; `name@archive` is a package from one. */
    archives: readonly PlanSource[];
  }> = {},
): Request {
  const { fingerprints = [] } = extra;
  const wishes = (names: readonly string[]): Request['sets'][number]['packages'] =>
    names.map((text) => {
      const [wanted = '', suite] = text.split('/');
      const [name = '', archive] = wanted.split('@');
      return {
        name,
        ...(suite === undefined ? {} : { suite }),
        ...(archive === undefined ? {} : { archive }),
        service: 'test',
        because: ['services', name],
      };
    });
  const source = (archive: string, suite: string, use: 'all' | 'only'): Request['sources'][number] => ({
    archive,
    suite,
    components: ['main'],
    fingerprints,
    use,
  });
  return {
    sources: [
      source('debian', 'trixie', 'all'),
      source('debian', 'trixie-updates', 'all'),
      source('debian-security', 'trixie-security', 'all'),
      source('debian', 'forky', 'only'),
      ...(extra.archives ?? []),
    ],
    sets: [
      { id: 'system', arch: 'arm64', packages: wishes(packages) },
      ...(extra.tools ? [{ id: 'tools-amd64', arch: 'amd64' as const, packages: wishes(extra.tools) }] : []),
      ...(extra.armTools
        ? [{ id: 'tools-arm64', arch: 'arm64' as const, packages: wishes(extra.armTools) }]
        : []),
      ...(extra.boot ? [{ id: 'boot', arch: 'arm64' as const, packages: wishes(extra.boot) }] : []),
    ],
  };
}

export function options(wanted: Request, more: Partial<FetchOptions> = {}): FetchOptions {
  return {
    request: wanted,
    settings: { mirror: `${mirror.url}/debian`, keyrings: { debian: key.keyring } },
    cache: join(work, 'cache'),
    lockFile: join(work, 'kit.lock.json'),
    mode: 'keep',
    hostArch: 'amd64',
    tools: {
      names: [],
      find: async () => (await testBase(host)).tools,
      whole: () => Promise.reject(new Error('no tools tree here')),
      make: neverMade,
    },
    backoffMs: 5,
    ...more,
  };
}

const neverMade = (): Promise<never> => Promise.reject(new Error('the tests have a tools tree'));

export const fetch = (wanted: Request, more: Partial<FetchOptions> = {}): Promise<FetchReport> =>
  fetchRequest(host, options(wanted, more));

export async function failure(promise: Promise<unknown>): Promise<CommeshError> {
  const error: unknown = await promise.then(
    () => new Error('it went well'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof CommeshError)) throw error;
  return error;
}

export const shown = (lock: Lock, id = 'system'): string[] =>
  (lock.sets[id] ?? []).map((found) => `${found.name} ${found.version} ${found.suite}`);

export const keyrings = (): Record<string, string> => ({
  debian: key.keyring,
  'debian-security': key.keyring,
});

export const verify = (lock: Lock, wanted: Request, full = true): Promise<ReadonlyMap<string, string>> =>
  verifyCache(host, lock, join(work, 'cache'), ['system'], { full, keyrings: keyrings(), request: wanted });

export const deb = (lock: Lock, name: string): string => {
  const found = lock.sets['system']?.find((one) => one.name === name);
  if (!found) throw new Error(`no ${name}`);
  return join(work, 'cache/apt', found.archive, found.path);
};
