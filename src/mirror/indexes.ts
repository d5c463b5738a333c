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
import { EVERY_ARCH, LIST_ENDINGS, partFor, unpackList } from './lists.js';
import { PackagesIndex } from './packages.js';
import { RELEASE_NAMES, parseRelease, verifyRelease, type Release, type SignatureFault } from './release.js';
import type { Request } from './request.js';
import { wayOut, type ArchivePlace } from './sources/apt.js';
import { comesFrom, isFlat, suiteFolder } from './suites.js';
import {
  diskFault,
  placeOf,
  shownPlace,
  transfer,
  urlOf,
  type Item,
  type TransferOptions,
} from './transfer.js';
import type { Lock, LockFile, LockIndex } from './types.js';

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

/** Architectures whose lists of a source can matter: all that are asked for, or those of the wishes that name it. */
export function archsFor(source: PlanSource, request: Request): Arch[] {
  const sets = request.sets.filter(
    (set) => source.use === 'all' || set.packages.some((wish) => comesFrom(wish, source)),
  );
  return [...new Set(sets.map((set) => set.arch))].sort();
}

interface SignedRelease {
  /** As it came, by name: InRelease, or Release and Release.gpg. */
  readonly files: ReadonlyMap<string, Buffer>;
  readonly release: Release;
  readonly fingerprints: readonly string[];
}

/** A package list that is to be read: the compressed forms its release names, best first. */
interface WantedList {
  readonly source: PlanSource;
  /** EVERY_ARCH: the only list of a flat repository. */
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
        const { files: signed, release, fingerprints } = releases[at] as SignedRelease;
        const place = placeOf(options.places, source.archive);
        const lists = found.filter((list) => list.source === source);
        const packages = new Map(
          archsFor(source, request).map((arch) => [arch as string, new PackagesIndex()]),
        );
        await Promise.all(
          lists.map(async ({ arch, file, path }) => {
            const plain = await unpackList(await readFile(path), file.path).catch((error: unknown) => {
              throw new WorkError(`${file.path} of the archive "${source.archive}" cannot be unpacked`, {
                hint: wayOut(place),
                because: place.because,
                cause: error,
              });
            });
            for (const [key, index] of packages) {
              if (arch === EVERY_ARCH) index.add(partFor(key, plain));
              else if (arch === key || arch === 'all') index.add(plain);
            }
          }),
        );
        const files = lists.map(({ file }) => file);
        for (const [name, bytes] of signed) {
          const own = {
            path: `${suiteFolder(source.suite)}${name}`,
            size: bytes.length,
            sha256: sha256(bytes),
          };
          await writeAtomic(storePath(cache.folder, own.sha256), bytes).catch((error: unknown) => {
            throw diskFault(error, nameOf(source), cache) ?? error;
          });
          await cache.note(storePath(cache.folder, own.sha256), own.sha256);
          files.push(own);
        }
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
  const folder = suiteFolder(source.suite);
  const get = (name: string): Promise<Buffer> =>
    downloadSmall(urlOf(place, `${folder}${name}`), {
      client: options.client,
      signal: host.signal,
      backoffMs: options.backoffMs,
      onRetry: (reason) =>
        host.emit({ type: 'log', level: 'debug', text: `${what}: ${reason}; trying again` }),
    });
  const files = await getRelease(get, place.foreign).catch((error: unknown) => {
    if (host.signal.aborted) throw new InterruptedError();
    throw explainMissing(error, what, place);
  });
  const fresh = await checkRelease(source, files, place, host.now());
  // As apt does: an older index than the one that is here already is a mirror that lags behind, or a replay.
  const kept = await readRelease(join(archiveFolder(cache.folder, source.archive), folder));
  const same = [...files].every(([name, bytes]) => kept.get(name)?.equals(bytes) === true);
  const before =
    kept.size === 0 || same ? null : await checkRelease(source, kept, place, host.now()).catch(() => null);
  const newest = before !== null && before.release.date > fresh.release.date ? before : fresh;
  // The computer's word is on its own mirrors; other publishers are none of them.
  checkDates(what, newest.release, host.now(), options.ignoresAge && !place.foreign, place);
  return newest;
}

/** @param both Release with its signature in Release.gpg will do, too. @throws GoneError, or the last network error. */
async function getRelease(
  get: (name: string) => Promise<Buffer>,
  both: boolean,
): Promise<ReadonlyMap<string, Buffer>> {
  try {
    return new Map([['InRelease', await get('InRelease')]]);
  } catch (error) {
    if (!both || !(error instanceof GoneError)) throw error;
    const release = await get('Release').catch((second: unknown) => {
      throw second instanceof GoneError ? error : second;
    });
    const signature = await get('Release.gpg').catch((second: unknown) => {
      if (second instanceof GoneError) return null;
      throw second;
    });
    return new Map([
      ['Release', release],
      ...(signature === null ? [] : [['Release.gpg', signature] as const]),
    ]);
  }
}

/** What of a signed release lies in a folder. */
async function readRelease(folder: string): Promise<ReadonlyMap<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const name of RELEASE_NAMES) {
    const bytes = await readFile(join(folder, name)).catch(() => null);
    if (bytes !== null) files.set(name, bytes);
  }
  return files;
}

/**
 * An older index of another publisher than the one of the lock that is replaced: its server lags behind, or somebody plays old
 * files to us. Few of them promise an end (`Valid-Until`) by which that would be noticed.
 * @throws WorkError
 */
export function refuseOlder(
  checked: readonly CheckedSource[],
  old: Lock | null,
  places: readonly ArchivePlace[],
): void {
  const day = (seconds: number): string => new Date(seconds * 1000).toISOString().slice(0, 10);
  for (const { source, index } of checked) {
    const place = placeOf(places, source.archive);
    const before = old?.indexes.find((one) => one.archive === index.archive && one.suite === index.suite);
    if (!place.foreign || before === undefined || before.date <= index.date) continue;
    throw new WorkError(
      `${nameOf(source)} is older (${day(index.date)}) than the one in the lock (${day(before.date)}): its server lags behind, or gives old files`,
      {
        hint: `try again later, or ${wayOut(place)}; the lock stays as it is`,
        because: place.because,
      },
    );
  }
}

async function checkRelease(
  source: PlanSource,
  files: ReadonlyMap<string, Buffer>,
  place: ArchivePlace,
  now: number,
): Promise<SignedRelease> {
  const what = nameOf(source);
  const signed = await verifyRelease(files, place.keyring, now);
  if ('fault' in signed) throw explainSignature(signed.fault, what, place);
  const { fingerprints } = signed;
  if (
    source.fingerprints.length > 0 &&
    !source.fingerprints.some((wanted) => fingerprints.includes(wanted.replaceAll(' ', '').toUpperCase()))
  ) {
    throw new WorkError(`${what} is signed, but not with the key it must be signed with`, {
      hint: `signed by ${fingerprints.join(', ')}; expected ${source.fingerprints.join(' or ')}`,
      because: place.because,
    });
  }
  return { files, release: parseRelease(signed.text), fingerprints };
}

/** A replayed old index hides security fixes, and one from the future means a wrong clock. */
function checkDates(
  what: string,
  release: Release,
  now: number,
  ignoresAge: boolean,
  place: ArchivePlace,
): void {
  const { because, foreign } = place;
  const seconds = now / 1000;
  if (Number.isNaN(release.date) || release.files.size === 0)
    throw new WorkError(`${what} names no date or no files by SHA-256`, {
      hint: foreign ? wayOut(place) : 'use a mirror of a current Debian release',
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
      `${what} has expired: this ${foreign ? 'archive' : 'mirror'} is no longer updated, or this computer's clock is wrong`,
      {
        hint: `compare the clock (date), then ${wayOut(place)} or try again later`,
        because,
      },
    );
  }
}

function explainSignature(fault: SignatureFault, what: string, place: ArchivePlace): WorkError {
  const { archive, keyring, foreign, because } = place;
  switch (fault) {
    case 'unknown-key':
      return new WorkError(`${what} is signed with a key that ${keyring} does not hold`, {
        hint: foreign
          ? `a newer commeshctl may bring the key; if its publisher says that the key is another one now, give that with --keyring ${archive}=FILE; or take out what asks for it (${because.join('.')})`
          : `a newer commeshctl may bring the key, or give the keyring of the newest package ${archive === 'debian-security' ? 'debian' : archive}-archive-keyring with --keyring ${archive}=FILE; if it does not hold the key either, do not trust this mirror`,
        because,
      });
    case 'unsigned':
      return new WorkError(`${what} is not signed`, {
        hint: foreign ? wayOut(place) : "use a mirror that carries upstream's own signed InRelease files",
        because,
      });
    case 'expired-key':
      return new WorkError(`${what} is signed with a key that has expired`, {
        hint: foreign
          ? `compare this computer's clock (date); if it is right, its publisher has prolonged the key: a newer commeshctl brings it, or give the new file with --keyring ${archive}=FILE; or take out what asks for it (${because.join('.')})`
          : "compare this computer's clock (date); if it is right, use another mirror or a newer commeshctl",
        because,
      });
    case 'revoked-key':
    case 'wrong':
      return new WorkError(
        `${what} carries a wrong signature: it was changed after it was signed, or not signed by ${archive.startsWith('debian') ? 'Debian' : 'its archive'}`,
        {
          hint: foreign
            ? `do not use it from this address; ${wayOut(place)}`
            : 'do not use this mirror; choose another one as "mirror:" in the profile',
          because,
        },
      );
  }
}

function explainMissing(error: unknown, what: string, place: ArchivePlace): WorkError {
  const detail = `${shownPlace(place)}: ${error instanceof Error ? error.message : String(error)}`;
  const extra = { because: place.because, cause: error };
  if (place.foreign) {
    return error instanceof GoneError
      ? new WorkError(`${what} is not there (${detail})`, { hint: wayOut(place), ...extra })
      : new WorkError(`the archive "${place.archive}" cannot be reached (${detail})`, {
          hint: `is this computer online? Else ${wayOut(place)}`,
          ...extra,
        });
  }
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
  const folder = suiteFolder(source.suite);
  const add = (arch: string, stem: string): void => {
    if (release.files.get(stem)?.size === 0) return;
    const forms = LIST_ENDINGS.flatMap((ending): LockFile[] => {
      const file = release.files.get(`${stem}${ending}`);
      return file === undefined ? [] : [{ path: `${folder}${stem}${ending}`, ...file }];
    });
    if (forms.length > 0) lists.push({ source, arch, forms });
  };
  if (isFlat(source.suite) && archs.length > 0) add(EVERY_ARCH, 'Packages');
  for (const component of source.components) {
    for (const arch of [...archs, ...(release.ownAllLists && archs.length > 0 ? ['all'] : [])]) {
      add(arch, `${component}/binary-${arch}/Packages`);
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
        because: placeOf(options.places, source.archive).because,
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
      const place = source === undefined ? null : placeOf(options.places, source.archive);
      const foreign = place?.foreign === true;
      throw new WorkError(
        `${source === undefined ? 'the index' : nameOf(source)} and its package lists do not fit together: the ${foreign ? 'archive' : 'mirror'} is being updated, or a proxy gives old files`,
        {
          hint: foreign
            ? `try again in some minutes, or ${wayOut(place)}`
            : 'try again in some minutes, or use another mirror',
          because: place?.because ?? ['mirror'],
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
