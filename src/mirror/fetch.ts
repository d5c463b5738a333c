import { mkdir, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ProfilePath } from '../diagnostics/diagnostic.js';
import { CacheMissError, InterruptedError, WorkError } from '../diagnostics/errors.js';
import { syncFolder } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import type { PlanSource } from '../plan/types.js';
import { archiveFolder, Cache, storePath } from './cache.js';
import { download, takeFile, WrongBytesError, type Wanted } from './download.js';
import { GoneError, HttpClient } from './http.js';
import { becauseOf, readLock, writeLock } from './lock.js';
import { each } from './parallel.js';
import { requestDigest, type Request } from './request.js';
import { resolveAt } from './resolve.js';
import { seedLists } from './seed.js';
import { folderOf, locateArchives, type ArchivePlace, type MirrorSettings } from './sources/apt.js';
import { settingsFor, readNetworkSettings, type NetworkSettings } from './sources/proxy.js';
import type { Lock } from './types.js';

export interface FetchOptions {
  readonly request: Request;
  readonly settings: MirrorSettings;
  /** The cache's folder; made when missing. */
  readonly cache: string;
  readonly lockFile: string;
  /** keep: the lock stays while the request is the same. locked: it must stay. update: resolve again. */
  readonly mode: 'keep' | 'locked' | 'update';
  /** Downloads at a time. */
  readonly parallel?: number;
  /** First pause before a second try, milliseconds. */
  readonly backoffMs?: number;
  /** A connection silent for so long is given up, milliseconds. */
  readonly idleMs?: number;
}

export interface FetchReport {
  readonly lock: Lock;
  /** The lock file was written anew. */
  readonly resolved: boolean;
  /** All files of the lock. */
  readonly files: number;
  readonly bytes: number;
  /** Those that had to be fetched. */
  readonly fetchedFiles: number;
  readonly fetchedBytes: number;
}

interface Item {
  /** What a person calls it. */
  readonly title: string;
  readonly kind: 'index' | 'package';
  readonly archive: string;
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
  readonly because: ProfilePath;
}

const RESERVE_BYTES = 64 << 20;

/**
 * Brings everything the request needs into the cache, and writes the lock. Files that are there already are not
 * fetched; interrupted downloads continue.
 * @throws WorkError, CacheMissError, InterruptedError. Whatever is complete stays in the cache.
 */
export async function fetchRequest(host: Host, options: FetchOptions): Promise<FetchReport> {
  const { request, lockFile } = options;
  const digest = requestDigest(request);
  // A damaged lock is in nobody's way when a new one is asked for.
  const old =
    options.mode === 'update' ? await readLock(lockFile).catch(() => null) : await readLock(lockFile);
  const fits = old !== null && old.request === digest;
  if (options.mode === 'locked' && !fits) {
    throw new WorkError(
      old === null
        ? `there is no lock to keep: ${lockFile}`
        : `the profile asks for other packages or sources than its lock: ${lockFile}`,
      { hint: 'run "commeshctl fetch" without --locked to resolve again' },
    );
  }
  const cache = await Cache.open(options.cache);
  try {
    if (fits && options.mode !== 'update') {
      const fetched = await bring(host, options, cache, old, null, null);
      return { lock: old, resolved: false, ...fetched };
    }
    const network = settingsFor(host, await readNetworkSettings(host), options.settings.mirror);
    const places = await locateArchives(request.sources, options.settings);
    const trusted = {
      ...request,
      sources: withGivenKeys(host, request.sources, options.settings.keyrings ?? {}),
    };
    const { lock: resolved, indexFiles } = await resolveAt(host, trusted, places, network, (root) =>
      seedLists(root, request.sources, cache.folder),
    );
    // What was asked for is the plan's; who was trusted for it is the person's, and stands in `signedBy`.
    const lock: Lock = { ...resolved, request: digest };
    await adopt(cache, lock, indexFiles);
    // A lock that still serves stays until the new one is complete; one that does not is replaced at once, so that an
    // interrupted fetch continues with the same versions.
    if (!fits) await writeLock(lockFile, lock);
    const fetched = await bring(host, options, cache, lock, places, network);
    if (fits) await writeLock(lockFile, lock);
    return { lock, resolved: true, ...fetched };
  } finally {
    await cache.save();
  }
}

/** Puts fresh index files in their places on the cache's tree; the ones they replace go to the store. */
async function adopt(cache: Cache, lock: Lock, indexFiles: ReadonlyMap<string, string>): Promise<void> {
  for (const index of lock.indexes) {
    // InRelease sorts before the lists (upper case) and must come last: it vouches for the others.
    for (const file of [...index.files].reverse()) {
      const target = join(archiveFolder(cache.folder, index.archive), file.path);
      if ((await cache.check(target, file, false)) === 'good') continue;
      await cache.retire(index.archive, file.path);
      const source = indexFiles.get(file.sha256);
      if (source === undefined) throw new Error(`no file for ${file.path}`);
      const part = await partOf(cache, file.sha256);
      await takeFile(source, { size: file.size, sha256: file.sha256, part, target });
      await cache.note(target, file.sha256);
      await syncFolder(dirname(target));
    }
  }
}

async function partOf(cache: Cache, sha256: string): Promise<string> {
  const folder = join(cache.folder, 'partial');
  await mkdir(folder, { recursive: true });
  return join(folder, `${sha256}.part`);
}

/** Everything the lock names, once each. */
function itemsOf(lock: Lock, request: Request): Item[] {
  const items = new Map<string, Item>();
  for (const [id, list] of Object.entries(lock.sets)) {
    for (const found of list) {
      const key = `${found.archive} ${found.path}`;
      if (items.has(key)) continue;
      items.set(key, {
        title: `${found.name} ${found.version}`,
        kind: 'package',
        archive: found.archive,
        path: found.path,
        size: found.size,
        sha256: found.sha256,
        because: becauseOf(request, id, found),
      });
    }
  }
  return [...items.values()];
}

/** Fetches what is missing. Places and network are looked up only when something is. */
async function bring(
  host: Host,
  options: FetchOptions,
  cache: Cache,
  lock: Lock,
  knownPlaces: readonly ArchivePlace[] | null,
  knownNetwork: NetworkSettings | null,
): Promise<Omit<FetchReport, 'lock' | 'resolved'>> {
  const packages = itemsOf(lock, options.request);
  const missing: (Item & { target: string })[] = [];
  let files = 0;
  let bytes = 0;
  for (const index of lock.indexes) {
    for (const file of index.files) {
      files += 1;
      bytes += file.size;
      const found = await cache.findIndex(index, file, false);
      if (!('fault' in found)) continue;
      missing.push({
        title: `${index.archive} ${file.path}`,
        kind: 'index',
        archive: index.archive,
        ...file,
        because: ['mirror'],
        // Never over a newer index that stands in its place.
        target:
          (await stat(join(archiveFolder(cache.folder, index.archive), file.path)).catch(() => null)) === null
            ? join(archiveFolder(cache.folder, index.archive), file.path)
            : storePath(cache.folder, file.sha256),
      });
    }
  }
  await each(packages, 8, host.signal, async (item) => {
    files += 1;
    bytes += item.size;
    const target = join(archiveFolder(cache.folder, item.archive), item.path);
    if ((await cache.check(target, item, false)) !== 'good') missing.push({ ...item, target });
  });
  const total = missing.reduce((sum, item) => sum + item.size, 0);
  if (missing.length === 0) {
    host.emit({ type: 'log', level: 'info', text: `all ${files} files are there (${inMB(bytes)})` });
    return { files, bytes, fetchedFiles: 0, fetchedBytes: 0 };
  }
  // Large files first, so that no single one is left at the end.
  missing.sort((a, b) => b.size - a.size || (a.path < b.path ? -1 : 1));
  const places = knownPlaces ?? (await locateArchives(options.request.sources, options.settings));
  const network = knownNetwork ?? (await readNetworkSettings(host));
  host.emit({
    type: 'log',
    level: 'info',
    text: `${missing.length} of ${files} files to fetch: ${inMB(total)} of ${inMB(bytes)}`,
  });
  await mkdir(cache.folder, { recursive: true });
  await checkSpace(cache, missing, total);
  await timed(
    host,
    'download',
    'Fetch packages',
    () => downloadAll(host, options, cache, missing, total, places, network),
    () => ({ note: `${missing.length} files, ${inMB(total)}` }),
  );
  return { files, bytes, fetchedFiles: missing.length, fetchedBytes: total };
}

function inMB(bytes: number): string {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

async function checkSpace(cache: Cache, missing: readonly Item[], total: number): Promise<void> {
  let begun = 0;
  for (const item of missing) {
    begun += await stat(await partOf(cache, item.sha256)).then(
      (found) => found.size,
      () => 0,
    );
  }
  const { bavail, bsize } = await statfs(cache.folder);
  const needed = total - begun + RESERVE_BYTES;
  if (bavail * bsize >= needed) return;
  throw new WorkError(
    `not enough room for the offline cache: ${inMB(needed)} are needed, ${inMB(bavail * bsize)} are free in ${cache.folder}`,
    { hint: 'make room, or keep the cache on another disk with --cache DIR' },
  );
}

/** Where a file may be had, best first. */
function urlsOf(item: Item, place: ArchivePlace): URL[] {
  const paths = [item.path];
  if (item.kind === 'index' && !item.path.endsWith('/InRelease')) {
    // Old lists stay on mirrors under their digest for a while (DebianRepository/Format, Acquire-By-Hash).
    paths.unshift(`${dirname(item.path)}/by-hash/SHA256/${item.sha256}`);
  }
  if (place.uri.startsWith('file:')) {
    const folder = folderOf(place.uri);
    const files = paths.map((path) => join(folder, path));
    // The folder may be another offline cache, which keeps older indexes in its store.
    if (item.kind === 'index') files.push(storePath(dirname(dirname(folder)), item.sha256));
    return files.map((file) => pathToFileURL(file));
  }
  return paths.map((path) => new URL(`${place.uri}/${encodeURI(path).replaceAll('+', '%2B')}`));
}

async function downloadAll(
  host: Host,
  options: FetchOptions,
  cache: Cache,
  missing: readonly (Item & { target: string })[],
  total: number,
  places: readonly ArchivePlace[],
  network: NetworkSettings,
): Promise<void> {
  const client = new HttpClient(network, options.idleMs ?? 30_000);
  const stop = new AbortController();
  const onAbort = (): void => stop.abort();
  host.signal.addEventListener('abort', onAbort, { once: true });
  if (host.signal.aborted) stop.abort();
  let done = 0;
  let told = 0;
  const progress = (count: number): void => {
    done += count;
    if (host.now() - told < 100 && done < total) return;
    told = host.now();
    host.emit({ type: 'progress', id: 'download', done, total, unit: 'bytes' });
  };
  const folders = new Set<string>();
  try {
    await each(missing, options.parallel ?? 8, host.signal, async (item) => {
      const place = places.find((candidate) => candidate.archive === item.archive);
      if (place === undefined) throw new Error(`no place for ${item.archive}`);
      const part = await partOf(cache, item.sha256);
      const wanted: Wanted = {
        urls: urlsOf(item, place),
        size: item.size,
        sha256: item.sha256,
        part,
        target: item.target,
      };
      progress(
        await stat(part).then(
          (found) => found.size,
          () => 0,
        ),
      );
      try {
        await download(wanted, {
          client,
          signal: stop.signal,
          onBytes: progress,
          onRetry: (reason) =>
            host.emit({ type: 'log', level: 'debug', text: `${item.title}: ${reason}; trying again` }),
          backoffMs: options.backoffMs ?? 500,
        });
      } catch (error) {
        if (host.signal.aborted) throw new InterruptedError();
        stop.abort();
        throw explain(error, item, place, cache);
      }
      await cache.note(item.target, item.sha256);
      folders.add(dirname(item.target));
    });
  } finally {
    host.signal.removeEventListener('abort', onAbort);
    client.close();
    for (const folder of folders) await syncFolder(folder);
  }
}

/** A fault of one file, told with the profile path that asked for it. */
function explain(error: unknown, item: Item, place: ArchivePlace, cache: Cache): unknown {
  const where = place.uri.startsWith('file:') ? folderOf(place.uri) : new URL(place.uri).host;
  const because = item.because;
  if (error instanceof GoneError) {
    return new CacheMissError(
      item.kind === 'package'
        ? `the package ${item.title} is in the lock, but the mirror has dropped it (${where}: ${error.message})`
        : `the index ${item.title} of the lock is no longer on the mirror (${where}: ${error.message})`,
      {
        hint: 'run "commeshctl fetch --update" to take the versions the mirror has now, or bring the offline cache that belongs to this lock',
        because,
      },
    );
  }
  if (error instanceof WrongBytesError) {
    return item.kind === 'package'
      ? new WorkError(`the mirror sends a wrong ${item.title}: ${error.message} (${where})`, {
          hint: 'nothing wrong was kept; try another mirror, or "commeshctl fetch --update" if the mirror was just updated',
          because,
        })
      : new CacheMissError(`the mirror has another ${item.title} than the lock (${where})`, {
          hint: 'run "commeshctl fetch --update" to take the versions the mirror has now, or bring the offline cache that belongs to this lock',
          because,
        });
  }
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new WorkError(`no room left while fetching ${item.title}`, {
      hint: 'make room, or keep the cache on another disk with --cache DIR; what is there already is kept',
    });
  }
  if (code === 'EACCES' || code === 'EROFS') {
    return new WorkError(`the offline cache cannot be written to: ${cache.folder}`, {
      hint: 'is it a locked USB stick? Another folder can be given with --cache DIR',
    });
  }
  return new WorkError(`${item.title} could not be fetched from ${where}: ${message}`, {
    hint: 'what is there already is kept; run the command again to continue',
    because,
  });
}

/** A keyring given for an archive replaces the key the plan expects there: a mirror of one's own, signed by oneself. */
function withGivenKeys(
  host: Host,
  sources: readonly PlanSource[],
  keyrings: Readonly<Record<string, string>>,
): readonly PlanSource[] {
  return sources.map((source) => {
    const keyring = keyrings[source.archive];
    if (keyring === undefined || source.fingerprints.length === 0) return source;
    host.emit({
      type: 'log',
      level: 'warn',
      text: `the archive "${source.archive}" is trusted by the keys in ${keyring}, not by its usual key`,
    });
    return { ...source, fingerprints: [] };
  });
}
