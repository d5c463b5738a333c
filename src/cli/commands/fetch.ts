import { join, resolve } from 'node:path';
import { UsageError } from '../../diagnostics/errors.js';
import type { Host } from '../../host/host.js';
import { namespaceTools } from '../../host/namespace.js';
import { fetchRequest, type FetchReport, type SolverTools } from '../../mirror/fetch.js';
import { formatLock, lockPath, readLock, writeLock } from '../../mirror/lock.js';
import { requestDigest } from '../../mirror/request.js';
import type { Lock } from '../../mirror/types.js';
import type { Arch } from '../../services/contract.js';
import { anyToolsTree, ensureToolsTree, FIRST } from '../../stages/tools.js';
import { aloneIn } from './alone.js';
import { hostArch, loadProject, requestOf } from './project.js';

export interface FetchCommandOptions {
  /** Folder of the offline cache. */
  readonly cache: string;
  /** Fail rather than change the lock. */
  readonly locked: boolean;
  /** Resolve again, with the versions the mirror has now. */
  readonly update: boolean;
  /** `--archive NAME=URL`: the address of single archives. */
  readonly archives?: readonly string[];
  /** `--keyring NAME=FILE`: the keys of single archives. */
  readonly keyrings?: readonly string[];
  /** Architecture of the machine that will build, where it is not this one. */
  readonly hostArch?: Arch;
}

/** What `fetch` tells with `--json`; no host name of a mirror, no secret. */
export interface FetchSummary {
  readonly lock: string;
  readonly cache: string;
  readonly resolved: boolean;
  readonly epoch: number;
  /** Packages of each set, with their size as .deb and installed, bytes. */
  readonly sets: Readonly<
    Record<string, { readonly packages: number; readonly bytes: number; readonly installedBytes: number }>
  >;
  readonly files: number;
  readonly bytes: number;
  readonly fetchedFiles: number;
  readonly fetchedBytes: number;
}

/**
 * The only command that uses a network: resolves the plan's packages against the mirror's signed indexes, brings them
 * into the offline cache and writes the lock beside the profile.
 * @throws UsageError, ProfileError, WorkError, CacheMissError, InterruptedError.
 */
export async function runFetch(
  host: Host,
  profilePath: string,
  options: FetchCommandOptions,
): Promise<FetchSummary> {
  if (options.locked && options.update) {
    throw new UsageError('--locked keeps the lock and --update changes it', { hint: 'give one of them' });
  }
  const uris = pairs('--archive', options.archives ?? []);
  const keyrings = pairs('--keyring', options.keyrings ?? []);
  const { plan } = await loadProject(profilePath);
  const lockFile = lockPath(profilePath);
  const cache = resolve(options.cache);
  const report = await aloneIn(host, cache, () =>
    fetchRequest(host, {
      request: requestOf(plan),
      settings: { mirror: plan.site.mirror, uris, keyrings },
      cache,
      lockFile,
      hostArch: options.hostArch ?? hostArch(),
      tools: solverTools(host, join(cache, 'trees')),
      mode: options.update ? 'update' : options.locked ? 'locked' : 'keep',
    }),
  );
  return summarise(report, lockFile, cache);
}

/** apt of a tools tree in the cache; where there is none, of a first tree made from the mirror's own packages. */
export function solverTools(host: Host, treesFolder: string): SolverTools {
  return {
    names: FIRST,
    find: () => anyToolsTree(host, treesFolder),
    async make(packages, debPath) {
      const tree = await ensureToolsTree(host, treesFolder, packages, debPath, 'first');
      return namespaceTools(host, tree.path, tree.id);
    },
    async whole(packages, debPath) {
      const tree = await ensureToolsTree(host, treesFolder, packages, debPath);
      return namespaceTools(host, tree.path, tree.id);
    },
  };
}

/**
 * Fetches for several profiles. Those that ask for the same packages get the same lock (one that is there and serves, before a new one),
 * so that they share a base layer. With --locked every lock stays as it is.
 * @param concerns is told which profile the work is about.
 */
export async function runFetchAll(
  host: Host,
  profilePaths: readonly string[],
  options: FetchCommandOptions,
  concerns: (profile: string) => void,
): Promise<readonly FetchSummary[]> {
  const done = new Map<string, Lock>();
  const summaries: FetchSummary[] = [];
  const requests = new Map<string, string>();
  // A fault in one of them is told before anything is fetched.
  for (const path of profilePaths) {
    concerns(path);
    const request = requestDigest(requestOf((await loadProject(path)).plan));
    requests.set(path, request);
    // A lock that serves is taken before a new one is made.
    const own = options.update ? null : await readLock(lockPath(path)).catch(() => null);
    if (own?.request === request && !done.has(request)) done.set(request, own);
  }
  for (const path of profilePaths) {
    concerns(path);
    const request = requests.get(path) ?? '';
    const shared = done.get(request);
    if (shared !== undefined && !options.locked) {
      const own = await readLock(lockPath(path)).catch(() => null);
      if (own === null || formatLock(own) !== formatLock(shared)) await writeLock(lockPath(path), shared);
    }
    // What was resolved for the first of them is not resolved again.
    const update = options.update && shared === undefined;
    summaries.push(await runFetch(host, path, { ...options, update }));
    const lock = await readLock(lockPath(path));
    if (lock !== null) done.set(request, lock);
  }
  return summaries;
}

function summarise(report: FetchReport, lock: string, cache: string): FetchSummary {
  const { lock: content, ...figures } = report;
  return {
    lock,
    cache,
    epoch: content.epoch,
    ...figures,
    sets: Object.fromEntries(
      Object.entries(content.sets).map(([id, list]) => [
        id,
        {
          packages: list.length,
          bytes: list.reduce((sum, found) => sum + found.size, 0),
          installedBytes: list.reduce((sum, found) => sum + found.installedKiB * 1024, 0),
        },
      ]),
    ),
  };
}

/** `NAME=VALUE` options. @throws UsageError */
export function pairs(flag: string, given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((text) => {
      const at = text.indexOf('=');
      if (at <= 0 || at === text.length - 1) {
        throw new UsageError(`${flag} ${text} is not of the form NAME=VALUE`, {
          hint: `for example ${flag} ${flag === '--archive' ? 'debian=http://mirror.home.arpa/debian' : 'debian=/usr/share/keyrings/debian-archive-keyring.gpg'}`,
        });
      }
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}
