import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { controlField } from '../host/deb.js';
import { unxz } from '../host/xz.js';

/**
 * Endings of the package lists that are read, best first: gz unpacks three times as fast as xz and beside other work, for a
 * third more to fetch.
 */
export const LIST_ENDINGS = ['.gz', '.xz', ''] as const;

const gunzipAsync = promisify(gunzip);
/** Few large pieces: each one is a turn of the event loop. */
const PIECE_BYTES = 8 << 20;

/** The text of a package list, unpacked as its name says. @throws Error when it is damaged. */
export async function unpackList(bytes: Buffer, path: string): Promise<Buffer> {
  if (path.endsWith('.gz')) return await gunzipAsync(bytes, { chunkSize: PIECE_BYTES });
  if (path.endsWith('.xz')) return await unxz(bytes);
  return bytes;
}

/** Stands for the architecture of a flat repository's list, which holds packages of all of them. */
export const EVERY_ARCH = '*';

/**
 * Architecture of a package list by its path (`…/binary-arm64/Packages.gz`), EVERY_ARCH for that of a flat repository; null for
 * other files.
 */
export function archOfList(path: string): string | null {
  const found = /(?:^|\/)(?:binary-([a-z0-9]+)\/)?Packages(?:\.[a-z0-9]+)?$/.exec(path);
  return found === null ? null : (found[1] ?? EVERY_ARCH);
}

/** What of a flat repository's list (uncompressed) is for an architecture. */
export function partFor(arch: string, list: Buffer): Buffer {
  const fitting = list
    .toString('latin1')
    .split(/\n{2,}/)
    .filter((stanza) => ['all', arch].includes(controlField(stanza, 'Architecture')));
  return Buffer.from(fitting.map((stanza) => `${stanza.trim()}\n`).join('\n'), 'latin1');
}
