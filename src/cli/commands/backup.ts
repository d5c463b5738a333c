import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { WorkError } from '../../diagnostics/errors.js';
import { hashFile, syncFolder } from '../../host/files.js';
import { timed, type Host } from '../../host/host.js';
import { besideProfile } from '../../host/paths.js';
import type { Ssh, SshResult } from '../../host/ssh.js';
import { readIdentity } from '../../pki/identity.js';
import { createDialer } from '../../verify/dialer.js';
import type { Cli } from '../context.js';
import { loadProject } from './project.js';
import { connectKit, readForwards } from './verify.js';

export interface KitOptions {
  /** Path of the profile the kit was built from; its secrets lie beside it. */
  readonly profile: string;
  /** Address or name to reach the kit at; the site's own address when missing. */
  readonly hostname?: string;
  /** A file with a `Forwards` object, as `try` writes one. */
  readonly forwards?: string;
}

export interface BackupOptions extends KitOptions {
  /** Folder the copies go to; `<profile minus .yaml>.backups` when missing. */
  readonly to?: string;
}

/** A file of a restic repository: its path below the repository, and its size in bytes. */
export interface RepositoryFile {
  readonly path: string;
  readonly size: number;
}

/** What `repository list` says about a kit's backups. */
export interface KitRepository {
  /** restic's id of the repository, 64 hex digits. */
  readonly id: string;
  readonly files: readonly RepositoryFile[];
}

/** What a run of `pullBackup` did. */
export interface PulledBackup {
  /** Folder of the copied repository. */
  readonly folder: string;
  /** Id of the newest snapshot, hex. */
  readonly snapshot: string;
  /** Where the kit keeps it, in words. */
  readonly target: string;
  /** Said by the kit about this run; empty when all went as planned. */
  readonly note: string;
  readonly copiedFiles: number;
  readonly copiedBytes: number;
}

const SCRIPTS = '/usr/libexec/commesh';
const HOUR_MS = 3_600_000;

// restic's layout (restic design document, "Repository Layout"): every file but `config` is named after its SHA-256.
const NAME = /^(?:config|(?:data\/[0-9a-f]{2}|index|keys|snapshots)\/[0-9a-f]{64})$/;

/** Runs a script of the kit as root. @throws WorkError with the script's last words when it fails. */
export async function onKit(
  ssh: Ssh,
  command: string,
  what: string,
  options: Parameters<Ssh['exec']>[1] = {},
): Promise<SshResult> {
  const result = await ssh.exec(`sudo -n ${SCRIPTS}/${command}`, { timeoutMs: HOUR_MS, ...options });
  if (result.code !== 0)
    throw new WorkError(
      `${what} failed on the kit: ${result.stderr.trim().split('\n').at(-1) || 'no reason given'}`,
      {
        hint: '"commeshctl verify" looks at the kit\'s disks, clock and services',
      },
    );
  return result;
}

/** Reads the lines `size path` of `repository list` and `repository received`; only names of restic's own layout. */
export function readFileList(text: string): readonly RepositoryFile[] {
  return text
    .split('\n')
    .map((line) => /^(\d+) (\S+)$/.exec(line))
    .filter((match) => match !== null && NAME.test(match[2] ?? ''))
    .map((match) => ({ size: Number(match?.[1]), path: match?.[2] ?? '' }));
}

/** The files below a copied repository. Empty when there is no such folder. */
export async function filesBelow(folder: string): Promise<readonly RepositoryFile[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    },
  );
  const files: RepositoryFile[] = [];
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    const below = path.slice(folder.length + 1);
    if (entry.isFile() && NAME.test(below)) files.push({ path: below, size: (await stat(path)).size });
  }
  return files.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

/** Those of `wanted` that are not in `have` with the same size. Data first: a copy cut off is never a broken one. */
export function missingFiles(
  wanted: readonly RepositoryFile[],
  have: readonly RepositoryFile[],
): readonly RepositoryFile[] {
  const sizes = new Map(have.map(({ path, size }) => [path, size]));
  const order = ['data', 'keys', 'config', 'index', 'snapshots'];
  const rank = ({ path }: RepositoryFile): number => order.indexOf(path.split('/')[0] ?? '');
  return wanted
    .filter(({ path, size }) => sizes.get(path) !== size)
    .toSorted((a, b) => rank(a) - rank(b) || (a.path < b.path ? -1 : 1));
}

/** Sum of sizes, bytes. */
export function bytesOf(files: readonly RepositoryFile[]): number {
  return files.reduce((sum, { size }) => sum + size, 0);
}

/** Asks the kit what its repository holds. */
export async function listRepository(ssh: Ssh): Promise<KitRepository> {
  const { stdout } = await onKit(ssh, 'repository list', 'looking at the backups');
  const id = /^id ([0-9a-f]{64})$/m.exec(stdout)?.[1];
  if (id === undefined) throw new WorkError('the kit did not say which backup repository it has');
  return { id, files: readFileList(stdout) };
}

/**
 * Runs a backup on the kit and copies what is new to `<to>/<id of the repository>/`. Nothing is deleted here: the copy also
 * keeps what the kit has forgotten since. A kit that was flashed anew has a new repository and gets a folder of its own.
 * @throws WorkError when the kit's script fails or a copied file is not what its name says.
 */
export async function pullBackup(host: Host, ssh: Ssh, to: string): Promise<PulledBackup> {
  await timed(host, 'backup', 'back up on the kit', () => onKit(ssh, 'backup', 'the backup'));
  const status = JSON.parse((await ssh.exec('cat /srv/commesh/backup/status.json')).stdout) as {
    snapshot?: string;
    target?: string;
    note?: string;
  };
  const { id, files } = await listRepository(ssh);
  const folder = join(to, id.slice(0, 16));
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const missing = missingFiles(files, await filesBelow(folder));
  if (missing.length > 0)
    await timed(host, 'pull', `copy ${missing.length} files from the kit`, () =>
      receive(host, ssh, folder, missing),
    );
  return {
    folder,
    snapshot: status.snapshot ?? '',
    target: status.target ?? '',
    note: status.note ?? '',
    copiedFiles: missing.length,
    copiedBytes: bytesOf(missing),
  };
}

/** Copies files into a temporary folder, looks at each, and moves them into place in the order given. */
async function receive(
  host: Host,
  ssh: Ssh,
  folder: string,
  missing: readonly RepositoryFile[],
): Promise<void> {
  const part = await host.temporary('.incoming', folder);
  const stream = new PassThrough();
  const total = bytesOf(missing);
  let done = 0;
  stream.on('data', (chunk: Buffer) => {
    done += chunk.length;
    host.emit({ type: 'progress', id: 'pull', done: Math.min(done, total), total, unit: 'bytes' });
  });
  try {
    const unpacking = host.exec(
      ['tar', '--extract', '--file=-', `--directory=${part}`, '--no-same-owner', '--no-same-permissions'],
      { stdin: stream, title: 'unpacking what the kit sends' },
    );
    // An error of the connection is the one to tell, not that of the program it starved.
    unpacking.catch(() => {});
    await onKit(ssh, 'repository send', 'sending the backup', {
      stdin: missing.map(({ path }) => `${path}\n`).join(''),
      stdout: stream,
    });
    await unpacking;
    for (const { path, size } of missing) await settle(join(part, path), join(folder, path), path, size);
    await syncFolder(folder);
  } finally {
    stream.destroy();
    await rm(part, { recursive: true, force: true });
  }
}

async function settle(from: string, to: string, name: string, size: number): Promise<void> {
  const found = await hashFile(from).catch(() => null);
  const expected = name === 'config' ? found?.sha256 : name.split('/').at(-1);
  if (found === null || found.size !== size || found.sha256 !== expected)
    throw new WorkError(`a file of the backup arrived damaged: ${name}`, {
      hint: 'run "commeshctl backup" again; if it stays so, the disk of the kit is failing: use another one soon',
    });
  await mkdir(dirname(to), { recursive: true, mode: 0o700 });
  await rename(from, to);
}

/** Connects to the kit a profile describes, works, and hangs up. */
export async function withKit<T>(
  cli: Cli,
  options: KitOptions,
  work: (ssh: Ssh, address: string) => Promise<T>,
): Promise<T> {
  cli.concerns(options.profile);
  const forwards = options.forwards === undefined ? undefined : await readForwards(options.forwards);
  const { plan } = await loadProject(options.profile);
  const { secrets } = await readIdentity(cli.host, options.profile);
  const address = options.hostname ?? plan.site.network.address;
  const ssh = await connectKit(cli.host, createDialer(address, forwards), secrets);
  try {
    return await work(ssh, address);
  } finally {
    ssh.close();
  }
}

/** `commeshctl backup [HOST] --profile FILE [--to DIR]`: one backup on the kit, and a copy of it here. Gives the exit code. */
export async function runBackup(cli: Cli, options: BackupOptions): Promise<number> {
  const to = options.to ?? besideProfile(options.profile, '.backups');
  const pulled = await withKit(cli, options, (ssh) => pullBackup(cli.host, ssh, to));
  if (cli.flags.json) {
    cli.out(`${JSON.stringify(pulled, null, 2)}\n`);
    return 0;
  }
  if (pulled.note !== '') cli.say(`The kit says: ${pulled.note}.`);
  cli.out(
    `The kit has been backed up to ${pulled.target} (snapshot ${pulled.snapshot.slice(0, 8)}).\n` +
      `The copy here is in ${pulled.folder}: ${pulled.copiedFiles} new files, ${(pulled.copiedBytes / 1e6).toFixed(1)} MB.\n` +
      'It is encrypted; its key is in the secrets beside the profile. Keep both, and not on the same disk.\n',
  );
  return 0;
}
