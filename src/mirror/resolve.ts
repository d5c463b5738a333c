import { WorkError, type CommeshError } from '../diagnostics/errors.js';
import type { ProfilePath } from '../diagnostics/diagnostic.js';
import { hashFile } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import type { PackageSet, PlanSource } from '../plan/types.js';
import { AptRoot, type FetchedIndex, type FetchedRelease } from './apt-root.js';
import { readPackages, type PackageRecord, type PackagesIndex } from './packages.js';
import { parseRelease, verifySigned, type Release } from './release.js';
import { isExtractOnly, requestDigest, wishesWithin, type Request } from './request.js';
import { locateArchives, type ArchivePlace, type MirrorSettings } from './sources/apt.js';
import { settingsFor, readNetworkSettings, type NetworkSettings } from './sources/proxy.js';
import type { Lock, LockFile, LockIndex, LockPackage } from './types.js';

export interface Resolved {
  readonly lock: Lock;
  /** Where the index files lie now: SHA-256 → file, as upstream signed them. Gone when the host is closed. */
  readonly indexFiles: ReadonlyMap<string, string>;
}

interface CheckedSource {
  readonly source: PlanSource;
  readonly release: Release;
  readonly index: LockIndex;
}

/**
 * Resolves every set of the request with apt itself against the mirror's signed indexes.
 * @throws WorkError, with the profile path of the package wish or of the mirror, when something cannot be had.
 */
export async function resolveRequest(
  host: Host,
  request: Request,
  settings: MirrorSettings,
): Promise<Resolved> {
  const network = settingsFor(host, await readNetworkSettings(host), settings.mirror);
  const places = await locateArchives(request.sources, settings);
  return await resolveAt(host, request, places, network);
}

/** `resolveRequest` for archives that are located already. */
export async function resolveAt(
  host: Host,
  request: Request,
  places: readonly ArchivePlace[],
  network: NetworkSettings,
  prepare?: (root: AptRoot) => Promise<void>,
): Promise<Resolved> {
  const archs = [...new Set(request.sets.map((set) => set.arch))].sort();
  const root = await AptRoot.create(host, request.sources, places, network, archs);
  await prepare?.(root);
  const { releases, packages } = await timed(host, 'indexes', 'Fetch the package indexes', async () => {
    await root.update();
    return await root.indexes();
  });

  return await timed(
    host,
    'resolve',
    'Work out which packages are needed',
    async () => {
      const indexFiles = new Map<string, string>();
      const checked: CheckedSource[] = [];
      for (const release of releases) {
        const keyring = root.place(release.source.archive).keyring;
        checked.push(await checkSource(host, release, packages, keyring, indexFiles));
      }
      const sets: Record<string, readonly LockPackage[]> = {};
      const readOf = new Map<string, Map<string, PackagesIndex>>();
      for (const arch of archs) {
        const read = new Map<string, PackagesIndex>();
        for (const found of packages) {
          if (found.arch !== arch && found.arch !== 'all') continue;
          const key = sourceKey(found.source);
          read.set(key, await readPackages(found.plain, read.get(key)));
        }
        readOf.set(arch, read);
      }
      const resolve = async (set: PackageSet): Promise<void> => {
        sets[set.id] = await resolveSet(root, request, set, checked, readOf.get(set.arch) ?? new Map());
      };
      for (const set of request.sets) if (set.within === undefined) await resolve(set);
      for (const set of request.sets) {
        if (set.within !== undefined) await resolve(wishesWithin(set, sets[set.within] ?? []));
      }
      const indexes = checked.map(({ index }) => index);
      const lock: Lock = {
        format: 1,
        request: requestDigest(request),
        epoch: Math.max(...indexes.map((index) => index.date)),
        indexes,
        sets,
      };
      return { lock, indexFiles };
    },
    ({ lock }) => ({
      note: Object.entries(lock.sets)
        .map(([id, list]) => `${id}: ${list.length} packages`)
        .join(', '),
    }),
  );
}

function sourceKey(source: PlanSource): string {
  return `${source.archive} ${source.suite}`;
}

/** Signature and keys of InRelease, and that each list is the one it names. apt has checked, too; the lock needs the facts. */
async function checkSource(
  host: Host,
  release: FetchedRelease,
  packages: readonly FetchedIndex[],
  keyring: string,
  indexFiles: Map<string, string>,
): Promise<CheckedSource> {
  const { source } = release;
  const what = `the index "${source.suite}" of the archive "${source.archive}"`;
  const signed = await verifySigned(host, release.file, keyring);
  if ('reason' in signed) {
    throw new WorkError(`${what} cannot be trusted: ${signed.reason}`, {
      hint: 'do not use this mirror; choose another one as "mirror:" in the profile',
      because: ['mirror'],
    });
  }
  if (
    source.fingerprints.length > 0 &&
    !source.fingerprints.some((wanted) =>
      signed.fingerprints.includes(wanted.replaceAll(' ', '').toUpperCase()),
    )
  ) {
    throw new WorkError(`${what} is signed, but not with the key it must be signed with`, {
      hint: `signed by ${signed.fingerprints.join(', ')}; expected ${source.fingerprints.join(' or ')}`,
      because: ['mirror'],
    });
  }
  const parsed = parseRelease(signed.text);
  const files: LockFile[] = [];
  const add = async (path: string, file: string): Promise<LockFile> => {
    const entry = { path, ...(await hashFile(file)) };
    indexFiles.set(entry.sha256, file);
    files.push(entry);
    return entry;
  };
  await add(`dists/${source.suite}/InRelease`, release.file);
  for (const found of packages.filter((candidate) => sourceKey(candidate.source) === sourceKey(source))) {
    const entry = await add(found.path, found.file);
    const named = parsed.files.get(found.path.slice(`dists/${source.suite}/`.length));
    if (named === undefined || named.sha256 !== entry.sha256 || named.size !== entry.size) {
      throw new WorkError(
        `${found.path} of the archive "${source.archive}" is not the file its signed index names`,
        {
          hint: 'the mirror is being updated, or something on the way changes files; try again in some minutes',
          because: ['mirror'],
        },
      );
    }
  }
  const index: LockIndex = {
    archive: source.archive,
    suite: source.suite,
    components: source.components,
    signedBy: signed.fingerprints,
    date: parsed.date,
    files: files.sort((a, b) => compare(a.path, b.path)),
  };
  return { source, release: parsed, index };
}

/** Code-unit order, the same on every host. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

async function resolveSet(
  root: AptRoot,
  request: Request,
  set: PackageSet,
  checked: readonly CheckedSource[],
  read: ReadonlyMap<string, PackagesIndex>,
): Promise<LockPackage[]> {
  for (const wish of set.packages) checkWish(wish, request, read);
  const wishes = [...new Set(set.packages.map((wish) => wish.name))];
  const extract = isExtractOnly(set.id);
  const main = request.sources[0];
  // What mmdebstrap would install in any case, from the base's own archive only.
  const base = new Set<string>();
  if (!extract) {
    for (const source of request.sources) {
      if (source.use === 'only' || source.archive !== main?.archive) continue;
      for (const name of read.get(sourceKey(source))?.base ?? []) base.add(name);
    }
  }
  const names = [...new Set([...wishes, ...base])].sort(compare);
  if (names.length === 0) return [];
  const answer = await root.ask(extract ? 'download' : 'install', set.arch, names, pinText(set, checked));
  if ('complaint' in answer) throw await refusal(root, set, checked, answer.complaint);

  const records = answer.found.map(({ archive, path }) => {
    // The same file may stand in several suites of an archive; the first one of the plan counts.
    const homes = request.sources.filter(
      (source) => source.archive === archive && read.get(sourceKey(source))?.record(path),
    );
    const home = homes[0];
    const record = home && read.get(sourceKey(home))?.record(path);
    if (!home || !record) throw new Error(`apt named ${path}, which no index of ${archive} lists`);
    return { record, homes, home };
  });
  for (const wish of set.packages) {
    if (wish.suite === undefined) continue;
    const got = records.find(({ record }) => record.name === wish.name);
    if (got !== undefined && !got.homes.some((home) => home.suite === wish.suite)) {
      throw new WorkError(
        `the package "${wish.name}" is to come from ${wish.suite}, but apt takes it from ${got.home.suite}`,
        {
          hint: `is it in ${wish.suite} for ${set.arch}?`,
          because: wish.because,
        },
      );
    }
  }
  const reasons = attribute(
    records.map(({ record }) => record),
    base,
    wishes,
  );
  return records
    .map(({ record, home }): LockPackage => {
      if (!/^[0-9a-f]{64}$/.test(record.sha256) || !Number.isSafeInteger(record.size)) {
        throw new WorkError(`the index of "${home.archive}" gives no SHA-256 for ${record.name}`, {
          hint: 'only archives with SHA-256 digests can be used',
          because: ['mirror'],
        });
      }
      const reason = reasons.get(record.name);
      return {
        name: record.name,
        version: record.version,
        arch: record.arch,
        path: record.filename,
        size: record.size,
        sha256: record.sha256,
        source: record.source,
        sourceVersion: record.sourceVersion,
        archive: home.archive,
        suite: home.suite,
        installedKiB: record.installedKiB,
        ...(reason === undefined ? {} : { for: reason }),
      };
    })
    .sort((a, b) => compare(a.name, b.name) || compare(a.arch, b.arch));
}

/** A suite the plan has no source for, or a package its suite does not have. */
function checkWish(
  wish: PackageSet['packages'][number],
  request: Request,
  read: ReadonlyMap<string, PackagesIndex>,
): void {
  if (wish.suite === undefined) return;
  const homes = request.sources.filter((source) => source.suite === wish.suite);
  if (homes.length === 0) {
    throw new WorkError(
      `the package "${wish.name}" is to come from ${wish.suite}, which is no source of this kit`,
      {
        because: wish.because,
      },
    );
  }
  if (!homes.some((source) => read.get(sourceKey(source))?.names.has(wish.name))) {
    throw new WorkError(`there is no package "${wish.name}" in ${wish.suite}`, {
      hint: 'check its spelling; a package may have been renamed or removed',
      because: wish.because,
    });
  }
}

/**
 * apt_preferences(5): nothing comes from an `only` source but the packages that name its suite. Sources are told apart
 * by what their signed release says, since host names differ from mirror to mirror.
 */
function pinText(set: PackageSet, checked: readonly CheckedSource[]): string {
  const blocks: string[] = [];
  for (const { source, release } of checked) {
    const pin = [
      ['o', release.origin],
      ['l', release.label],
      ['n', release.codename],
      ['a', release.suite],
    ]
      .filter(([, value]) => value !== '')
      .map(([key, value]) => `${key}=${value}`)
      .join(',');
    if (source.use === 'only') blocks.push(`Package: *\nPin: release ${pin}\nPin-Priority: -10\n`);
    const named = set.packages.filter((wish) => wish.suite === source.suite).map((wish) => wish.name);
    for (const name of [...new Set(named)].sort(compare)) {
      blocks.push(`Package: ${name}\nPin: release ${pin}\nPin-Priority: 990\n`);
    }
  }
  return blocks.join('\n');
}

/** For each package the wish that leads to it; the base and what it needs have none. */
function attribute(
  records: readonly PackageRecord[],
  base: ReadonlySet<string>,
  wishes: readonly string[],
): Map<string, string | undefined> {
  const providers = new Map<string, PackageRecord[]>();
  for (const record of records) {
    for (const name of [record.name, ...record.provides]) {
      const list = providers.get(name) ?? [];
      list.push(record);
      providers.set(name, list);
    }
  }
  const reasons = new Map<string, string | undefined>();
  const reach = (start: Iterable<string>, reason: string | undefined): void => {
    const queue = [...start];
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      for (const record of providers.get(name) ?? []) {
        if (reasons.has(record.name)) continue;
        reasons.set(record.name, reason);
        queue.push(...record.depends);
      }
    }
  };
  // A wish is told for itself, even when another one needs it, too.
  for (const wish of wishes) {
    const record = records.find((candidate) => candidate.name === wish);
    if (record !== undefined && !base.has(wish)) reasons.set(wish, wish);
  }
  reach(base, undefined);
  for (const wish of wishes) {
    const record = records.find((candidate) => candidate.name === wish);
    reach(record === undefined ? [wish] : record.depends, wish);
  }
  return reasons;
}

/** apt's refusal, told with the wish it is about. */
async function refusal(
  root: AptRoot,
  set: PackageSet,
  checked: readonly CheckedSource[],
  complaint: string,
): Promise<CommeshError> {
  const unknown =
    /Unable to locate package (\S+)/.exec(complaint)?.[1] ??
    /Package '?([^'\s]+)'? has no installation candidate/.exec(complaint)?.[1];
  const preferences = pinText(set, checked);
  if (unknown !== undefined) {
    const name = unknown.replace(/:.*$/, '');
    return new WorkError(`there is no package "${name}" for ${set.arch} in the archives of this kit`, {
      hint: 'check its spelling; a package may have been renamed or removed',
      ...because(set, name),
    });
  }
  // Which wish is it? The one that cannot be had alone.
  for (const wish of set.packages) {
    const alone = await root.ask('install', set.arch, [wish.name], preferences);
    if ('complaint' in alone) {
      return new WorkError(`the package "${wish.name}" cannot be installed: ${unmet(alone.complaint)}`, {
        hint:
          wish.suite === undefined
            ? 'the mirror may be in the middle of an update; try again in some minutes'
            : `it comes from ${wish.suite}; what it needs from there must be named with that suite, too`,
        because: wish.because,
      });
    }
  }
  return new WorkError(
    `the packages of the set "${set.id}" cannot be installed together: ${unmet(complaint)}`,
    {
      because: set.packages[0]?.because ?? ['services'],
    },
  );
}

function because(set: PackageSet, name: string): { because: ProfilePath } {
  const wish = set.packages.find((candidate) => candidate.name === name);
  return { because: wish?.because ?? ['base'] };
}

/** The lines of apt that say what is missing. */
function unmet(complaint: string): string {
  const lines = complaint
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => / : |Depends:|Conflicts:|Breaks:|^E: /.test(line));
  return lines.slice(0, 6).join('\n') || complaint.slice(0, 400);
}
