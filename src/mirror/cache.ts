import { mkdir, readFile, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ProfilePath } from '../diagnostics/diagnostic.js';
import { CacheMissError } from '../diagnostics/errors.js';
import { hashFile, readTextIfThere, sha256, syncFolder, writeAtomic } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import { artifactPath, artifactsOf, becauseOfArtifact } from './artifacts.js';
import { NPM_SET } from '../services/contract.js';
import { each } from './parallel.js';
import { archOfList, EVERY_ARCH, unpackList } from './lists.js';
import { archsOf, becauseOf } from './lock.js';
import { PackagesIndex, toRecord } from './packages.js';
import { RELEASE_NAMES, parseRelease, verifyRelease as verifySignature } from './release.js';
import type { Request } from './request.js';
import { becauseOfArchive, suiteFolder } from './suites.js';
import type { Lock, LockFile, LockIndex, LockPackage } from './types.js';

/** Folder of an archive in the cache. Below it everything stands as on the mirror. */
export function archiveFolder(cache: string, archive: string): string {
  return join(cache, 'apt', archive);
}

/** Where an index waits once a newer one stands in its place, for the locks that still name it. */
export function storePath(cache: string, sha256: string): string {
  return join(cache, 'indexes', 'sha256', sha256.slice(0, 2), sha256);
}

export type FileState = 'good' | 'missing' | 'truncated' | 'changed';

interface Known {
  readonly size: number;
  readonly mtimeMs: number;
  readonly sha256: string;
}

/**
 * The cache on disk, and what is known of its files. `index.json` remembers size, time and digest of files that were
 * read whole once, so that a fetch with nothing to do need not read them again.
 */
export class Cache {
  readonly #known = new Map<string, Known>();
  #changed = false;

  private constructor(readonly folder: string) {}

  static async open(folder: string): Promise<Cache> {
    const cache = new Cache(folder);
    const text = await readTextIfThere(join(folder, 'index.json'));
    try {
      const data = JSON.parse(text ?? '{}') as { files?: Record<string, Known> };
      for (const [path, known] of Object.entries(data.files ?? {})) cache.#known.set(path, known);
    } catch {
      // Only a memory of what was read: without it files are read again.
    }
    return cache;
  }

  /** Writes `index.json`; a cache that cannot be written to (a locked USB stick) does without. */
  async save(): Promise<void> {
    if (!this.#changed) return;
    const files = Object.fromEntries([...this.#known].sort(([a], [b]) => (a < b ? -1 : 1)));
    await writeAtomic(join(this.folder, 'index.json'), `${JSON.stringify({ files })}\n`).catch(() => {});
    this.#changed = false;
  }

  /** Compares a file with what it should be. `full`: read it whole, whatever is remembered. */
  async check(path: string, wanted: { size: number; sha256: string }, full: boolean): Promise<FileState> {
    const found = await stat(path).catch(() => null);
    if (!found?.isFile()) return 'missing';
    if (found.size !== wanted.size) return found.size < wanted.size ? 'truncated' : 'changed';
    const known = this.#known.get(this.#key(path));
    if (!full && known && known.size === found.size && known.mtimeMs === found.mtimeMs) {
      return known.sha256 === wanted.sha256 ? 'good' : 'changed';
    }
    const { sha256, size } = await hashFile(path);
    if (size === found.size) this.#remember(path, { size, mtimeMs: found.mtimeMs, sha256 });
    return sha256 === wanted.sha256 ? 'good' : 'changed';
  }

  /** Notes a file that was just read or written whole with this digest. */
  async note(path: string, sha256: string): Promise<void> {
    const found = await stat(path);
    this.#remember(path, { size: found.size, mtimeMs: found.mtimeMs, sha256 });
  }

  #remember(path: string, known: Known): void {
    const key = this.#key(path);
    const before = this.#known.get(key);
    if (before?.sha256 === known.sha256 && before.mtimeMs === known.mtimeMs) return;
    this.#known.set(key, known);
    this.#changed = true;
  }

  #key(path: string): string {
    return path.startsWith(`${this.folder}/`) ? path.slice(this.folder.length + 1) : path;
  }

  /** The file of a locked index: in its place on the mirror's tree, or in the store of older ones. */
  async findIndex(
    index: LockIndex,
    file: LockFile,
    full: boolean,
  ): Promise<{ path: string } | { fault: FileState; path: string }> {
    const place = join(archiveFolder(this.folder, index.archive), file.path);
    const fault = await this.check(place, file, full);
    if (fault === 'good') return { path: place };
    const stored = storePath(this.folder, file.sha256);
    const inStore = await this.check(stored, file, full);
    if (inStore === 'good') return { path: stored };
    return inStore === 'missing' ? { fault, path: place } : { fault: inStore, path: stored };
  }

  /** Puts an index file that stands in its place into the store, under its own digest, before a newer one comes. */
  async retire(archive: string, path: string): Promise<void> {
    const place = join(archiveFolder(this.folder, archive), path);
    if (!(await stat(place).catch(() => null))) return;
    const { sha256 } = await hashFile(place);
    const target = storePath(this.folder, sha256);
    await mkdir(dirname(target), { recursive: true });
    await rename(place, target);
    await this.note(target, sha256);
    await syncFolder(dirname(target));
  }
}

export interface VerifyOptions {
  /** Read every file whole and follow the chain signature → index → package. Otherwise size and time are trusted. */
  readonly full: boolean;
  /** Keyring file per archive. */
  readonly keyrings: Readonly<Record<string, string>>;
  /** The plan's wishes: an error can then name the profile line that asked. */
  readonly request: Request;
}

type Fault = Exclude<FileState, 'good'>;
const WORDS: Record<Fault, string> = {
  missing: 'is not in the offline cache',
  truncated: 'is cut short',
  changed: 'has been changed',
};

/**
 * Checks that the cache holds what the lock names for these sets: every index and .deb by SHA-256, every InRelease by
 * its signature (or that beside it), and (`full`) that the signed indexes really list every package of the lock.
 * @returns the signed stanza of each package by the SHA-256 of its .deb (latin1 text); none unless `full`.
 * @throws CacheMissError that names the file, the package and the profile path that asked for it.
 */
export async function verifyCache(
  host: Host,
  lock: Lock,
  cacheFolder: string,
  setIds: readonly string[],
  options: VerifyOptions,
): Promise<ReadonlyMap<string, string>> {
  const cache = await Cache.open(cacheFolder);
  const ids = setIds.join('+');
  return await timed(host, `verify-cache-${ids}`, `Check the offline cache (${ids})`, async () => {
    try {
      const files = await verifyIndexes(lock, cache, options);
      const [stanzas] = await Promise.all([
        options.full ? verifyChain(lock, setIds, options, files) : new Map<string, string>(),
        verifyPackages(host, lock, cache, setIds, options),
      ]);
      return stanzas;
    } finally {
      await cache.save();
    }
  });
}

function miss(message: string, because: ProfilePath, hint?: string): CacheMissError {
  return new CacheMissError(message, {
    hint: hint ?? 'run "commeshctl fetch" with this profile to fetch it again',
    because,
  });
}

function indexFault(
  index: LockIndex,
  file: LockFile,
  fault: Fault,
  path: string,
  request: Request,
): CacheMissError {
  return miss(
    `the package index ${file.path} of the archive "${index.archive}" ${WORDS[fault]}: ${path}`,
    becauseOfArchive(request, index.archive),
  );
}

/** @returns path of each locked index file, by SHA-256. */
async function verifyIndexes(lock: Lock, cache: Cache, options: VerifyOptions): Promise<Map<string, string>> {
  const paths = new Map<string, string>();
  for (const index of lock.indexes) {
    for (const file of index.files) {
      const found = await cache.findIndex(index, file, options.full);
      if ('fault' in found) {
        throw indexFault(index, file, found.fault as Fault, found.path, options.request);
      }
      paths.set(file.sha256, found.path);
    }
    await verifyRelease(index, paths, options);
  }
  return paths;
}

async function verifyRelease(
  index: LockIndex,
  paths: ReadonlyMap<string, string>,
  options: VerifyOptions,
): Promise<void> {
  const prefix = suiteFolder(index.suite);
  const because = becauseOfArchive(options.request, index.archive);
  const what = `the package index "${index.suite}" of the archive "${index.archive}"`;
  const release = new Map<string, Buffer>();
  for (const name of RELEASE_NAMES) {
    const file = index.files.find(({ path }) => path === `${prefix}${name}`);
    if (file !== undefined) release.set(name, await readFile(paths.get(file.sha256) ?? ''));
  }
  const keyring = options.keyrings[index.archive];
  if (release.size === 0 || keyring === undefined) {
    throw miss(`${what} has no signed release file in the lock`, because);
  }
  const signed = await verifySignature(release, keyring);
  if ('fault' in signed) throw miss(`${what} cannot be trusted: ${signed.reason}`, because);
  if (!signed.fingerprints.some((fingerprint) => index.signedBy.includes(fingerprint))) {
    throw miss(`${what} is signed by another key than the lock names`, because);
  }
  const named = parseRelease(signed.text).files;
  for (const file of index.files) {
    const name = file.path.slice(prefix.length);
    if (release.has(name)) continue;
    const entry = named.get(name);
    if (entry?.sha256 !== file.sha256) {
      throw miss(`the lock names another ${file.path} than ${what} as it is signed`, because);
    }
  }
}

async function verifyPackages(
  host: Host,
  lock: Lock,
  cache: Cache,
  setIds: readonly string[],
  options: VerifyOptions,
): Promise<void> {
  const items = setIds.flatMap((id) => (lock.sets[id] ?? []).map((found) => ({ id, found })));
  await each(items, 4, host.signal, async ({ id, found }) => {
    const path = join(archiveFolder(cache.folder, found.archive), found.path);
    const state = await cache.check(path, found, options.full);
    if (state === 'good') return;
    throw miss(
      `the package ${found.name} ${found.version} ${WORDS[state]}: ${path}`,
      becauseOf(options.request, id, found),
    );
  });
  await each(artifactsOf(lock), 4, host.signal, async ({ set, one }) => {
    const path = artifactPath(cache.folder, set, one);
    const state = await cache.check(path, one, options.full);
    if (state === 'good') return;
    throw miss(
      `the ${set === NPM_SET ? 'npm package' : 'Python wheel'} ${one.name} ${one.version} ${WORDS[state]}: ${path}`,
      becauseOfArtifact(options.request.artifacts, set, one),
    );
  });
}

/**
 * A lock that was altered after resolving: its packages are no longer those the signed index lists.
 * @returns the stanza of each package by the SHA-256 of its .deb.
 */
async function verifyChain(
  lock: Lock,
  setIds: readonly string[],
  options: VerifyOptions,
  files: ReadonlyMap<string, string>,
): Promise<Map<string, string>> {
  const all = setIds.flatMap((id) => (lock.sets[id] ?? []).map((found) => ({ id, found })));
  const archs = archsOf(lock, setIds);
  const stanzas = new Map<string, string>();
  for (const { id, found } of all) {
    if (lock.indexes.some((index) => index.archive === found.archive && index.suite === found.suite))
      continue;
    throw altered(found, found.suite, becauseOf(options.request, id, found));
  }
  await Promise.all(
    lock.indexes.map(async (index) => {
      const wanted = all.filter(
        ({ found }) => found.archive === index.archive && found.suite === index.suite,
      );
      if (wanted.length === 0) return;
      const listed = new PackagesIndex();
      await Promise.all(
        index.files.map(async (file) => {
          const arch = archOfList(file.path);
          if (arch === null || (arch !== EVERY_ARCH && archs?.has(arch) === false)) return;
          const bytes = await readFile(files.get(file.sha256) ?? '');
          // Read again since it was compared: what is believed is what was signed.
          if (sha256(bytes) !== file.sha256)
            throw indexFault(index, file, 'changed', files.get(file.sha256) ?? '', options.request);
          listed.add(await unpackList(bytes, file.path));
        }),
      );
      for (const { id, found } of wanted) {
        const stanza = listed.stanzas(found.name).find((text) => {
          const record = toRecord(text);
          return (
            record.sha256 === found.sha256 &&
            record.filename === found.path &&
            record.version === found.version &&
            record.arch === found.arch
          );
        });
        if (stanza === undefined) throw altered(found, index.suite, becauseOf(options.request, id, found));
        stanzas.set(found.sha256, stanza);
      }
    }),
  );
  return stanzas;
}

function altered(found: LockPackage, suite: string, because: ProfilePath): CacheMissError {
  return miss(
    `the lock's ${found.name} ${found.version} is not what the signed index "${suite}" lists`,
    because,
    'the lock was altered; remove it and run "commeshctl fetch" with this profile',
  );
}
