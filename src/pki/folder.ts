import { lstat, mkdir, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { WorkError } from '../diagnostics/errors.js';
import { readTextIfThere, writeAtomic } from '../host/files.js';
import type { Host } from '../host/host.js';
import { withFolder } from '../host/mutex.js';

const LOCK_WAIT_SECONDS = 120;

const README = `This folder is the identity of one kit.

It holds the private keys and passwords that commeshctl made for the site described in the profile
beside it: the site's own certificate authority (ca.key), the keys of the kit's services (tls/), the
kit's SSH keys, the key of its backups and the passwords its services share.

- Keep it with the profile. Without it no spare card can be made, backups cannot be read, and every
  phone has to be set up again.
- Keep a copy in a second safe place, for example an encrypted USB stick.
- Never publish it: not in Git, not in a shared folder, not in an e-mail. Who has it can read the
  site's backups and pretend to be the kit.
- If it was lost or copied by someone else, move it away and build the image again: commeshctl then
  makes a new one, and every phone needs the new CA.
`;

/** The secrets folder that belongs to a profile: `clinic.yaml` has `clinic.secrets` beside it. */
export function secretsFolder(profilePath: string): string {
  return join(dirname(profilePath), `${basename(profilePath).replace(/\.ya?ml$/i, '')}.secrets`);
}

/** A word for a command line that a person copies. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Makes the folder (0700) when there is none, and refuses one that others can read. */
export async function prepareFolder(host: Host, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await guardFolder(host, folder);
}

/** Throws WorkError, with the command that mends it, when the folder or a file in it is not private. */
export async function guardFolder(host: Host, folder: string): Promise<void> {
  const info = await stat(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
    throw new WorkError(`the secrets folder ${folder} is not there`, {
      hint:
        'it is made by "commeshctl build-image" beside the profile; ' +
        'if the kit was built on another computer, copy the folder from there',
    });
  });
  if (!info.isDirectory())
    throw new WorkError(`${folder} is not a folder`, { hint: 'move it out of the way' });
  guardEntry(host, folder, folder, info);
  for (const inner of [folder, join(folder, 'values'), join(folder, 'tls')]) {
    for (const name of await readdir(inner).catch(() => [])) {
      const path = join(inner, name);
      // Another run's temporary file may be gone by now.
      const entry = await lstat(path).catch(() => null);
      if (entry === null || entry.isSymbolicLink()) continue;
      guardEntry(host, folder, path, entry);
    }
  }
}

function guardEntry(
  host: Host,
  folder: string,
  path: string,
  info: { readonly uid: number; readonly mode: number },
): void {
  if (info.uid !== host.uid) {
    throw new WorkError(`${path} belongs to another user (id ${info.uid})`, {
      hint: `run commeshctl as that user, or take the folder over: sudo chown -R "$(id -u)" ${shellWord(folder)}`,
    });
  }
  if ((info.mode & 0o077) !== 0) {
    const mode = (info.mode & 0o777).toString(8).padStart(4, '0');
    throw new WorkError(`other users of this computer can read ${path} (mode ${mode})`, {
      hint:
        `close it: chmod -R go-rwx ${shellWord(folder)} ` +
        '(if that changes nothing, the disk cannot keep files private, like most USB sticks: ' +
        'move the profile and its folder to the home folder)',
    });
  }
}

/** Runs `work` while no other commeshctl uses the folder. */
export async function locked<T>(host: Host, folder: string, work: () => Promise<T>): Promise<T> {
  const done = await withFolder(folder, host.signal, LOCK_WAIT_SECONDS * 1000, async () => {
    await describeFolder(folder);
    return await work();
  });
  if (done === null) {
    throw new WorkError(`another commeshctl is using ${folder}`, {
      hint: 'wait until it has finished, then try again',
    });
  }
  return done.result;
}

/** The notes every folder has: what it is, and that it stays out of Git even under "git add .". */
async function describeFolder(folder: string): Promise<void> {
  for (const [name, text] of [
    ['README.txt', README],
    ['.gitignore', '*\n'],
  ] as const) {
    const path = join(folder, name);
    if ((await readTextIfThere(path)) === null) await writeAtomic(path, text, 0o600);
  }
}
