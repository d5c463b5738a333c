import { mkdir, readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { UsageError, WorkError } from '../diagnostics/errors.js';
import { readTextIfThere, writeAtomic } from '../host/files.js';
import type { Host } from '../host/host.js';
import { guardFolder, locked, prepareFolder, secretsFolder, shellWord } from './folder.js';
import { makeSshKey, publicSshKey } from './ssh-key.js';
import type { SecretNeed, SecretValues } from './types.js';
import { WORDS } from './words.js';

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const ID = /^[a-z0-9][a-z0-9_-]{0,63}$/;
/** Shorter values would strike out half of every sentence. */
const SHORTEST_REDACTED = 4;

/** The opened store. Values stay in memory; nothing of it is printed by anyone. */
export interface SecretStore extends SecretValues {
  readonly folder: string;
  /** Sorted. */
  ids(): readonly string[];
  /** Replaces every known secret value by `[secret: <id>]`, also where it was quoted for JSON or a URL. */
  redact(text: string): string;
  /** Adds a value that `redact` strikes out. */
  conceal(name: string, value: string): void;
}

/**
 * Opens the secrets beside a profile, making once what is missing; what exists stays as it is. `given` values (from
 * the profile) win and are stored. Two runs at the same time give the same values.
 * @throws WorkError when the folder is readable by others, belongs to someone else, or holds something unusable
 */
export async function openSecrets(
  host: Host,
  profilePath: string,
  needs: readonly SecretNeed[],
  given: Readonly<Record<string, string>> = {},
): Promise<SecretStore> {
  const folder = secretsFolder(profilePath);
  await prepareFolder(host, folder);
  return locked(host, folder, () => fillSecrets(host, folder, needs, given));
}

/** As `openSecrets`, for a caller that already holds the folder's lock. */
export async function fillSecrets(
  host: Host,
  folder: string,
  needs: readonly SecretNeed[],
  given: Readonly<Record<string, string>>,
): Promise<SecretStore> {
  for (const id of [...needs.map((need) => need.id), ...Object.keys(given)]) {
    if (!ID.test(id)) throw new Error(`a secret's id must match ${ID.source}: ${id}`);
  }
  const sshIds = new Set(needs.filter((need) => need.kind === 'ssh-ed25519').map((need) => need.id));
  await mkdir(join(folder, 'values'), { recursive: true, mode: 0o700 });
  for (const [id, value] of Object.entries(given)) {
    if (value.trim() === '') throw new UsageError(`the value given for the secret "${id}" is empty`);
    if (!sshIds.has(id)) await keep(folder, id, value);
  }
  for (const need of needs) {
    const file = valueFile(folder, need.id);
    if (need.kind === 'ssh-ed25519') await fillSshKey(host, folder, need.id, given[need.id]);
    else if ((await readTextIfThere(file)) === null) await keep(folder, need.id, makeValue(host, need));
  }
  return readStore(host, folder);
}

/**
 * Reads the secrets beside a profile without making any.
 * @throws WorkError when there is no such folder or it is not private
 */
export async function readSecrets(host: Host, profilePath: string): Promise<SecretStore> {
  return readStore(host, secretsFolder(profilePath));
}

function valueFile(folder: string, id: string): string {
  return join(folder, 'values', id);
}

/** Stores a value, unless it is there already. */
async function keep(folder: string, id: string, value: string): Promise<void> {
  const text = `${value.replace(/\r?\n$/, '')}\n`;
  const file = valueFile(folder, id);
  if ((await readTextIfThere(file)) !== text) await writeAtomic(file, text, 0o600);
}

/** The private key is written first: the public one can always be had from it. */
async function fillSshKey(host: Host, folder: string, id: string, given: string | undefined): Promise<void> {
  const file = valueFile(folder, id);
  const existing = given ?? (await readTextIfThere(file));
  let publicKey: string | null;
  if (existing === null) {
    const site = basename(folder).replace(/\.secrets$/, '');
    const pair = makeSshKey(`${site}-${id}`, host.random(4));
    await keep(folder, id, pair.privateKey);
    publicKey = pair.publicKey;
  } else {
    publicKey = publicSshKey(existing);
    if (publicKey === null) {
      throw new WorkError(
        given === undefined
          ? `${file} is not an Ed25519 key that commeshctl can use`
          : `the value given for "${id}" is not an Ed25519 key that commeshctl can use`,
        { hint: 'it has to be an OpenSSH private key without a passphrase: ssh-keygen -t ed25519 -N ""' },
      );
    }
    await keep(folder, id, existing);
  }
  await keep(folder, `${id}.pub`, publicKey);
}

/** A number below `limit`, each equally likely. */
function below(host: Pick<Host, 'random'>, limit: number): number {
  const ceiling = Math.floor(0x1_0000_0000 / limit) * limit;
  for (;;) {
    const value = host.random(4).readUInt32BE();
    if (value < ceiling) return value % limit;
  }
}

/** `count` words of the list in words.ts, joined by hyphens: 10.5 bits each. */
export function makePassphrase(host: Pick<Host, 'random'>, count: number): string {
  return Array.from({ length: count }, () => WORDS[below(host, WORDS.length)]).join('-');
}

function makeValue(host: Host, need: SecretNeed): string {
  const parts = (alphabet: string): string =>
    Array.from({ length: need.length }, () => alphabet[below(host, alphabet.length)]).join('');
  switch (need.kind) {
    case 'token':
      return parts(LETTERS);
    case 'hex':
      return parts('0123456789abcdef');
    case 'words':
      return makePassphrase(host, need.length);
    case 'matrix-ed25519':
      // Algorithm, key version, unpadded base64 of the 32-byte seed (python-signedjson, `write_signing_keys`).
      return `ed25519 a_${parts(LETTERS)} ${host.random(32).toString('base64').replace(/=+$/, '')}`;
    case 'ssh-ed25519':
      throw new Error('an SSH key is a pair, not a value');
  }
}

async function readStore(host: Host, folder: string): Promise<SecretStore> {
  await guardFolder(host, folder);
  const values = new Map<string, string>();
  for (const name of (await readdir(join(folder, 'values')).catch(() => [])).sort()) {
    if (name.startsWith('.')) continue;
    const value = (await readFile(valueFile(folder, name), 'utf8')).replace(/\r?\n$/, '');
    if (value.trim() === '') {
      const file = valueFile(folder, name);
      throw new WorkError(`the secret in ${file} is empty`, {
        hint: `put it back from a copy, or let commeshctl make a new one: rm ${shellWord(file)}`,
      });
    }
    values.set(name, value);
  }
  const concealed = new Map<string, string>();
  for (const [name, value] of values) {
    if (!name.endsWith('.pub')) addConcealed(concealed, name, value);
  }
  return {
    folder,
    ids: () => [...values.keys()],
    value(id) {
      const value = values.get(id);
      if (value === undefined) {
        throw new WorkError(`the site has no secret "${id}"`, {
          hint: `nothing asked for it when ${folder} was filled; run "commeshctl build-image" with the current profile`,
        });
      }
      return value;
    },
    conceal: (name, value) => addConcealed(concealed, name, value),
    redact(text) {
      let clean = text;
      // Longest first: a value that holds another one goes as a whole.
      for (const [value, name] of [...concealed].sort((a, b) => b[0].length - a[0].length)) {
        clean = clean.replaceAll(value, `[secret: ${name}]`);
      }
      return clean;
    },
  };
}

function addConcealed(concealed: Map<string, string>, name: string, value: string): void {
  const lines = value.includes('\n')
    ? value.split(/\r?\n/).filter((line) => line.length >= 16 && !line.startsWith('-----'))
    : [];
  for (const form of [value, JSON.stringify(value).slice(1, -1), encodeURIComponent(value), ...lines]) {
    if (form.length >= SHORTEST_REDACTED) concealed.set(form, name);
  }
}
