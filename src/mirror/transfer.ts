import { mkdir, stat, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ProfilePath } from '../diagnostics/diagnostic.js';
import { CacheMissError, InterruptedError, WorkError } from '../diagnostics/errors.js';
import { sha256, syncFolder } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import { storePath, type Cache } from './cache.js';
import { download, WrongBytesError } from './download.js';
import { GoneError, type HttpClient } from './http.js';
import { each } from './parallel.js';
import { RELEASE_NAMES } from './release.js';
import { folderOf, wayOut, type ArchivePlace } from './sources/apt.js';

/** How files are fetched. */
export interface TransferOptions {
  readonly client: HttpClient;
  readonly places: readonly ArchivePlace[];
  /** Downloads at a time. */
  readonly parallel: number;
  /** First pause before a second try, milliseconds. */
  readonly backoffMs: number;
}

/** A file of an archive that is to be fetched into the cache. */
export interface Item {
  /** What a person calls it. */
  readonly title: string;
  readonly kind: 'index' | 'package';
  readonly archive: string;
  /** Below the archive's root. */
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
  readonly because: ProfilePath;
  /** Where it shall lie. */
  readonly target: string;
  /** Where it may be had, when that does not follow from archive and path. */
  readonly urls?: readonly URL[];
}

const RESERVE_BYTES = 64 << 20;

/** Where an archive is. */
export function placeOf(places: readonly ArchivePlace[], archive: string): ArchivePlace {
  const place = places.find((candidate) => candidate.archive === archive);
  if (place === undefined) throw new Error(`no place for archive ${archive}`);
  return place;
}

/** The address of a file of an archive. */
export function urlOf(place: ArchivePlace, path: string): URL {
  return place.uri.startsWith('file:')
    ? pathToFileURL(join(folderOf(place.uri), path))
    : new URL(`${place.uri}/${encodeURI(path).replaceAll('+', '%2B')}`);
}

/** Where a file may be had, best first. */
function urlsOf(item: Item, place: ArchivePlace): URL[] {
  if (item.urls !== undefined) return [...item.urls];
  const urls = [urlOf(place, item.path)];
  if (item.kind === 'package') return urls;
  if (!(RELEASE_NAMES as readonly string[]).includes(basename(item.path))) {
    // Old lists stay on mirrors under their digest for a while (DebianRepository/Format, Acquire-By-Hash).
    urls.unshift(urlOf(place, `${dirname(item.path)}/by-hash/SHA256/${item.sha256}`));
  }
  // The folder may be another offline cache, which keeps older indexes in its store.
  if (place.uri.startsWith('file:')) {
    urls.push(pathToFileURL(storePath(dirname(dirname(folderOf(place.uri))), item.sha256)));
  }
  return urls;
}

/** What a size is called: `1.5 MB`. */
export function inMB(bytes: number): string {
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Where the unfinished bytes of a file wait: by digest, and by path, since two files may be the same bytes. */
export async function partOf(cache: Cache, item: Pick<Item, 'path' | 'sha256'>): Promise<string> {
  const folder = join(cache.folder, 'partial');
  await mkdir(folder, { recursive: true });
  return join(folder, `${item.sha256}.${sha256(item.path).slice(0, 8)}.part`);
}

async function begunOf(cache: Cache, item: Item): Promise<number> {
  return await stat(await partOf(cache, item)).then(
    (found) => found.size,
    () => 0,
  );
}

async function checkSpace(cache: Cache, items: readonly Item[], total: number): Promise<void> {
  let begun = 0;
  for (const item of items) begun += await begunOf(cache, item);
  const { bavail, bsize } = await statfs(cache.folder);
  const needed = total - begun + RESERVE_BYTES;
  if (bavail * bsize >= needed) return;
  throw new WorkError(
    `not enough room for the offline cache: ${inMB(needed)} are needed, ${inMB(bavail * bsize)} are free in ${cache.folder}`,
    { hint: 'make room, or keep the cache on another disk with --cache DIR' },
  );
}

/**
 * Fetches files into the cache, several at a time, resuming what was begun, and shows it as one step.
 * @param id of the step. @param title of the step, for a person.
 * @throws WorkError, CacheMissError, InterruptedError. Whatever is complete stays in the cache.
 */
export async function transfer(
  host: Host,
  cache: Cache,
  items: readonly Item[],
  options: TransferOptions,
  id: string,
  title: string,
): Promise<void> {
  if (items.length === 0) return;
  const total = items.reduce((sum, item) => sum + item.size, 0);
  await mkdir(cache.folder, { recursive: true });
  await checkSpace(cache, items, total);
  await timed(
    host,
    id,
    title,
    () => transferAll(host, cache, items, total, options, id),
    () => ({ note: `${items.length} files, ${inMB(total)}` }),
  );
}

async function transferAll(
  host: Host,
  cache: Cache,
  items: readonly Item[],
  total: number,
  options: TransferOptions,
  id: string,
): Promise<void> {
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
    host.emit({ type: 'progress', id, done, total, unit: 'bytes' });
  };
  // Large files first, so that no single one is left at the end.
  const sorted = [...items].sort((a, b) => b.size - a.size || (a.path < b.path ? -1 : 1));
  const folders = new Set<string>();
  try {
    await each(sorted, options.parallel, host.signal, async (item) => {
      const place = placeOf(options.places, item.archive);
      progress(await begunOf(cache, item));
      try {
        await download(
          {
            urls: urlsOf(item, place),
            size: item.size,
            sha256: item.sha256,
            part: await partOf(cache, item),
            target: item.target,
          },
          {
            client: options.client,
            signal: stop.signal,
            onBytes: progress,
            onRetry: (reason) =>
              host.emit({ type: 'log', level: 'debug', text: `${item.title}: ${reason}; trying again` }),
            backoffMs: options.backoffMs,
          },
        );
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
    // Side by side: the disk writes its journal once for many.
    await Promise.all([...folders].map(syncFolder));
  }
}

/** Where an archive is, for a person: a host name or a folder. */
export function shownPlace(place: ArchivePlace): string {
  return place.uri.startsWith('file:') ? folderOf(place.uri) : new URL(place.uri).host;
}

/** A fault of this computer's disk, or null. */
export function diskFault(error: unknown, what: string, cache: Cache): WorkError | null {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new WorkError(`no room left while fetching ${what}`, {
      hint: 'make room, or keep the cache on another disk with --cache DIR; what is there already is kept',
    });
  }
  if (code === 'EACCES' || code === 'EROFS') {
    return new WorkError(`the offline cache cannot be written to: ${cache.folder}`, {
      hint: 'is it a locked USB stick? Another folder can be given with --cache DIR',
    });
  }
  return null;
}

/** A fault of one file, told with the profile path that asked for it. */
function explain(error: unknown, item: Item, place: ArchivePlace, cache: Cache): unknown {
  const where = shownPlace(place);
  const because = item.because;
  const mirror = place.foreign ? `the archive "${place.archive}"` : 'the mirror';
  if (error instanceof GoneError) {
    return new CacheMissError(
      item.kind === 'package'
        ? `the package ${item.title} is in the lock, but ${mirror} has dropped it (${where}: ${error.message})`
        : `the index ${item.title} of the lock is no longer on ${mirror} (${where}: ${error.message})`,
      {
        hint: `run "commeshctl fetch --update" to take the versions ${mirror} has now, or bring the offline cache that belongs to this lock`,
        because,
        cause: error,
      },
    );
  }
  if (error instanceof WrongBytesError) {
    return item.kind === 'package'
      ? new WorkError(`${mirror} sends a wrong ${item.title}: ${error.message} (${where})`, {
          hint: `nothing wrong was kept; ${place.foreign ? wayOut(place) : 'try another mirror'}, or "commeshctl fetch --update" if ${mirror} was just updated`,
          because,
          cause: error,
        })
      : new CacheMissError(`${mirror} has another ${item.title} than the lock (${where})`, {
          hint: `run "commeshctl fetch --update" to take the versions ${mirror} has now, or bring the offline cache that belongs to this lock`,
          because,
          cause: error,
        });
  }
  return (
    diskFault(error, item.title, cache) ??
    new WorkError(`${item.title} could not be fetched from ${where}: ${(error as Error).message}`, {
      hint: `what is there already is kept; run the command again to continue${place.foreign ? `; or ${wayOut(place)}` : ''}`,
      because,
      cause: error,
    })
  );
}
