import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { copyFile, link, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { hashFile } from '../host/files.js';
import { GoneError, type HttpClient } from './http.js';

/** One file to fetch; the bytes are right when size and digest are. */
export interface Wanted {
  /** Where it may be had, tried in order: `http:`, `https:`, `file:`. */
  readonly urls: readonly URL[];
  readonly size: number;
  readonly sha256: string;
  /** Unfinished bytes, named by digest: what a broken run leaves, the next one continues. */
  readonly part: string;
  readonly target: string;
}

export interface DownloadOptions {
  readonly client: HttpClient;
  readonly signal: AbortSignal;
  /** Bytes gained; negative when unfinished bytes had to be thrown away. */
  readonly onBytes: (count: number) => void;
  readonly onRetry: (reason: string) => void;
  /** First pause before trying again, milliseconds; it doubles. */
  readonly backoffMs: number;
}

/** Tries without any progress before giving up. */
const ATTEMPTS = 5;
/** Tries to get a small file. */
const SMALL_ATTEMPTS = 4;
/** Whole files with wrong content before the mirror is called wrong. */
const WRONG = 2;

/** The mirror sends other bytes than its signed index promises. */
export class WrongBytesError extends Error {}

/**
 * Fetches one file: continues unfinished bytes, checks size and SHA-256 while they stream, writes to disk (fsync) and
 * renames. A broken connection is tried again for as long as bytes come; an answer like "not found" is final.
 * @throws GoneError, WrongBytesError, or the last network error.
 */
export async function download(wanted: Wanted, options: DownloadOptions): Promise<void> {
  await mkdir(dirname(wanted.target), { recursive: true });
  let gone: unknown;
  for (const url of wanted.urls) {
    try {
      if (url.protocol === 'file:') {
        const left = await sizeOf(wanted.part);
        await takeFile(fileURLToPath(url), wanted);
        options.onBytes(wanted.size - left);
      } else await persist(url, wanted, options);
      return;
    } catch (error) {
      if (!(error instanceof GoneError) && !(error instanceof WrongBytesError)) throw error;
      gone = error;
    }
  }
  throw gone ?? new GoneError('no place to fetch it from');
}

async function persist(url: URL, wanted: Wanted, options: DownloadOptions): Promise<void> {
  let idle = 0;
  let wrong = 0;
  let pause = options.backoffMs;
  for (;;) {
    const before = await sizeOf(wanted.part);
    try {
      await receive(url, wanted, options, wrong > 0);
      return;
    } catch (error) {
      if (options.signal.aborted || error instanceof GoneError || isLocal(error)) throw error;
      if (error instanceof WrongBytesError && ++wrong >= WRONG) throw error;
      const gained = (await sizeOf(wanted.part)) > before;
      idle = gained ? 0 : idle + 1;
      if (idle >= ATTEMPTS) throw error;
      if (gained) pause = options.backoffMs;
      options.onRetry(error instanceof Error ? error.message : String(error));
      await sleep(pause, undefined, { signal: options.signal });
      pause = Math.min(pause * 2, 30_000);
    }
  }
}

/** A full or broken disk of this computer: asking the mirror again helps nothing. */
function isLocal(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '');
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    (found) => found.size,
    () => 0,
  );
}

async function hashInto(hash: Hash, path: string): Promise<void> {
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
}

/** One request; leaves what arrived in the part file. `fresh`: start over and pass by caches on the way. */
async function receive(url: URL, wanted: Wanted, options: DownloadOptions, fresh: boolean): Promise<void> {
  const { part, size, sha256 } = wanted;
  let have = await sizeOf(part);
  if (have > 0 && (fresh || have > size)) {
    await rm(part, { force: true });
    options.onBytes(-have);
    have = 0;
  }
  let hash = createHash('sha256');
  if (have > 0) await hashInto(hash, part);
  if (have < size) {
    const response = await options.client.get(
      url,
      {
        ...(have > 0 ? { range: `bytes=${have}-` } : {}),
        ...(fresh ? { 'cache-control': 'no-cache' } : {}),
      },
      options.signal,
    );
    const status = response.statusCode ?? 0;
    if (status !== 200 && status !== 206) {
      response.resume();
      if (status === 416) {
        await rm(part, { force: true });
        options.onBytes(-have);
      }
      const message = `the mirror answers ${status} ${response.statusMessage ?? ''}`.trim();
      if (status === 416 || status === 408 || status === 429 || status >= 500) throw new Error(message);
      throw new GoneError(message);
    }
    const continues =
      status === 206 && response.headers['content-range']?.startsWith(`bytes ${have}-`) === true;
    const file = await open(part, continues ? 'a' : 'w');
    try {
      if (!continues) {
        options.onBytes(-have);
        have = 0;
        hash = createHash('sha256');
      }
      for await (const chunk of response as AsyncIterable<Buffer>) {
        have += chunk.length;
        if (have > size) {
          response.destroy();
          break;
        }
        hash.update(chunk);
        await file.write(chunk);
        options.onBytes(chunk.length);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    if (have < size) {
      // A server that ends early but in order has another, shorter file; a torn connection throws before this line.
      if (!response.complete) throw new Error('the connection broke');
      await discard(wanted, options);
      throw new WrongBytesError(`it is ${have} bytes long instead of ${size}`);
    }
  }
  if (have > size || hash.digest('hex') !== sha256) {
    await discard(wanted, options);
    throw new WrongBytesError(have > size ? `it is longer than ${size} bytes` : 'its SHA-256 is another one');
  }
  await rename(part, wanted.target);
}

async function discard(wanted: Wanted, options: DownloadOptions): Promise<void> {
  options.onBytes(-(await sizeOf(wanted.part)));
  await rm(wanted.part, { force: true });
}

/** Largest answer `downloadSmall` takes, bytes: InRelease of Debian's largest suites has a tenth of it. */
const SMALL_LIMIT = 4 << 20;

/**
 * Fetches a small file of which neither size nor digest is known.
 * @throws GoneError when it is not there, or the last network error.
 */
export async function downloadSmall(
  url: URL,
  options: Pick<DownloadOptions, 'client' | 'signal' | 'onRetry' | 'backoffMs'> & {
    /** `Accept:` header. */
    readonly accept?: string;
    /** Largest answer that is taken, bytes. */
    readonly limit?: number;
  },
): Promise<Buffer> {
  if (url.protocol === 'file:') {
    return await readFile(url).catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'ENOENT' || error.code === 'ENOTDIR'
        ? new GoneError(`${fileURLToPath(url)} is not there`)
        : error;
    });
  }
  let pause = options.backoffMs;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const response = await options.client.get(
        url,
        options.accept === undefined ? {} : { accept: options.accept },
        options.signal,
      );
      const status = response.statusCode ?? 0;
      if (status !== 200) {
        response.resume();
        const message = `the mirror answers ${status} ${response.statusMessage ?? ''}`.trim();
        throw status === 408 || status === 429 || status >= 500 ? new Error(message) : new GoneError(message);
      }
      const parts: Buffer[] = [];
      let size = 0;
      for await (const chunk of response as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > (options.limit ?? SMALL_LIMIT))
          throw new GoneError('the mirror sends far more than an index');
        parts.push(chunk);
      }
      if (!response.complete) throw new Error('the connection broke');
      return Buffer.concat(parts);
    } catch (error) {
      if (options.signal.aborted || error instanceof GoneError || attempt >= SMALL_ATTEMPTS) throw error;
      options.onRetry(error instanceof Error ? error.message : String(error));
      await sleep(pause, undefined, { signal: options.signal });
      pause *= 2;
    }
  }
}

/**
 * A file from a folder of this computer: a hard link where that can be, a copy otherwise.
 * @throws GoneError when it is not there, WrongBytesError when it is another file.
 */
export async function takeFile(source: string, wanted: Omit<Wanted, 'urls'>): Promise<void> {
  await mkdir(dirname(wanted.target), { recursive: true });
  const found = await hashFile(source).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') throw new GoneError(`${source} is not there`);
    throw error;
  });
  if (found.size !== wanted.size || found.sha256 !== wanted.sha256) {
    throw new WrongBytesError(`${source} is not the file that is wanted`);
  }
  await rm(wanted.part, { force: true });
  try {
    await link(source, wanted.part);
  } catch {
    await copyFile(source, wanted.part);
    const copied = await hashFile(wanted.part);
    if (copied.sha256 !== wanted.sha256) {
      await rm(wanted.part, { force: true });
      throw new WrongBytesError(`${source} could not be copied whole`);
    }
    const file = await open(wanted.part, 'r');
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }
  await rename(wanted.part, wanted.target);
}
