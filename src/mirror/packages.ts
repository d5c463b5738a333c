import { controlField as field, dependencyChoices, packageNames as names } from '../host/deb.js';

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
  /** The same, each dependency with its alternatives. */
  readonly alternatives: readonly (readonly string[])[];
  readonly provides: readonly string[];
}

/** What a stanza of a `Packages` list says. */
export function toRecord(stanza: string): PackageRecord {
  const name = field(stanza, 'Package');
  const version = field(stanza, 'Version');
  // `Source: name (version)`, version only when it differs; no field at all when name and version are the same.
  const source = /^(\S+)(?:\s+\((\S+)\))?/.exec(field(stanza, 'Source'));
  const alternatives = dependencyChoices(stanza);
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
    depends: alternatives.flat(),
    alternatives,
    provides: names(field(stanza, 'Provides')),
  };
}

/** One list: its text, and where each stanza begins. */
interface List {
  readonly text: string;
  readonly starts: number[];
  readonly names: string[];
}

/**
 * The package lists of one suite for one architecture, held in memory as they are (latin1 text: quick, and no byte is lost).
 * Stanzas are found by name; records are made for the few that are asked for.
 */
export class PackagesIndex {
  readonly #lists: List[] = [];
  /** Where the stanzas of a name are: list, and number in it. */
  readonly #places = new Map<string, [list: List, at: number][]>();
  #providers: Map<string, string[]> | null = null;
  #base: Set<string> | null = null;

  /** @param bytes an uncompressed `Packages` file. */
  add(bytes: Buffer): void {
    const text = bytes.toString('latin1');
    const list: List = { text, starts: [], names: [] };
    this.#lists.push(list);
    this.#providers = this.#base = null;
    for (let from = 0; from < text.length;) {
      const found = text.indexOf('\n\n', from);
      const to = found < 0 ? text.length : found;
      // `Package` comes first in every list Debian's and reprepro's programs write; elsewhere it is looked for.
      const name = text.startsWith('Package: ', from)
        ? text.slice(from + 9, lineEnd(text, from + 9)).trim()
        : field(text.slice(from, to), 'Package');
      if (name !== '') {
        const at = list.starts.push(from) - 1;
        list.names.push(name);
        const places = this.#places.get(name);
        if (places === undefined) this.#places.set(name, [[list, at]]);
        else places.push([list, at]);
      }
      from = to + 2;
    }
  }

  has(name: string): boolean {
    return this.#places.has(name);
  }

  /** The stanzas of a package, one for each version in the lists. */
  stanzas(name: string): string[] {
    return (this.#places.get(name) ?? []).map(([{ text, starts }, at]) => {
      const from = starts[at] ?? 0;
      const to = text.indexOf('\n\n', from);
      return `${text.slice(from, to < 0 ? undefined : to).trimEnd()}\n`;
    });
  }

  /** The record of the package `name` at `filename`, or null. */
  record(name: string, filename: string): PackageRecord | null {
    for (const stanza of this.stanzas(name)) {
      const record = toRecord(stanza);
      if (record.filename === filename) return record;
    }
    return null;
  }

  /** Packages that say they provide `name`. */
  providers(name: string): readonly string[] {
    this.#providers ??= this.#readProviders();
    return this.#providers.get(name) ?? [];
  }

  /** Names that are `Essential: yes` or `Priority: required`: the minimum every Debian system holds. */
  get base(): ReadonlySet<string> {
    if (this.#base === null) {
      this.#base = new Set();
      for (const line of ['\nEssential: yes\n', '\nPriority: required\n'])
        for (const { name } of this.#withLine(line)) this.#base.add(name);
    }
    return this.#base;
  }

  #readProviders(): Map<string, string[]> {
    const providers = new Map<string, string[]>();
    for (const { name, text, at } of this.#withLine('\nProvides: ')) {
      for (const provided of names(text.slice(at + 11, lineEnd(text, at + 11)))) {
        const list = providers.get(provided);
        if (list === undefined) providers.set(provided, [name]);
        else list.push(name);
      }
    }
    return providers;
  }

  /** Every place of `line` with the name of the package whose stanza it stands in. */
  *#withLine(line: string): Generator<{ name: string; text: string; at: number }> {
    for (const { text, starts, names: all } of this.#lists) {
      let stanza = 0;
      for (let at = text.indexOf(line); at >= 0; at = text.indexOf(line, at + 1)) {
        while ((starts[stanza + 1] ?? Infinity) <= at + 1) stanza += 1;
        yield { name: all[stanza] ?? '', text, at };
      }
    }
  }
}

function lineEnd(text: string, from: number): number {
  const end = text.indexOf('\n', from);
  return end < 0 ? text.length : end;
}

/**
 * Names of all packages that can be reached from `start` over `Depends` and `Pre-Depends`, taking every alternative and every
 * provider: more than a solver can ever look at, and still few.
 */
export function reachable(
  start: Iterable<string>,
  indexes: readonly Pick<PackagesIndex, 'stanzas' | 'providers'>[],
): Set<string> {
  const seen = new Set(start);
  // A set is walked in the order of adding, new ones included.
  for (const name of seen) {
    for (const index of indexes) {
      for (const provider of index.providers(name)) seen.add(provider);
      for (const stanza of index.stanzas(name))
        for (const one of dependencyChoices(stanza).flat()) seen.add(one);
    }
  }
  return seen;
}
