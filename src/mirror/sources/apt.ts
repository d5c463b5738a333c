import { readFile, readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { packageRoot } from '../../host/paths.js';
import { WorkError } from '../../diagnostics/errors.js';
import type { ProfilePath } from '../../diagnostics/diagnostic.js';
import type { PlanSource } from '../../plan/types.js';
import { isForeign, suiteFolder } from '../suites.js';
import { parseDeb822Sources, parseOneLineSources, pickArchive, type AptEntry } from './entries.js';

/** Where an archive is found and which keys may sign it. */
export interface ArchivePlace {
  readonly archive: string;
  /** Without a final slash: `http://…/debian` or `file:/media/stick/debian`. */
  readonly uri: string;
  /** Keyring on this host: a file, or a folder of key files. */
  readonly keyring: string;
  /** It belongs to another publisher (isForeign). */
  readonly foreign: boolean;
  /** The setting to look at when something is wrong with it. */
  readonly because: ProfilePath;
}

/** What else can be done when an archive is of no use, in words. */
export function wayOut(place: ArchivePlace): string {
  return place.foreign
    ? `give the address of a copy of it with --archive ${place.archive}=URL, or take out what asks for it (${place.because.join('.')})`
    : 'use another mirror ("mirror:" in the profile)';
}

export interface MirrorSettings {
  /** The profile's `mirror`: `auto`, an http(s) URL of the main archive, or `file:` and a folder. */
  readonly mirror: string;
  /** URI of single archives, stronger than `mirror`. */
  readonly uris?: Readonly<Record<string, string>>;
  /** Keyring of single archives, stronger than those in keys/. */
  readonly keyrings?: Readonly<Record<string, string>>;
  /** Folder of the host's apt settings. */
  readonly etcApt?: string;
  /** Folders searched for keyrings. */
  readonly keyringFolders?: readonly string[];
}

/** Our own keys come first; a host's are for archives we have no keys of. */
const keyringFolders = (): readonly string[] => [
  join(packageRoot(), 'keys'),
  '/usr/share/keyrings',
  '/etc/apt/keyrings',
  '/etc/apt/trusted.gpg.d',
];
const BECAUSE = ['mirror'];

/**
 * The place of every archive the plan's sources name.
 *
 * - `auto`: as the host's own apt sources have it.
 * - `http://host/path/debian`: the main archive; another archive is its sibling (`…/debian-security`, `…/raspberrypi`).
 *   A URL that does not end in `/debian` is the main archive as it stands, and security is `<url>-security`.
 * - `file:/folder`: an `offline-cache` (its `apt/` is used), a folder that holds the archives, or the main archive itself.
 *
 * Another publisher's archive is where its plan says, unless `mirror` is a folder: then nothing is looked for outside of it.
 *
 * @throws WorkError when an archive or its keyring cannot be found.
 */
export async function locateArchives(
  sources: readonly PlanSource[],
  settings: MirrorSettings,
): Promise<ArchivePlace[]> {
  const first = (archive: string): PlanSource | undefined => sources.find((one) => one.archive === archive);
  const places: ArchivePlace[] = [];
  let entries: AptEntry[] | null = null;
  for (const source of sources.filter((one) => one === first(one.archive))) {
    const { archive, because = BECAUSE } = source;
    const foreign = isForeign(source);
    const given = settings.uris?.[archive];
    let uri: string;
    if (given !== undefined) uri = given.replace(/\/+$/, '');
    else if (source.uri !== undefined && !settings.mirror.startsWith('file:'))
      uri = source.uri.replace(/\/+$/, '');
    else if (settings.mirror === 'auto') {
      entries ??= await readHostEntries(settings.etcApt ?? '/etc/apt');
      uri = await fromHost(entries, archive);
    } else if (settings.mirror.startsWith('file:')) uri = await inFolder(settings.mirror, source);
    else if (/^https?:\/\//.test(settings.mirror)) uri = sibling(settings.mirror, archive);
    else {
      throw new WorkError(`"${settings.mirror}" is not a mirror`, {
        hint: 'write "auto", the address of a Debian mirror (http://…/debian), or "file:" and a folder',
        because: BECAUSE,
      });
    }
    places.push({ archive, uri, keyring: await findKeyring(source, settings), foreign, because });
  }
  return places;
}

/** The URI of `archive` beside the main archive `mirror`. */
export function sibling(mirror: string, archive: string): string {
  const main = mirror.replace(/\/+$/, '');
  if (archive === 'debian') return main;
  if (main.endsWith('/debian')) return `${main.slice(0, -'debian'.length)}${archive}`;
  if (archive === 'debian-security') return `${main}-security`;
  return main.replace(/[^/]*$/, archive);
}

async function fromHost(entries: readonly AptEntry[], archive: string): Promise<string> {
  const picked = pickArchive(entries, archive);
  if (picked !== null) return plainUri(picked);
  if (archive === 'debian-security') {
    const main = pickArchive(entries, 'debian');
    if (main !== null) return sibling(await plainUri(main), archive);
  }
  const name = archive === 'debian' ? 'the Debian archive' : `the archive "${archive}"`;
  const sources =
    entries.length === 0
      ? 'this computer has no apt sources, so none names'
      : "this computer's apt sources do not name";
  throw new WorkError(`${sources} ${name}`, {
    hint:
      archive === 'debian'
        ? 'write the address of a Debian mirror as "mirror:" in the profile (http://…/debian), or "file:" and a folder'
        : `add it to this computer's apt sources, or give its address with --archive ${archive}=URL`,
    because: BECAUSE,
  });
}

/** apt's `mirror+file:` names a list of mirrors; its first line is taken. Other methods apt alone can speak are refused. */
async function plainUri(uri: string): Promise<string> {
  const list = /^mirror\+(?:file|copy):(?:\/\/)?(\/.*)$/.exec(uri)?.[1];
  if (list !== undefined) {
    const first = (await readFile(list, 'utf8').catch(() => ''))
      .split('\n')
      .map((line) => line.trim())
      .find((line) => line !== '' && !line.startsWith('#'))
      ?.split(/\s+/)[0];
    if (first !== undefined) return first.replace(/\/+$/, '');
  }
  if (/^(?:https?:\/\/|file:|copy:)/.test(uri)) return uri.replace(/^copy:/, 'file:');
  throw new WorkError(
    `this computer's apt sources use "${uri.replace(/\/\/[^/@]*@/, '//')}", which only apt can read`,
    {
      hint: 'write the address of a Debian mirror as "mirror:" in the profile (http://…/debian)',
      because: BECAUSE,
    },
  );
}

/** The folder of a `file:` URI. */
export function folderOf(uri: string): string {
  return resolve(decodeURIComponent(uri.replace(/^file:(?:\/\/(?=\/))?/, '')));
}

async function inFolder(mirror: string, source: PlanSource): Promise<string> {
  const { archive } = source;
  const folder = folderOf(mirror);
  const candidates = [join(folder, 'apt', archive), join(folder, archive)];
  if (archive === 'debian') candidates.push(folder);
  else candidates.push(sibling(folder, archive));
  if (isForeign(source)) {
    const names = ['InRelease', 'Release'].map((name) => `${suiteFolder(source.suite)}${name}`);
    for (const candidate of candidates) {
      for (const name of names) if (await isThere(join(candidate, name))) return `file:${candidate}`;
    }
    throw new WorkError(`the folder ${folder} does not hold the archive "${archive}"`, {
      hint: `looked for ${names.join(' or ')} in ${candidates.join(', ')}; is the USB stick plugged in? Its publisher's own address can be given with --archive ${archive}=${source.uri}`,
      because: source.because ?? BECAUSE,
    });
  }
  for (const candidate of candidates) {
    if (await isFolder(join(candidate, 'dists'))) return `file:${candidate}`;
  }
  throw new WorkError(`the folder ${folder} does not hold the archive "${archive}"`, {
    hint: `looked for dists/ in ${candidates.join(', ')}; is the USB stick plugged in?`,
    because: BECAUSE,
  });
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** The sources in `<etcApt>/sources.list` and `<etcApt>/sources.list.d/`. */
export async function readHostEntries(etcApt: string): Promise<AptEntry[]> {
  const folder = join(etcApt, 'sources.list.d');
  const names = (await readdir(folder).catch(() => [])).sort();
  const files = [join(etcApt, 'sources.list'), ...names.map((name) => join(folder, name))];
  const entries: AptEntry[] = [];
  for (const file of files) {
    if (!/\.(?:list|sources)$/.test(file)) continue;
    const text = await readFile(file, 'utf8').catch(() => '');
    entries.push(...(file.endsWith('.sources') ? parseDeb822Sources(text) : parseOneLineSources(text)));
  }
  return entries;
}

/**
 * The keyring file of every archive, for checking signatures without a mirror.
 * @throws WorkError when one is not on this computer.
 */
export async function keyringsOf(
  sources: readonly KeyOwner[],
  settings: Omit<MirrorSettings, 'mirror'> = {},
): Promise<Record<string, string>> {
  const keyrings: Record<string, string> = {};
  for (const source of sources) keyrings[source.archive] ??= await findKeyring(source, settings);
  return keyrings;
}

type KeyOwner = Pick<PlanSource, 'archive'> & Partial<PlanSource>;

/** Keyrings are named after their archive; `debian-security` is signed by Debian's keys. */
async function findKeyring(source: KeyOwner, settings: Omit<MirrorSettings, 'mirror'>): Promise<string> {
  const { archive } = source;
  const given =
    settings.keyrings?.[archive] ??
    (archive === 'debian-security' ? settings.keyrings?.['debian'] : undefined);
  const owner = archive === 'debian-security' ? 'debian' : archive;
  const stem = `${owner}-archive-keyring`;
  const candidates =
    given !== undefined
      ? [resolve(given)]
      : (settings.keyringFolders ?? keyringFolders()).flatMap((folder) =>
          [owner, `${owner}.asc`, `${stem}.gpg`, `${stem}.pgp`, `${stem}.asc`].map((name) =>
            join(folder, name),
          ),
        );
  for (const candidate of candidates) {
    if (await isThere(candidate)) return candidate;
  }
  throw new WorkError(`the keys of the archive "${archive}" are not on this computer`, {
    hint:
      given !== undefined
        ? `there is no file ${given}`
        : isForeign(source)
          ? `get the key of its publisher, whose fingerprint is ${source.fingerprints?.join(' or ')}, and give it with --keyring ${archive}=FILE; or take out what asks for it (${source.because?.join('.')})`
          : `get the file of the package ${stem}, and give it with --keyring ${archive}=FILE`,
    because: source.because ?? BECAUSE,
  });
}
