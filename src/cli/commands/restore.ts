import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, Readable, Transform } from 'node:stream';
import { UsageError, WorkError } from '../../diagnostics/errors.js';
import { timed, type Host } from '../../host/host.js';
import { besideProfile } from '../../host/paths.js';
import type { Ssh } from '../../host/ssh.js';
import type { Cli } from '../context.js';
import {
  bytesOf,
  filesBelow,
  missingFiles,
  onKit,
  readFileList,
  withKit,
  type KitOptions,
} from './backup.js';

export interface RestoreOptions extends KitOptions {
  /** A folder `commeshctl backup` wrote, or one with several of them; `<profile minus .yaml>.backups` when missing. */
  readonly from?: string;
  /** Id of a snapshot, at least its first eight digits; the latest when missing. */
  readonly snapshot?: string;
}

/** What a run of `pushRestore` did. */
export interface Restored {
  /** The copied repository it came from. */
  readonly folder: string;
  readonly sentFiles: number;
  readonly sentBytes: number;
}

/** Room the kit keeps free besides what is sent, bytes. */
const MARGIN = 64_000_000;

/**
 * The repository to restore from: `from` itself, or the one below it that was written to last.
 * @throws UsageError when there is none.
 */
export async function findRepository(from: string): Promise<string> {
  const times = new Map<string, number>();
  const candidates = [from, ...(await readdir(from).catch(() => [])).map((name) => join(from, name))];
  for (const folder of candidates) {
    const config = await stat(join(folder, 'config')).catch(() => null);
    if (config === null || !config.isFile()) continue;
    const snapshots = await stat(join(folder, 'snapshots')).catch(() => null);
    if (snapshots !== null) times.set(folder, snapshots.mtimeMs);
  }
  const newest = [...times].toSorted(([, a], [, b]) => b - a)[0]?.[0];
  if (newest === undefined)
    throw new UsageError(`there is no backup in ${from}`, {
      hint: '"commeshctl backup" makes one beside the profile; name another folder with --from',
    });
  return newest;
}

/**
 * Sends a copied repository to a kit, only what is not there from a run that was cut off, and puts the snapshot back. The kit
 * is as it was unless all went well.
 * @throws WorkError when the kit has no room or its script fails.
 */
export async function pushRestore(
  host: Host,
  ssh: Ssh,
  folder: string,
  snapshot = 'latest',
): Promise<Restored> {
  if (!/^(?:latest|[0-9a-f]{8,64})$/.test(snapshot))
    throw new UsageError(`"${snapshot}" is not the id of a snapshot`, {
      hint: 'it is 8 to 64 of the digits 0-9 and a-f; without --snapshot the latest is taken',
    });
  const there = await onKit(ssh, 'repository received', 'looking at what was sent before');
  const missing = missingFiles(await filesBelow(folder), readFileList(there.stdout));
  const bytes = bytesOf(missing);
  const room = Number((await onKit(ssh, 'repository room', 'looking at the disk')).stdout.trim());
  if (!(room >= bytes + MARGIN))
    throw new WorkError(
      `the kit has no room for this backup: ${Math.floor(room / 1e6)} MB free, ${Math.ceil((bytes + MARGIN) / 1e6)} MB needed`,
      { hint: 'use a larger card or disk' },
    );
  if (missing.length > 0)
    await timed(host, 'push', `send ${missing.length} files to the kit`, async () => {
      const packing = host.start(
        [
          ...['tar', '--create', '--file=-', `--directory=${folder}`, '--no-recursion'],
          ...['--verbatim-files-from', '--files-from=-'],
        ],
        { stdin: Readable.from([]), stdout: new PassThrough() },
      );
      packing.stdin?.end(missing.map(({ path }) => `${path}\n`).join(''));
      let done = 0;
      const counted = packing.stdout.pipe(
        new Transform({
          transform(chunk: Buffer, _encoding, pass) {
            done += chunk.length;
            host.emit({
              type: 'progress',
              id: 'push',
              done: Math.min(done, bytes),
              total: bytes,
              unit: 'bytes',
            });
            pass(null, chunk);
          },
        }),
      );
      await onKit(ssh, 'repository receive', 'receiving the backup', { stdin: counted });
      const { exitCode } = await packing.exited;
      if (exitCode !== 0) throw new WorkError(`the copy in ${folder} could not be read`);
    });
  await timed(host, 'restore', 'put the backup back on the kit', () =>
    onKit(
      ssh,
      `restore --repository /srv/commesh/backup/incoming --snapshot ${snapshot}`,
      'putting the backup back',
    ),
  );
  return { folder, sentFiles: missing.length, sentBytes: bytes };
}

/** `commeshctl restore [HOST] --profile FILE [--from DIR] [--snapshot ID]`. Gives the exit code. */
export async function runRestore(cli: Cli, options: RestoreOptions): Promise<number> {
  const folder = await findRepository(options.from ?? besideProfile(options.profile, '.backups'));
  const restored = await withKit(cli, options, (ssh) => pushRestore(cli.host, ssh, folder, options.snapshot));
  if (cli.flags.json) cli.out(`${JSON.stringify(restored, null, 2)}\n`);
  else
    cli.out(
      `The backup in ${folder} is on the kit again: the same accounts, rooms, history and files.\n` +
        '"commeshctl verify" shows that it works.\n',
    );
  return 0;
}
