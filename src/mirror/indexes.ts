import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CacheMissError, InterruptedError, WorkError } from '../diagnostics/errors.js';
import { sha256, writeAtomic } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import type { PlanSource } from '../plan/types.js';
import type { Arch } from '../services/contract.js';
import { archiveFolder, storePath, type Cache } from './cache.js';
import { downloadSmall, WrongBytesError } from './download.js';
import { GoneError } from './http.js';
import { LIST_ENDINGS, unpackList } from './lists.js';
import { PackagesIndex } from './packages.js';
import { parseRelease, verifySigned, type Release, type SignatureFault } from './release.js';
import type { Request } from './request.js';
import type { ArchivePlace } from './sources/apt.js';
import {
  diskFault,
  placeOf,
  shownPlace,
  transfer,
  urlOf,
  type Item,
  type TransferOptions,
} from './transfer.js';
import type { LockFile, LockIndex } from './types.js';

/** A suite whose signature, date and package lists are checked. */
export interface CheckedSource {
  readonly source: PlanSource;
  readonly release: Release;
  readonly index: LockIndex;
  /** Its packages for an architecture, those of `all` included. */
  readonly packages: ReadonlyMap<string, PackagesIndex>;
}

export interface IndexOptions extends TransferOptions {
  /** Do not mind how old an index is (settingsFor). */
  readonly ignoresAge: boolean;
}

/** apt's own tolerance for clocks (apt.conf(5), Acquire::Max-FutureTime), seconds. */
const FUTURE_SECONDS = 10;

const nameOf = (source: PlanSource): string =>
  `the index "${source.suite}" of the archive "${source.archive}"`;

/** Architectures whose lists of a source can matter: all that are asked for, or those of the wishes that name the suite. */
export function archsFor(source: PlanSource, request: Request): Arch[] {
  const sets = request.sets.filter(
    (set) => source.use === 'all' || set.packages.some((wish) => wish.suite === source.suite),
  );
  return [...new Set(sets.map((set) => set.arch))].sort();
}

interface SignedRelease {
  /** InRelease as it came. */
  readonly bytes: Buffer;
  readonly release: Release;
  readonly fingerprints: readonly string[];
}

/** A package list that is to be read: the compressed forms its release names, best first. */
interface WantedList {
  readonly source: PlanSource;
  readonly arch: string;
  readonly forms: readonly LockFile[];
}

/**
 * Fetches the signed indexes of all sources, checks signatures, keys and dates, and brings the package lists they name, unless
 * the cache has them. New files are put into the cache's store (storePath); none is in its place on the tree yet.
 * @throws WorkError that says which archive cannot be used, and why.
 */
export async function fetchIndexes(
  host: Host,
  request: Request,
  cache: Cache,
  options: IndexOptions,
): Promise<CheckedSource[]> {
  const releases = await timed(host, 'indexes', 'Fetch and check the signed indexes', () =>
    Promise.all(request.sources.map((source) => fetchRelease(host, source, cache, options))),
  );
  const wanted = request.sources.flatMap((source, at) =>
    listsOf(source, (releases[at] as SignedRelease).release, archsFor(source, request)),
  );
  const found = await bringLists(host, cache, wanted, options);
  return await timed(host, 'lists', 'Read the package lists', () =>
    Promise.all(
      request.sources.map(async (source, at): Promise<CheckedSource> => {
        const { bytes, release, fingerprints } = releases[at] as SignedRelease;
        const lists = found.filter((list) => list.source === source);
        const packages = new Map(
          archsFor(source, request).map((arch) => [arch as string, new PackagesIndex()]),
        );
        await Promise.all(
          lists.map(async ({ arch, file, path }) => {
            const plain = await unpackList(await readFile(path), file.path).catch((error: unknown) => {
              throw new WorkError(`${file.path} of the archive "${source.archive}" cannot be unpacked`, {
                hint: 'use another mirror ("mirror:" in the profile)',
                because: ['mirror'],
                cause: error,
              });
            });
            for (const [key, index] of packages) if (arch === key || arch === 'all') index.add(plain);
          }),
        );
        const own = {
          path: `dists/${source.suite}/InRelease`,
          size: bytes.length,
          sha256: sha256(bytes),
        };
        await writeAtomic(storePath(cache.folder, own.sha256), bytes).catch((error: unknown) => {
          throw diskFault(error, nameOf(source), cache) ?? error;
        });
        await cache.note(storePath(cache.folder, own.sha256), own.sha256);
        const files = [own, ...lists.map(({ file }) => file)];
        return {
          source,
          release,
          packages,
          index: {
            archive: source.archive,
            suite: source.suite,
            components: source.components,
            signedBy: fingerprints,
            date: release.date,
            files: files.sort((a, b) => (a.path < b.path ? -1 : 1)),
          },
        };
      }),
    ),
  );
}

async function fetchRelease(
  host: Host,
  source: PlanSource,
  cache: Cache,
  options: IndexOptions,
): Promise<SignedRelease> {
  const place = placeOf(options.places, source.archive);
  const what = nameOf(source);
  const path = `dists/${source.suite}/InRelease`;
  const bytes = await downloadSmall(urlOf(place, path), {
    client: options.client,
    signal: host.signal,
    backoffMs: options.backoffMs,
    onRetry: (reason) => host.emit({ type: 'log', level: 'debug', text: `${what}: ${reason}; trying again` }),
  }).catch((error: unknown) => {
    if (host.signal.aborted) throw new InterruptedError();
    throw explainMissing(error, what, place);
  });
  const fresh = await checkRelease(source, bytes, place, host.now());
  // As apt does: an older index than the one that is here already is a mirror that lags behind, or a replay.
  const kept = await readFile(join(archiveFolder(cache.folder, source.archive), path)).catch(() => null);
  const before =
    kept === null || kept.equals(bytes)
      ? null
      : await checkRelease(source, kept, place, host.now()).catch(() => null);
  const newest = before !== null && before.release.date > fresh.release.date ? before : fresh;
  checkDates(what, newest.release, host.now(), options.ignoresAge);
  return newest;
}

async function checkRelease(
  source: PlanSource,
  bytes: Buffer,
  place: ArchivePlace,
  now: number,
): Promise<SignedRelease> {
  const what = nameOf(source);
  const signed = await verifySigned(bytes.toString(), place.keyring, now);
  if ('fault' in signed) throw explainSignature(signed.fault, what, source.archive, place.keyring);
  const { fingerprints } = signed;
  if (
    source.fingerprints.length > 0 &&
    !source.fingerprints.some((wanted) => fingerprints.includes(wanted.replaceAll(' ', '').toUpperCase()))
  ) {
    throw new WorkError(`${what} is signed, but not with the key it must be signed with`, {
      hint: `signed by ${fingerprints.join(', ')}; expected ${source.fingerprints.join(' or ')}`,
      because: ['mirror'],
    });
  }
  return { bytes, release: parseRelease(signed.text), fingerprints };
}

/** A replayed old index hides security fixes, and one from the future means a wrong clock. */
function checkDates(what: string, release: Release, now: number, ignoresAge: boolean): void {
  const because = ['mirror'];
  const seconds = now / 1000;
  if (Number.isNaN(release.date) || release.files.size === 0)
    throw new WorkError(`${what} names no date or no files by SHA-256`, {
      hint: 'use a mirror of a current Debian release',
      because,
    });
  if (release.date > seconds + FUTURE_SECONDS) {
    throw new WorkError(`${what} is dated in the future: this computer's clock is slow`, {
      hint: "set this computer's clock, then try again",
      because,
    });
  }
  // An end that cannot be read is an end all the same.
  if (release.validUntil !== null && !(release.validUntil >= seconds) && !ignoresAge) {
    throw new WorkError(
      `${what} has expired: this mirror is no longer updated, or this computer's clock is wrong`,
      {
        hint: 'compare the clock (date), then use another mirror ("mirror:" in the profile) or try again later',
        because,
      },
    );
  }
}

function explainSignature(fault: SignatureFault, what: string, archive: string, keyring: string): WorkError {
  const because = ['mirror'];
  switch (fault) {
    case 'unknown-key':
      return new WorkError(`${what} is signed with a key that ${keyring} does not hold`, {
        hint: `a newer commeshctl may bring the key, or give the keyring of the newest package ${archive === 'debian-security' ? 'debian' : archive}-archive-keyring with --keyring ${archive}=FILE; if it does not hold the key either, do not trust this mirror`,
        because,
      });
    case 'unsigned':
      return new WorkError(`${what} is not signed`, {
        hint: "use a mirror that carries upstream's own signed InRelease files",
        because,
      });
    case 'expired-key':
      return new WorkError(`${what} is signed with a key that has expired`, {
        hint: "compare this computer's clock (date); if it is right, use another mirror or a newer commeshctl",
        because,
      });
    case 'revoked-key':
    case 'wrong':
      return new WorkError(
        `${what} carries a wrong signature: it was changed after it was signed, or not signed by ${archive.startsWith('debian') ? 'Debian' : 'its archive'}`,
        { hint: 'do not use this mirror; choose another one as "mirror:" in the profile', because },
      );
  }
}

function explainMissing(error: unknown, what: string, place: ArchivePlace): WorkError {
  const detail = `${shownPlace(place)}: ${error instanceof Error ? error.message : String(error)}`;
  const extra = { because: ['mirror'], cause: error };
  return error instanceof GoneError
    ? new WorkError(`${what} is not on this mirror (${detail})`, {
        hint: 'is the address right? It must hold dists/ and pool/',
        ...extra,
      })
    : new WorkError(`the mirror cannot be reached (${detail})`, {
        hint: 'is this computer online? "mirror:" in the profile names another mirror or a folder',
        ...extra,
      });
}

/** The lists of a suite that hold something. */
function listsOf(source: PlanSource, release: Release, archs: readonly Arch[]): WantedList[] {
  const lists: WantedList[] = [];
  for (const component of source.components) {
    for (const arch of [...archs, ...(release.ownAllLists && archs.length > 0 ? ['all'] : [])]) {
      const stem = `${component}/binary-${arch}/Packages`;
      if (release.files.get(stem)?.size === 0) continue;
      const forms = LIST_ENDINGS.flatMap((ending): LockFile[] => {
        const file = release.files.get(`${stem}${ending}`);
        return file === undefined ? [] : [{ path: `dists/${source.suite}/${stem}${ending}`, ...file }];
      });
      if (forms.length > 0) lists.push({ source, arch, forms });
    }
  }
  return lists;
}

/**
 * Finds every list in the cache or fetches it. A mirror may lack a form its index names: then the next one is tried. Which form
 * it is does not depend on what the cache holds, so that the lock does not either.
 */
async function bringLists(
  host: Host,
  cache: Cache,
  lists: readonly WantedList[],
  options: IndexOptions,
): Promise<{ source: PlanSource; arch: string; file: LockFile; path: string }[]> {
  for (let round = 0; ; round += 1) {
    const found: { source: PlanSource; arch: string; file: LockFile; path: string }[] = [];
    const missing: Item[] = [];
    for (const { source, arch, forms } of lists) {
      const here = await findForm(cache, source, forms.slice(0, round + 1));
      if (here !== null) {
        found.push({ source, arch, ...here });
        continue;
      }
      const file = forms[Math.min(round, forms.length - 1)] as LockFile;
      missing.push({
        title: file.path,
        kind: 'index',
        archive: source.archive,
        ...file,
        because: ['mirror'],
        target: storePath(cache.folder, file.sha256),
      });
    }
    if (missing.length === 0) return found;
    try {
      await transfer(host, cache, missing, options, 'lists-download', 'Fetch the package lists');
    } catch (error) {
      const { cause } = error as Error;
      if (
        !(error instanceof CacheMissError) ||
        !(cause instanceof GoneError || cause instanceof WrongBytesError)
      )
        throw error;
      if (round + 1 < LIST_ENDINGS.length) continue;
      const item = missing.find((one) => error.message.includes(one.title));
      const source = lists.find(({ forms }) => forms.some(({ path }) => path === item?.path))?.source;
      throw new WorkError(
        `${source === undefined ? 'the index' : nameOf(source)} and its package lists do not fit together: the mirror is being updated, or a proxy gives old files`,
        {
          hint: 'try again in some minutes, or use another mirror',
          because: ['mirror'],
          cause,
        },
      );
    }
  }
}

/** The first form of a list that lies in the cache, read whole. */
async function findForm(
  cache: Cache,
  source: PlanSource,
  forms: readonly LockFile[],
): Promise<{ file: LockFile; path: string } | null> {
  for (const file of forms) {
    for (const path of [
      join(archiveFolder(cache.folder, source.archive), file.path),
      storePath(cache.folder, file.sha256),
    ]) {
      if ((await cache.check(path, file, true)) === 'good') return { file, path };
    }
  }
  return null;
}
