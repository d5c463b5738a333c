import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type * as openPgp from 'openpgp';
import { parseStanzas, words } from './deb822.js';

/** What the signed release of a suite says. */
export interface Release {
  readonly origin: string;
  readonly label: string;
  readonly suite: string;
  readonly codename: string;
  readonly version: string;
  /** Seconds since 1970. */
  readonly date: number;
  /** Seconds since 1970; null when the archive promises none. */
  readonly validUntil: number | null;
  /** Packages of architecture `all` stand in lists of their own (`binary-all`). */
  readonly ownAllLists: boolean;
  /** path below the suite's folder (suiteFolder) → size and SHA-256. */
  readonly files: ReadonlyMap<string, { readonly size: number; readonly sha256: string }>;
}

/** Reads the signed text of an InRelease or Release file (DebianRepository/Format). */
export function parseRelease(text: string): Release {
  const stanza = parseStanzas(text)[0] ?? new Map<string, string>();
  const files = new Map<string, { size: number; sha256: string }>();
  for (const line of (stanza.get('sha256') ?? '').split('\n')) {
    const [digest = '', size = '', path = ''] = words(line);
    if (path !== '')
      files.set(path.replace(/^\.\//, ''), { size: Number(size), sha256: digest.toLowerCase() });
  }
  const seconds = (key: string): number => Math.floor(Date.parse(stanza.get(key) ?? '') / 1000);
  return {
    origin: stanza.get('origin') ?? '',
    label: stanza.get('label') ?? '',
    suite: stanza.get('suite') ?? '',
    codename: stanza.get('codename') ?? '',
    version: stanza.get('version') ?? '',
    date: seconds('date'),
    validUntil: stanza.has('valid-until') ? seconds('valid-until') : null,
    ownAllLists:
      words(stanza.get('architectures')).includes('all') &&
      !words(stanza.get('no-support-for-architecture-all')).includes('Packages'),
    files,
  };
}

/** Why a signed file is not to be trusted. */
export type SignatureFault = 'unsigned' | 'unknown-key' | 'wrong' | 'expired-key' | 'revoked-key';

const FAULTS: Readonly<Record<SignatureFault, string>> = {
  unsigned: 'it carries no signature',
  'unknown-key': 'it is signed with a key this keyring does not hold',
  wrong: 'the signature does not fit the content',
  'expired-key': 'the key that signed it has expired',
  'revoked-key': 'the key was revoked',
};

export interface Signed {
  /** The text that was signed; nothing outside the signature. */
  readonly text: string;
  /** Fingerprints (40 hex digits, upper case) of the keys whose signature is good, signing keys and their main keys. */
  readonly fingerprints: readonly string[];
}

/** A refusal: its kind, and a sentence. */
export interface Refused {
  readonly fault: SignatureFault;
  readonly reason: string;
}

type OpenPgp = typeof openPgp;
type Keys = Awaited<ReturnType<OpenPgp['readKeys']>>;

const refuse = (fault: SignatureFault): Refused => ({ fault, reason: FAULTS[fault] });

const isArmoured = (bytes: Buffer): boolean => bytes.subarray(0, 5).toString() === '-----';

// Loaded when something is to be checked: `check` and `plan` start without it.
let openpgp: Promise<OpenPgp> | undefined;
const keyrings = new Map<string, Promise<Keys>>();

/** The public keys in a file (binary or armoured), or in all files of a folder. Read once per run. */
async function readKeyring(pgp: OpenPgp, path: string): Promise<Keys> {
  const files = (await stat(path)).isDirectory()
    ? (await readdir(path)).filter((name) => /\.(?:gpg|pgp|asc)$/.test(name)).map((name) => join(path, name))
    : [path];
  const read = files.map(async (file) => {
    const bytes = await readFile(file);
    return isArmoured(bytes)
      ? await pgp.readKeys({ armoredKeys: bytes.toString() })
      : await pgp.readKeys({ binaryKeys: bytes });
  });
  return (await Promise.all(read)).flat();
}

async function keysOf(pgp: OpenPgp, keyring: string): Promise<Keys> {
  let keys = keyrings.get(keyring);
  if (keys === undefined) keyrings.set(keyring, (keys = readKeyring(pgp, keyring)));
  return await keys;
}

/** The names under which the signed release of a suite lies in its folder: with its signature inside, or beside it. */
export const RELEASE_NAMES = ['InRelease', 'Release', 'Release.gpg'] as const;

/**
 * Checks the signed release of a suite: `InRelease`, or `Release` and its detached signature `Release.gpg`.
 * @param files their bytes by name (RELEASE_NAMES).
 * @param keyring file or folder with public keys.
 * @param at as for verifySigned.
 */
export async function verifyRelease(
  files: ReadonlyMap<string, Buffer>,
  keyring: string,
  at: number | null = null,
): Promise<Signed | Refused> {
  const whole = files.get('InRelease');
  if (whole !== undefined) return await verifySigned(whole.toString(), keyring, at);
  const [text, signature] = [files.get('Release'), files.get('Release.gpg')];
  if (text === undefined || signature === undefined) return refuse('unsigned');
  return await verifyDetached(text, signature, keyring, at);
}

/**
 * Checks a clear-signed text against a keyring (RFC 9580, section 7) and gives the text the signature covers, or why it is
 * not to be trusted. As apt does, one good signature is enough, signatures of keys not in the keyring do not count, and a bad
 * one spoils all.
 * @param text the whole InRelease file.
 * @param keyring file or folder with public keys.
 * @param at the keys must not have expired at this time, milliseconds since 1970. Null: at the time of signing.
 */
export async function verifySigned(
  text: string,
  keyring: string,
  at: number | null = null,
): Promise<Signed | Refused> {
  const pgp = await (openpgp ??= import('openpgp'));
  const verificationKeys = await keysOf(pgp, keyring);
  let message: Awaited<ReturnType<OpenPgp['readCleartextMessage']>>;
  try {
    message = await pgp.readCleartextMessage({ cleartextMessage: text });
  } catch {
    return refuse('unsigned');
  }
  // Times are compared below: a slow clock at the place of building must not make a good archive bad.
  const { signatures, data } = await pgp.verify({ message, verificationKeys, date: null as unknown as Date });
  return await judge(signatures, verificationKeys, String(data), at);
}

/** The same for a signature in a file of its own, armoured or not (RFC 9580, section 10.4). */
async function verifyDetached(
  text: Buffer,
  detached: Buffer,
  keyring: string,
  at: number | null,
): Promise<Signed | Refused> {
  const pgp = await (openpgp ??= import('openpgp'));
  const verificationKeys = await keysOf(pgp, keyring);
  let signature: Awaited<ReturnType<OpenPgp['readSignature']>>;
  try {
    signature = isArmoured(detached)
      ? await pgp.readSignature({ armoredSignature: detached.toString() })
      : await pgp.readSignature({ binarySignature: detached });
  } catch {
    return refuse('unsigned');
  }
  const message = await pgp.createMessage({ binary: text });
  const { signatures } = await pgp.verify({
    message,
    signature,
    verificationKeys,
    date: null as unknown as Date,
  });
  return await judge(signatures, verificationKeys, text.toString(), at);
}

/** What the signatures of a text are worth. */
async function judge(
  signatures: Awaited<ReturnType<OpenPgp['verify']>>['signatures'],
  verificationKeys: Keys,
  text: string,
  at: number | null,
): Promise<Signed | Refused> {
  const fingerprints = new Set<string>();
  let fault: SignatureFault = signatures.length === 0 ? 'unsigned' : 'unknown-key';
  for (const { keyID, verified, signature } of signatures) {
    // It may be refused before anybody waits for it.
    const good = verified.then(
      () => true,
      () => false,
    );
    const key = verificationKeys.find((candidate) => candidate.getKeys(keyID).length > 0);
    const signer = key?.getKeys(keyID)[0];
    if (key === undefined || signer === undefined) continue;
    const packet = (await signature).packets[0];
    const usableAt = (date: Date): Promise<boolean> =>
      key.getSigningKey(keyID, date).then(
        () => true,
        () => false,
      );
    const revoked = await key.isRevoked(undefined, undefined, null as unknown as Date);
    if (revoked) return refuse('revoked-key');
    if (!(await good)) {
      if (packet?.created && !(await usableAt(packet.created))) {
        fault = 'expired-key';
        continue;
      }
      return refuse('wrong');
    }
    const expires = packet?.getExpirationTime() ?? null;
    if (
      at !== null &&
      (!(await usableAt(new Date(at))) || (expires instanceof Date && expires.getTime() < at))
    ) {
      fault = 'expired-key';
      continue;
    }
    for (const one of [signer.getFingerprint(), key.getFingerprint()]) {
      if (/^[0-9a-f]{40}$/i.test(one)) fingerprints.add(one.toUpperCase());
    }
  }
  if (fingerprints.size === 0) return refuse(fault);
  return { text, fingerprints: [...fingerprints].sort() };
}
