import { open, readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Document } from 'yaml';
import {
  fault,
  located,
  type Diagnostic,
  type LocatedDiagnostic,
  type Place,
} from '../diagnostics/diagnostic.js';
import { cover } from './cover.js';
import { startOf, type Locator } from './locate.js';
import { parseProfile } from './parse.js';

/** Largest profile read, bytes. */
export const SIZE_LIMIT = 1_000_000;

/** A profile's text turned into data, with the place of everything in it. */
export interface ProfileDocument {
  /** As the person named it. */
  readonly file: string;
  /** The text with secrets covered, for the lines shown with a diagnostic. */
  readonly shown: string;
  /** Plain data: maps, lists, text, numbers, true/false, null. */
  readonly data: Readonly<Record<string, unknown>>;
  readonly yaml: Document;
  readonly locate: Locator;
  readonly beside: Beside;
}

/** What was read together with a profile. */
export interface Beside {
  /** Files the profile names, by the name it gives them; null: cannot be read. */
  readonly files: ReadonlyMap<string, Uint8Array | null>;
  /** When they were read, milliseconds since 1970; null: not known, nothing counts as expired. */
  readonly at: number | null;
}

/** Nothing. */
export const NOTHING_BESIDE: Beside = { files: new Map(), at: null };

/** Largest certificate file read, bytes. */
const CERTIFICATE_LIMIT = 100_000;

export interface ReadResult {
  /** null when the file cannot be understood; `faults` says why. */
  readonly document: ProfileDocument | null;
  readonly faults: readonly LocatedDiagnostic[];
  /** The text with secrets covered; empty when there is none to show. */
  readonly shown: string;
}

/** A fault of the file as a whole. */
function refused(place: Place, code: string, message: string, hint: string, shown = ''): ReadResult {
  const diagnostic: Diagnostic = fault(code, message, [], hint);
  return { document: null, faults: [located(diagnostic, place)], shown };
}

const MAGIC: readonly (readonly [string, string])[] = [
  ['PK\u0003\u0004', 'a zip or office document'],
  ['\u001f\u008b', 'a gzip archive'],
  ['\u0089PNG', 'a picture'],
  ['\u00ff\u00d8\u00ff', 'a picture'],
  ['%PDF', 'a PDF document'],
  ['(\u00b5/\u00fd', 'a zstd archive'],
  ['\u00fd7zXZ', 'an xz archive'],
  ['{\\rtf', 'a rich-text document'],
];

const SAVE_AS = 'save it as plain text in the encoding "UTF-8"';

/** Place of the byte at `offset`, counted in Latin-1 characters. */
function placeOfByte(file: string, bytes: Uint8Array, offset: number): Place {
  let line = 1;
  let start = 0;
  for (let index = 0; index < offset; index += 1) {
    if (bytes[index] === 0x0a) {
      line += 1;
      start = index + 1;
    }
  }
  return {
    file,
    line,
    column: new TextDecoder().decode(bytes.subarray(start, offset)).length + 1,
    length: 1,
  };
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/** Offset of the first byte that begins no UTF-8 character, or -1. */
function badUtf8(bytes: Uint8Array): number {
  if (isUtf8(bytes)) return -1;
  // What decodes lossily into the same bytes is sound; the first difference is the fault.
  const back = new TextEncoder().encode(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes));
  const first = bytes.findIndex((byte, index) => byte !== back[index]);
  return first < 0 ? bytes.length - 1 : first;
}

/** Turns the bytes of a profile into data, or says what is wrong with them. Pure. */
export function decodeProfile(file: string, bytes: Uint8Array): ReadResult {
  if (bytes.length > SIZE_LIMIT) return tooBig(file, bytes.length);
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    return refused(startOf(file), 'profile/encoding', 'this file is saved as UTF-16, not as UTF-8', SAVE_AS);
  }
  const head = Buffer.from(bytes.subarray(0, 8)).toString('latin1');
  for (const [magic, what] of MAGIC) {
    if (head.startsWith(magic)) {
      return refused(
        startOf(file),
        'profile/not-text',
        `this file is ${what}, not a text file`,
        'name a profile, for example profiles/quickstart.yaml',
      );
    }
  }
  const zero = bytes.indexOf(0);
  if (zero >= 0) {
    const hint = `open it in a text editor, remove what is not text, or start again from a preset in profiles/; ${SAVE_AS}`;
    return refused(
      placeOfByte(file, bytes, zero),
      'profile/not-text',
      'this file is not a text file (it holds a zero byte)',
      hint,
    );
  }
  const bad = badUtf8(bytes);
  if (bad >= 0) {
    const shown = cover(Buffer.from(bytes).toString('utf8'));
    const message = 'this character is not UTF-8; the file was saved in another encoding';
    return refused(placeOfByte(file, bytes, bad), 'profile/encoding', message, SAVE_AS, shown);
  }
  // Windows editors put a byte order mark first; it means nothing in UTF-8.
  const text = new TextDecoder('utf-8').decode(bytes);
  if (text.trim() === '') {
    const hint = 'start from a preset in profiles/, or let "commeshctl init" write one';
    return refused(startOf(file), 'profile/empty', 'this file is empty', hint);
  }
  return parseProfile(file, text);
}

function tooBig(file: string, size: number): ReadResult {
  const megabytes = (size / 1_000_000).toFixed(1);
  const message = `this file is too big for a profile (${megabytes} MB; at most 1 MB is read)`;
  return refused(
    startOf(file),
    'profile/too-big',
    message,
    'a profile is a page of text; is this the right file?',
  );
}

/** Certificate files of sister sites that the data names, in the shape a person may have written them. */
function namedFiles(data: ProfileDocument['data']): readonly string[] {
  const sisters: unknown = data['federation'];
  if (!Array.isArray(sisters)) return [];
  return sisters.flatMap((sister: unknown) => {
    const ca: unknown =
      sister !== null && typeof sister === 'object' && 'ca' in sister ? (sister.ca as unknown) : null;
    return typeof ca === 'string' && !isPem(ca) ? [ca] : [];
  });
}

/** Whether a text is a PEM file's content rather than a file's name. */
export function isPem(text: string): boolean {
  return text.includes('-----BEGIN ');
}

/** The files a profile names, looked for from its own folder. */
async function withFiles(path: string, result: ReadResult, now: number | null): Promise<ReadResult> {
  const { document } = result;
  if (document === null) return result;
  const files = new Map<string, Uint8Array | null>();
  for (const name of namedFiles(document.data)) {
    const file = resolve(dirname(path), name);
    try {
      const info = await stat(file);
      files.set(name, info.isFile() && info.size <= CERTIFICATE_LIMIT ? await readFile(file) : null);
    } catch {
      files.set(name, null);
    }
  }
  return { ...result, document: { ...document, beside: { files, at: now } } };
}

/**
 * Reads one profile and the certificate files it names. A file that cannot be read gives a fault at its first character; nothing is
 * thrown.
 * @param now the time, milliseconds since 1970: what has expired is refused by the rules.
 */
export async function readProfile(path: string, now: number | null = null): Promise<ReadResult> {
  const place = startOf(path);
  try {
    const info = await stat(path);
    if (info.isDirectory()) {
      return refused(
        place,
        'profile/not-a-file',
        'this is a folder, not a file',
        'name the profile itself, for example profiles/quickstart.yaml',
      );
    }
    // A pipe or a device may never end.
    if (!info.isFile()) {
      return refused(
        place,
        'profile/not-a-file',
        'this is a device or a pipe, not a file',
        'save the profile as a file first',
      );
    }
    if (info.size > SIZE_LIMIT) return tooBig(path, info.size);
    const handle = await open(path, 'r');
    try {
      return await withFiles(path, decodeProfile(path, await handle.readFile()), now);
    } finally {
      await handle.close();
    }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === undefined) throw error;
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      return refused(
        place,
        'profile/not-found',
        'there is no such file',
        'check the name and the folder; presets are in profiles/, and "commeshctl init" writes a new one',
      );
    }
    if (code === 'EACCES' || code === 'EPERM') {
      return refused(
        place,
        'profile/unreadable',
        'this file may not be read by your account',
        `allow it: chmod u+r ${path}`,
      );
    }
    return refused(
      place,
      'profile/unreadable',
      `this file cannot be read (${code})`,
      'is the disk or the stick still there?',
    );
  }
}
