import { createReadStream } from 'node:fs';

/** What is kept of a stanza of a `Packages` index. */
export interface PackageRecord {
  readonly name: string;
  readonly version: string;
  readonly arch: string;
  /** Path below the archive's root: `pool/main/a/adduser/adduser_3.152_all.deb`. */
  readonly filename: string;
  readonly size: number;
  readonly sha256: string;
  readonly source: string;
  readonly sourceVersion: string;
  readonly installedKiB: number;
  /** Names in `Pre-Depends` and `Depends`, all alternatives, without versions. */
  readonly depends: readonly string[];
  readonly provides: readonly string[];
}

/** `\nField: ` of a stanza that starts with a newline; '' when absent. */
function field(stanza: string, name: string): string {
  const at = stanza.indexOf(`\n${name}: `);
  if (at < 0) return '';
  const from = at + name.length + 3;
  const end = stanza.indexOf('\n', from);
  return stanza.slice(from, end < 0 ? undefined : end);
}

const KEPT = [
  'Package',
  'Version',
  'Architecture',
  'Filename',
  'Size',
  'SHA256',
  'Source',
  'Installed-Size',
  'Pre-Depends',
  'Depends',
  'Provides',
];

function names(list: string): string[] {
  return list
    .split(/[,|]/)
    .map((part) => /^\s*([a-z0-9][a-z0-9+.-]+)/.exec(part)?.[1] ?? '')
    .filter(Boolean);
}

function toRecord(stanza: string): PackageRecord {
  const name = field(stanza, 'Package');
  const version = field(stanza, 'Version');
  // `Source: name (version)`, version only when it differs; no field at all when name and version are the same.
  const source = /^(\S+)(?:\s+\((\S+)\))?/.exec(field(stanza, 'Source'));
  return {
    name,
    version,
    arch: field(stanza, 'Architecture'),
    filename: field(stanza, 'Filename').replace(/^\.\//, ''),
    size: Number(field(stanza, 'Size')),
    sha256: field(stanza, 'SHA256').toLowerCase(),
    source: source?.[1] ?? name,
    sourceVersion: source?.[2] ?? version,
    installedKiB: Number(field(stanza, 'Installed-Size') || 0),
    depends: names([field(stanza, 'Pre-Depends'), field(stanza, 'Depends')].filter(Boolean).join(',')),
    provides: names(field(stanza, 'Provides')),
  };
}

/**
 * An index held in memory: only the fields used, as text, about 25 MB for Debian's 65,000 packages; records are made
 * for the few that are asked for.
 */
export class PackagesIndex {
  readonly #stanzas = new Map<string, string>();
  /** Names that are `Essential: yes` or `Priority: required`: the minimum every Debian system holds. */
  readonly base = new Set<string>();
  readonly names = new Set<string>();

  /** @param only keep nothing but the stanzas of these files. */
  constructor(private readonly only: ReadonlySet<string> | null = null) {}

  add(stanza: string): void {
    const filename = field(stanza, 'Filename').replace(/^\.\//, '');
    if (this.only !== null && !this.only.has(filename)) return;
    const name = field(stanza, 'Package');
    if (filename === '' || name === '') return;
    this.names.add(name);
    if (field(stanza, 'Essential') === 'yes' || field(stanza, 'Priority') === 'required') this.base.add(name);
    // join makes a string of its own; a slice would keep the whole chunk it was cut from in memory.
    const kept: string[] = [''];
    for (const key of KEPT) {
      const value = field(stanza, key);
      if (value !== '') kept.push(`${key}: ${value}`);
    }
    this.#stanzas.set(filename, kept.join('\n'));
  }

  /** The record of the .deb at `filename`, or null. */
  record(filename: string): PackageRecord | null {
    const stanza = this.#stanzas.get(filename);
    return stanza === undefined ? null : toRecord(stanza);
  }
}

/** Reads an uncompressed `Packages` file into `index`. */
export async function readPackages(file: string, index = new PackagesIndex()): Promise<PackagesIndex> {
  let rest = '';
  // The fields kept are ASCII; latin1 is the quickest way to text and cannot split a character.
  for await (const chunk of createReadStream(file, { encoding: 'latin1', highWaterMark: 1 << 20 })) {
    const text = rest + (chunk as string);
    let from = 0;
    for (let end = text.indexOf('\n\n', from); end >= 0; end = text.indexOf('\n\n', from)) {
      index.add(`\n${text.slice(from, end)}`);
      from = end + 2;
    }
    rest = text.slice(from);
  }
  if (rest.trim() !== '') index.add(`\n${rest}`);
  return index;
}
