import { link, mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { UsageError, WorkError } from '../../../diagnostics/errors.js';
import type { Host } from '../../../host/host.js';

export interface PublicKey {
  readonly file: string;
  /** Type, key and comment on one line (sshd(8), AUTHORIZED_KEYS FILE FORMAT). */
  readonly line: string;
}

const TYPE =
  /^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com)$/;

/** The public key in the text of a `.pub` file, or null. */
export function publicKeyIn(text: string): string | null {
  for (const line of text.split(/\r?\n/)) {
    const [type = '', key = '', ...comment] = line.trim().split(/\s+/);
    if (!TYPE.test(type) || !/^[A-Za-z0-9+/]+={0,2}$/.test(key)) continue;
    // The key repeats its type inside (RFC 4253, 6.6).
    const inner = Buffer.from(key, 'base64');
    const length = inner.length >= 4 ? inner.readUInt32BE(0) : 0;
    if (inner.subarray(4, 4 + length).toString('latin1') !== type) continue;
    return [type, key, ...comment].join(' ');
  }
  return null;
}

/** Public keys in ~/.ssh: ed25519 first, then by name. A folder that is not there has none. */
export async function findKeys(home: string): Promise<readonly PublicKey[]> {
  const folder = join(home, '.ssh');
  const names = await readdir(folder).catch(() => [] as string[]);
  const keys: PublicKey[] = [];
  for (const name of names.filter((entry) => entry.endsWith('.pub')).sort()) {
    const file = join(folder, name);
    const size = await stat(file).then(
      (info) => (info.isFile() ? info.size : Infinity),
      () => Infinity,
    );
    if (size > 20_000) continue;
    const line = publicKeyIn(await readFile(file, 'utf8').catch(() => ''));
    if (line !== null) keys.push({ file, line });
  }
  const rank = (key: PublicKey): number => (key.line.includes('ed25519') ? 0 : 1);
  return keys.toSorted((a, b) => rank(a) - rank(b));
}

/** Reads the public key of a file the person named. */
export async function readKey(file: string): Promise<PublicKey> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    throw new UsageError(`the SSH key ${file} cannot be read (${code})`, {
      hint: 'name a .pub file, or "found", "make" or "none"',
    });
  }
  if (/-----BEGIN .*PRIVATE KEY/.test(text))
    throw new UsageError(`${file} is a private key, which must stay where it is`, {
      hint: `name the public one: ${file}.pub`,
    });
  const line = publicKeyIn(text);
  if (line === null) throw new UsageError(`${file} holds no public SSH key`, { hint: 'name a .pub file' });
  return { file, line };
}

/**
 * Makes an ed25519 key pair in ~/.ssh with ssh-keygen(1). Never overwrites one.
 * @returns the public key, and a function that takes the pair away again.
 */
export async function makeKey(
  host: Host,
  home: string,
  name: string,
): Promise<{ key: PublicKey; undo: () => Promise<void> }> {
  const folder = join(home, '.ssh');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const scratch = await host.temporary('.commesh-key', folder);
  const fresh = join(scratch, 'key');
  await host.exec(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', `commesh-${name}`, '-f', fresh], {
    title: 'making an SSH key',
    hint: 'ssh-keygen comes with the package openssh-client',
  });
  const made = join(folder, `commesh-${name}`);
  const linked: string[] = [];
  const undo = async (): Promise<void> => {
    for (const path of linked) await rm(path, { force: true });
  };
  try {
    for (const ending of ['', '.pub']) {
      await link(fresh + ending, made + ending);
      linked.push(made + ending);
    }
  } catch (error) {
    await undo();
    if ((error as NodeJS.ErrnoException).code === 'EEXIST')
      throw new WorkError(`there is a key ${made} already`, { hint: `use it: --ssh-key ${made}.pub` });
    throw error;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
  return { key: await readKey(`${made}.pub`), undo };
}
