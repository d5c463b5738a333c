import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { unxz } from './xz.js';

/** The first line of a field of a control file's paragraph; '' when it is absent. */
export function controlField(stanza: string, name: string): string {
  const key = `${name}: `;
  const before = stanza.startsWith(key) ? 0 : stanza.indexOf(`\n${key}`);
  if (before < 0) return '';
  const from = (before === 0 && stanza.startsWith(key) ? 0 : before + 1) + key.length;
  const end = stanza.indexOf('\n', from);
  return stanza.slice(from, end < 0 ? undefined : end).trim();
}

/** Package names in a dependency field: all alternatives, without versions and architectures (deb-control(5)). */
export function packageNames(list: string): string[] {
  return list
    .split(/[,|]/)
    .map((part) => /^\s*([a-z0-9][a-z0-9+.-]+)/.exec(part)?.[1] ?? '')
    .filter(Boolean);
}

/** What a package needs before and after it is unpacked: `Pre-Depends` and `Depends`, each with its alternatives. */
export function dependencyChoices(stanza: string): string[][] {
  return ['Pre-Depends', 'Depends']
    .flatMap((name) => controlField(stanza, name).split(','))
    .map(packageNames)
    .filter((choices) => choices.length > 0);
}

/** Whether a package holds shared libraries, by Debian's naming (policy, section 8.1); zlib alone is older than the rule. */
export function isLibrary(name: string): boolean {
  return name.startsWith('lib') || name === 'zlib1g';
}

const MAGIC = '!<arch>\n';

/** Members of a .deb (deb(5): an ar archive) by name. @throws Error when it is none. */
function members(bytes: Buffer): Map<string, Buffer> {
  if (bytes.subarray(0, MAGIC.length).toString('latin1') !== MAGIC) throw new Error('not a Debian package');
  const found = new Map<string, Buffer>();
  for (let at = MAGIC.length; at + 60 <= bytes.length;) {
    const header = bytes.subarray(at, at + 60).toString('latin1');
    const size = Number(header.slice(48, 58));
    if (!Number.isSafeInteger(size) || header.slice(58) !== '`\n') throw new Error('damaged Debian package');
    const name = header.slice(0, 16).trim().replace(/\/$/, '');
    found.set(name, bytes.subarray(at + 60, at + 60 + size));
    at += 60 + size + (size % 2);
  }
  return found;
}

async function tarOf(found: ReadonlyMap<string, Buffer>, stem: string): Promise<Buffer> {
  for (const [name, bytes] of found) {
    if (name === `${stem}.tar.xz`) return await unxz(bytes);
    if (name === `${stem}.tar.gz`) return gunzipSync(bytes);
    if (name === `${stem}.tar`) return bytes;
  }
  throw new Error(`no ${stem}.tar that can be read without programs (xz, gz)`);
}

/**
 * Unpacks the files of a .deb without any program; owners are not kept.
 * @param folder where to; it must be there.
 * @param wanted says which paths (`./usr/bin/sh`) are unpacked.
 * @returns the package's control data.
 * @throws Error when the package is damaged or packed otherwise than with xz or gz.
 */
export async function unpackDeb(
  path: string,
  folder: string,
  wanted: (path: string) => boolean,
): Promise<string> {
  const found = members(await readFile(path));
  const control = await readMember(await tarOf(found, 'control'), 'control');
  const data = await tarOf(found, 'data');
  const { Unpack } = await import('tar');
  await new Promise<void>((resolve, reject) => {
    const unpack = new Unpack({
      cwd: folder,
      strict: true,
      preserveOwner: false,
      // Links of the tree lead where its own root is.
      preservePaths: true,
      filter: wanted,
    });
    unpack.on('error', reject);
    unpack.on('close', () => resolve());
    unpack.end(data);
  });
  return control;
}

/** The text of one file of a tar archive; '' when it is not there. */
async function readMember(tar: Buffer, name: string): Promise<string> {
  const { Parser } = await import('tar');
  return await new Promise((resolve, reject) => {
    let text = '';
    const parser = new Parser({
      strict: true,
      onReadEntry: (entry) => {
        if (entry.path.replace(/^\.\//, '') === name)
          entry.on('data', (chunk) => (text += chunk.toString('latin1')));
        else entry.resume();
      },
    });
    parser.on('error', reject);
    parser.on('end', () => resolve(text));
    parser.end(tar);
  });
}
