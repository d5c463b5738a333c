import { rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WorkError } from '../diagnostics/errors.js';
import { syncFolder } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import type { Tools } from '../host/tools.js';
import type { PlanSource } from '../plan/types.js';
import type { Arch } from '../services/contract.js';
import { archiveFolder, Cache, storePath } from './cache.js';
import { takeFile } from './download.js';
import { HttpClient } from './http.js';
import { fetchIndexes, refuseOlder } from './indexes.js';
import { archOfList } from './lists.js';
import { becauseOf, readLock, writeLock } from './lock.js';
import { each } from './parallel.js';
import { RELEASE_NAMES } from './release.js';
import { requestDigest, setsForHost, type Request } from './request.js';
import { firstPackages, resolveSets } from './resolve.js';
import { locateArchives, type MirrorSettings } from './sources/apt.js';
import { readNetworkSettings, settingsFor, type NetworkSettings } from './sources/proxy.js';
import { artifactFiles, missingArtifacts, resolveArtifacts, type Reach } from './bring.js';
import { artifactsAsked } from './artifacts.js';
import { becauseOfArchive, suiteFolder } from './suites.js';
import { inMB, partOf, transfer, type Item, type TransferOptions } from './transfer.js';
import type { Lock, LockPackage } from './types.js';

/** Where the programs come from that work out which packages are needed. */
export interface SolverTools {
  /** Packages a first tree is made of, by name. */
  readonly names: readonly string[];
  /** A tree made before, or null. */
  find(): Promise<Tools | null>;
  /** Makes a first tree from these .debs, which are verified. */
  make(packages: readonly LockPackage[], debPath: (one: LockPackage) => string): Promise<Tools>;
  /** The tools tree of these packages of a lock, which are in the cache. */
  whole(packages: readonly LockPackage[], debPath: (one: LockPackage) => string): Promise<Tools>;
}

export interface FetchOptions {
  readonly request: Request;
  readonly settings: MirrorSettings;
  /** The cache's folder; made when missing. */
  readonly cache: string;
  readonly lockFile: string;
  /** keep: the lock stays while the request is the same. locked: it must stay. update: resolve again. */
  readonly mode: 'keep' | 'locked' | 'update';
  /** The machine that will build: sets of programs for other machines are in the lock, but not fetched. */
  readonly hostArch: Arch;
  readonly tools: SolverTools;
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
  /** All files of the lock this machine needs. */
  readonly files: number;
  readonly bytes: number;
  /** Those that had to be fetched. */
  readonly fetchedFiles: number;
  readonly fetchedBytes: number;
}

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
  const connect = once(() => connectTo(host, options));
  try {
    if (fits && options.mode !== 'update') {
      const fetched = await bring(host, options, cache, old, connect);
      return { lock: old, resolved: false, ...fetched };
    }
    // What was asked for is the plan's; who was trusted for it is the person's, and stands in `signedBy`.
    const lock: Lock = { ...(await resolve(host, options, cache, connect, old)), request: digest };
    await adopt(cache, lock);
    // A lock that still serves stays until the new one is complete; one that does not is replaced at once, so that an
    // interrupted fetch continues with the same versions.
    if (!fits) await writeLock(lockFile, lock);
    const fetched = await bring(host, options, cache, lock, connect);
    if (fits) await writeLock(lockFile, lock);
    return { lock, resolved: true, ...fetched };
  } finally {
    await cache.save();
    (await connect.made)?.client.close();
  }
}

interface Connection extends TransferOptions {
  readonly network: NetworkSettings;
  readonly ignoresAge: boolean;
}

/** Runs `work` at the first call only. */
function once<T>(work: () => Promise<T>): (() => Promise<T>) & { made: Promise<T | null> } {
  let running: Promise<T> | null = null;
  const call = (): Promise<T> => {
    if (running === null) {
      running = work();
      result.made = running.catch(() => null);
    }
    return running;
  };
  const result = Object.assign(call, { made: Promise.resolve(null) as Promise<T | null> });
  return result;
}

async function connectTo(host: Host, options: FetchOptions): Promise<Connection> {
  const network = settingsFor(host, await readNetworkSettings(host), options.settings.mirror);
  const places = await locateArchives(options.request.sources, options.settings);
  return {
    client: new HttpClient(network, options.idleMs ?? 30_000),
    network,
    places,
    ignoresAge: network.ignoresAge,
    parallel: options.parallel ?? 8,
    backoffMs: options.backoffMs ?? 500,
  };
}

/** A lock of what the mirror has now; the index files it names wait in the cache's store. */
async function resolve(
  host: Host,
  options: FetchOptions,
  cache: Cache,
  connect: () => Promise<Connection>,
  old: Lock | null,
): Promise<Lock> {
  const { request, settings, hostArch } = options;
  const connection = await connect();
  const trusted = { ...request, sources: withGivenKeys(host, request.sources, settings.keyrings ?? {}) };
  const checked = await fetchIndexes(host, trusted, cache, connection);
  refuseOlder(checked, old, connection.places);
  let tools = await options.tools.find();
  if (tools === null) {
    const first = firstPackages(options.tools.names, hostArch, checked);
    const items = await missingOf(
      host,
      cache,
      first.map((one) => itemOf(cache, one, ['mirror'])),
    );
    await transfer(host, cache, items, connection, 'first-download', 'Fetch apt and what it needs');
    tools = await options.tools.make(first, (one) =>
      join(archiveFolder(cache.folder, one.archive), one.path),
    );
  }
  const solver = tools;
  const lock = await timed(
    host,
    'resolve',
    'Work out which packages are needed',
    () => resolveSets(host, trusted, checked, solver),
    ({ sets }) => ({
      note: Object.entries(sets)
        .map(([id, list]) => `${id}: ${list.length} packages`)
        .join(', '),
    }),
  );
  if (request.artifacts === undefined || artifactsAsked(request.artifacts) === null) return lock;
  const reach = reachOf(host, options, cache, lock, connection);
  return { ...lock, artifacts: await resolveArtifacts(host, request.artifacts, cache, reach) };
}

/** How other sources than apt archives are reached; their programs come from the lock's own tools tree. */
function reachOf(host: Host, options: FetchOptions, cache: Cache, lock: Lock, connection: Connection): Reach {
  const { client, network, backoffMs } = connection;
  const tools = once(async () => {
    const id = `tools-${options.hostArch}`;
    const packages = lock.sets[id] ?? [];
    const items = packages.map((one) => itemOf(cache, one, becauseOf(options.request, id, one)));
    const missing = await missingOf(host, cache, items);
    await transfer(host, cache, missing, connection, 'tools-download', 'Fetch the programs of the build');
    return await options.tools.whole(packages, (one) =>
      join(archiveFolder(cache.folder, one.archive), one.path),
    );
  });
  return { client, network, settings: options.settings, backoffMs, tools };
}

/** Puts fresh index files in their places on the cache's tree; the ones they replace go to the store. */
async function adopt(cache: Cache, lock: Lock): Promise<void> {
  const used = new Set<string>();
  for (const index of lock.indexes) {
    // An archive may have begun or ceased to carry its signature inside: then the other form is an old one.
    for (const name of RELEASE_NAMES) {
      const path = `${suiteFolder(index.suite)}${name}`;
      if (!index.files.some((file) => file.path === path)) await cache.retire(index.archive, path);
    }
    // The signed release must come last: it vouches for the others.
    const lists = index.files.filter(({ path }) => archOfList(path) !== null);
    for (const file of [...lists, ...index.files.filter((one) => !lists.includes(one))]) {
      const target = join(archiveFolder(cache.folder, index.archive), file.path);
      const stored = storePath(cache.folder, file.sha256);
      used.add(stored);
      if ((await cache.check(target, file, false)) === 'good') continue;
      await cache.retire(index.archive, file.path);
      const part = await partOf(cache, { path: file.path, sha256: file.sha256 });
      await takeFile(stored, { size: file.size, sha256: file.sha256, part, target });
      await cache.note(target, file.sha256);
      await syncFolder(dirname(target));
    }
  }
  // Only now: empty lists of two architectures are the same bytes.
  for (const stored of used) await rm(stored, { force: true });
}

function itemOf(cache: Cache, found: LockPackage, because: Item['because']): Item {
  return {
    title: `${found.name} ${found.version}`,
    kind: 'package',
    archive: found.archive,
    path: found.path,
    size: found.size,
    sha256: found.sha256,
    because,
    target: join(archiveFolder(cache.folder, found.archive), found.path),
  };
}

/** Every package of the lock this machine needs, once each. */
function packagesOf(cache: Cache, lock: Lock, { request, hostArch }: FetchOptions): Item[] {
  const items = new Map<string, Item>();
  const sets = Object.entries(lock.sets).map(([id, list]) => ({ id, list }));
  for (const { id, list } of setsForHost(sets, hostArch)) {
    for (const found of list) {
      const item = itemOf(cache, found, becauseOf(request, id, found));
      if (!items.has(item.target)) items.set(item.target, item);
    }
  }
  return [...items.values()];
}

/** Those of the items the cache lacks. */
async function missingOf(host: Host, cache: Cache, items: readonly Item[]): Promise<Item[]> {
  const missing: Item[] = [];
  await each(items, 8, host.signal, async (item) => {
    if ((await cache.check(item.target, item, false)) !== 'good') missing.push(item);
  });
  return missing;
}

/** Fetches what is missing. The mirror is looked up only when something is. */
async function bring(
  host: Host,
  options: FetchOptions,
  cache: Cache,
  lock: Lock,
  connect: () => Promise<Connection>,
): Promise<Omit<FetchReport, 'lock' | 'resolved'>> {
  const packages = packagesOf(cache, lock, options);
  const missing = await missingOf(host, cache, packages);
  let files = packages.length;
  let bytes = packages.reduce((sum, item) => sum + item.size, 0);
  for (const index of lock.indexes) {
    for (const file of index.files) {
      files += 1;
      bytes += file.size;
      const found = await cache.findIndex(index, file, false);
      if (!('fault' in found)) continue;
      const place = join(archiveFolder(cache.folder, index.archive), file.path);
      missing.push({
        title: `${index.archive} ${file.path}`,
        kind: 'index',
        archive: index.archive,
        ...file,
        because: becauseOfArchive(options.request, index.archive),
        // Never over a newer index that stands in its place.
        target: (await stat(place).catch(() => null)) === null ? place : storePath(cache.folder, file.sha256),
      });
    }
  }
  const others = artifactFiles(lock);
  files += others.length;
  bytes += others.reduce((sum, one) => sum + one.size, 0);
  const artifacts = await missingArtifacts(host, lock, options.request.artifacts, cache, async () =>
    reachOf(host, options, cache, lock, await connect()),
  );
  missing.push(...artifacts.items);
  const total = missing.reduce((sum, item) => sum + item.size, 0);
  if (missing.length === 0) {
    host.emit({ type: 'log', level: 'info', text: `all ${files} files are there (${inMB(bytes)})` });
    return { files, bytes, fetchedFiles: 0, fetchedBytes: 0 };
  }
  const connection = await connect();
  host.emit({
    type: 'log',
    level: 'info',
    text: `${missing.length} of ${files} files to fetch: ${inMB(total)} of ${inMB(bytes)}`,
  });
  const places = [...connection.places, ...artifacts.places];
  await transfer(host, cache, missing, { ...connection, places }, 'download', 'Fetch packages');
  return { files, bytes, fetchedFiles: missing.length, fetchedBytes: total };
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
