import { readFile } from 'node:fs/promises';
import { UsageError } from '../../../diagnostics/errors.js';

/** A person as a list names them. */
export interface Named {
  /** What stands before the address's domain. */
  readonly name: string;
  /** What people call them, when the list says so. */
  readonly display?: string;
}

// Narrower than what XMPP (RFC 7622) and Matrix (appendices, "User identifiers") take: typed alike on every phone.
const NAME = /^[a-z0-9][a-z0-9._-]{0,31}$/;
const RESERVED = ['kit-service'];

/** Why nobody can be called so, or null. */
export function nameFault(name: string): string | null {
  if (!NAME.test(name) || /^\d+$/.test(name))
    return 'a name has small letters, digits, dots, hyphens and underscores, at most 32, begins with a letter or digit, and is not digits only';
  if (name.startsWith('verify-')) return 'names that begin with "verify-" are kept for "commeshctl verify"';
  if (RESERVED.includes(name)) return "this name is the kit's own";
  return null;
}

/**
 * People in a list: a name in each line, or CSV (RFC 4180) whose first column is the name and whose second, if there is one, what the
 * person is called. Empty lines and lines that begin with # do not count; neither does a first line with the heading "name".
 * @throws UsageError that names the line.
 */
export function parseNames(text: string, file: string): readonly Named[] {
  const people: Named[] = [];
  text
    .replace(/^\uFEFF/, '')
    .split(/\r\n|\n|\r/)
    .forEach((line, index) => {
      if (line.trim() === '' || line.trimStart().startsWith('#')) return;
      const [name = '', display = ''] = columns(line);
      if (people.length === 0 && index === 0 && name.toLowerCase() === 'name') return;
      const fault = nameFault(name);
      if (fault !== null) throw new UsageError(`${file}, line ${index + 1}: "${name}": ${fault}`, HINT);
      if (people.some((other) => other.name === name))
        throw new UsageError(`${file}, line ${index + 1}: "${name}" is in the list twice`);
      people.push(display === '' || display === name ? { name } : { name, display });
    });
  if (people.length === 0) throw new UsageError(`${file} names nobody`, HINT);
  return people;
}

const HINT = { hint: 'one name in each line, for example "anna", or "anna,Anna Moyo"' };

/** Columns of a CSV line, separated by commas, semicolons or tabs, as spreadsheets of different countries write them. */
function columns(line: string): readonly string[] {
  const found = [...line.matchAll(/(?:^|[,;\t])(?:\s*"((?:[^"]|"")*)"\s*|([^,;\t]*))/g)];
  return found.map(([, quoted, plain]) => (quoted?.replaceAll('""', '"') ?? plain ?? '').trim());
}

/**
 * The people a command line names, in its words and in a file.
 * @throws UsageError for a name nobody can have, a name twice, or a file that cannot be read.
 */
export async function namedPeople(
  words: readonly string[],
  file: string | undefined,
): Promise<readonly Named[]> {
  for (const [index, name] of words.entries()) {
    const fault = nameFault(name);
    if (fault !== null) throw new UsageError(`"${name}": ${fault}`);
    if (words.indexOf(name) !== index) throw new UsageError(`"${name}" is named twice`);
  }
  const people: Named[] = words.map((name) => ({ name }));
  if (file === undefined) return people;
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new UsageError(`the list of names cannot be read: ${file}`, { cause: error });
  });
  for (const person of parseNames(text, file)) {
    if (words.includes(person.name))
      throw new UsageError(`"${person.name}" is named both on the command line and in ${file}`);
    people.push(person);
  }
  return people;
}
