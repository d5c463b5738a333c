import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ToolError, WorkError } from '../diagnostics/errors.js';
import type { ExecResult, Host } from '../host/host.js';
import { parseStanzas, words } from './deb822.js';

/** What a signed InRelease says. */
export interface Release {
  readonly origin: string;
  readonly label: string;
  readonly suite: string;
  readonly codename: string;
  /** Seconds since 1970. */
  readonly date: number;
  /** path below `dists/<suite>/` → size and SHA-256. */
  readonly files: ReadonlyMap<string, { readonly size: number; readonly sha256: string }>;
}

/** Reads the signed text of an InRelease file. */
export function parseRelease(text: string): Release {
  const stanza = parseStanzas(text)[0] ?? new Map<string, string>();
  const files = new Map<string, { size: number; sha256: string }>();
  for (const line of (stanza.get('sha256') ?? '').split('\n')) {
    const [digest = '', size = '', path = ''] = words(line);
    if (path !== '') files.set(path, { size: Number(size), sha256: digest.toLowerCase() });
  }
  return {
    origin: stanza.get('origin') ?? '',
    label: stanza.get('label') ?? '',
    suite: stanza.get('suite') ?? '',
    codename: stanza.get('codename') ?? '',
    date: Math.floor(Date.parse(stanza.get('date') ?? '') / 1000),
    files,
  };
}

const UNKNOWN_KEY = 'it is signed with a key this keyring does not hold';
const WRONG_CONTENT = 'the signature does not fit the content';
const NO_SIGNATURE = 'it carries no signature';

export interface Signed {
  /** The text that was signed; nothing outside the signature. */
  readonly text: string;
  /** Fingerprints (40 hex digits, upper case) of the keys whose signature is good, signing keys and their main keys. */
  readonly fingerprints: readonly string[];
}

/**
 * Checks a clear-signed file against a keyring with gpgv (or sqv, which Debian 13's apt uses instead) and gives the text
 * the signature covers, or null with the reason when no key of the keyring has signed it.
 * As apt does, one good signature is enough, and a bad one spoils all.
 */
export async function verifySigned(
  host: Host,
  file: string,
  keyring: string,
): Promise<Signed | { readonly reason: string }> {
  const folder = await host.temporary('commesh-verify');
  const output = join(folder, 'text');
  const title = 'checking a signature';
  const gpgv = await tryExec(
    host,
    ['gpgv', '--keyring', keyring, '--status-fd', '1', '--output', output, file],
    title,
  );
  if (gpgv !== null) {
    const good = gpgv.stdout.split('\n').filter((line) => /^\[GNUPG:\] VALIDSIG /.test(line));
    const bad = /^\[GNUPG:\] (BADSIG|REVKEYSIG)/m.exec(gpgv.stdout)?.[1];
    if (bad !== undefined) return { reason: bad === 'BADSIG' ? WRONG_CONTENT : 'the key was revoked' };
    // gpgv ends with 2 when any of several signatures has an unknown key; the status lines tell what counts.
    if (good.length === 0) return { reason: tellGpgv(gpgv) };
    const fingerprints = good.flatMap((line) => {
      const parts = line.split(' ');
      return [parts[2] ?? '', parts[parts.length - 1] ?? ''];
    });
    return { text: await readFile(output, 'utf8'), fingerprints: unique(fingerprints) };
  }
  const sqv = await tryExec(
    host,
    ['sqv', '--keyring', keyring, '--cleartext', '--output', output, file],
    title,
  );
  if (sqv !== null) {
    const fingerprints = unique(sqv.stdout.split(/\s+/));
    if (sqv.exitCode !== 0 || fingerprints.length === 0) {
      return { reason: tellSqv(sqv) };
    }
    return { text: await readFile(output, 'utf8'), fingerprints };
  }
  throw new WorkError('neither gpgv nor sqv is installed, so no signature can be checked', {
    hint: '"commeshctl doctor --install" gets what is missing',
  });
}

/** Runs a program that may be missing: null then. */
async function tryExec(host: Host, argv: readonly string[], title: string): Promise<ExecResult | null> {
  try {
    return await host.exec(argv, { allowFailure: true, title });
  } catch (error) {
    if (error instanceof ToolError && error.status === 'not found') return null;
    throw error;
  }
}

function tellGpgv(result: ExecResult): string {
  if (/NO_PUBKEY/.test(result.stdout)) return UNKNOWN_KEY;
  if (/EXPKEYSIG|KEYEXPIRED/.test(result.stdout)) return 'the key that signed it has expired';
  return NO_SIGNATURE;
}

function tellSqv(result: ExecResult): string {
  if (/Missing key/i.test(result.stderr)) return UNKNOWN_KEY;
  if (/manipulated|Bad signature/i.test(result.stderr)) return WRONG_CONTENT;
  if (/\bEOF\b|Malformed|No signature/i.test(result.stderr)) return NO_SIGNATURE;
  return result.stderr.trim().split('\n')[0] || NO_SIGNATURE;
}

function unique(values: readonly string[]): string[] {
  return [
    ...new Set(values.filter((value) => /^[0-9A-F]{40}$/i.test(value)).map((value) => value.toUpperCase())),
  ].sort();
}
