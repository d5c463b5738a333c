import { open, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { WorkError } from '../diagnostics/errors.js';
import type { Host } from '../host/host.js';
import type { Tools } from '../host/tools.js';
import { decodeMbr, SECTOR } from './mbr.js';

/** A partition as the image's own table has it; bytes. */
export interface FoundPartition {
  readonly number: number;
  readonly bootable: boolean;
  readonly type: number;
  readonly start: number;
  readonly size: number;
}

/** A member of an ext4 file system. */
export interface FoundFile {
  /** Absolute, on the device. */
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'other';
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes; 0 for folders. */
  readonly size: number;
}

const NAMED_TYPES: Readonly<Record<number, FoundFile['type']>> = {
  0o10: 'file',
  0o04: 'directory',
  0o12: 'symlink',
};

/**
 * Reads the partition table.
 * @throws WorkError when there is none.
 */
export async function readPartitions(
  image: string,
): Promise<{ diskId: string; partitions: readonly FoundPartition[] }> {
  const file = await open(image, 'r');
  try {
    const sector = Buffer.alloc(SECTOR);
    await file.read(sector, 0, SECTOR, 0);
    const table = decodeMbr(sector);
    if (table === null) throw new WorkError(`${image} has no partition table`);
    return {
      diskId: table.diskId.toString(16).padStart(8, '0'),
      partitions: table.entries.map(({ bootable, type, start, sectors }, index) => ({
        number: index + 1,
        bootable,
        type,
        start: start * SECTOR,
        size: sectors * SECTOR,
      })),
    };
  } finally {
    await file.close();
  }
}

/** Looks into an image without mounting anything: mtools for FAT, debugfs for ext4, both from the tools tree. */
export interface Inspector {
  /** Every file of the FAT partition at `start` bytes: absolute path → content. */
  fat(start: number): Promise<ReadonlyMap<string, Buffer>>;
  /** Every member of the ext4 partition at `start` bytes, sorted by path; the root itself first. */
  list(start: number): Promise<readonly FoundFile[]>;
  /** Contents of files of the ext4 partition at `start` bytes. @throws WorkError when one is missing. */
  read(start: number, paths: readonly string[]): Promise<ReadonlyMap<string, Buffer>>;
  /** Where symbolic links point to. */
  links(start: number, paths: readonly string[]): Promise<ReadonlyMap<string, string>>;
}

export function inspector(host: Host, tools: Tools, image: string): Inspector {
  const inside = `/mnt/image/${basename(image)}`;
  const bind = { from: dirname(image), to: '/mnt/image', readOnly: true };
  const debugfs = async (start: number, commands: readonly string[], out?: string): Promise<string> => {
    const { stdout } = await tools.run(['debugfs', '-f', '-', `${inside}?offset=${start}`], {
      input: `${commands.join('\n')}\n`,
      binds: out === undefined ? [bind] : [bind, { from: out, to: '/mnt/out' }],
      title: 'reading the file system',
    });
    return stdout;
  };
  return {
    async fat(start) {
      const out = await host.temporary('commesh-fat');
      const at = `${inside}@@${start}`;
      const env = { MTOOLS_SKIP_CHECK: '1', TZ: 'UTC' };
      const { stdout } = await tools.run(['mdir', '-i', at, '-/', '-b', '::/'], { binds: [bind], env });
      await tools.run(['mcopy', '-i', at, '-s', '-n', '::/', '/mnt/out/'], {
        binds: [bind, { from: out, to: '/mnt/out' }],
        env,
      });
      const paths = stdout
        .split('\n')
        .map((line) => line.replace(/^::/, ''))
        .filter((path) => path !== '' && !path.endsWith('/'));
      const files = await Promise.all(
        paths.sort().map(async (path) => [path, await readFile(join(out, path))] as const),
      );
      return new Map(files);
    },
    async list(start) {
      const found: FoundFile[] = [];
      let folders = ['/'];
      while (folders.length > 0) {
        const text = await debugfs(
          start,
          folders.map((folder) => `ls -p ${quoted(folder)}`),
        );
        const next: string[] = [];
        // debugfs repeats each command before its answer.
        let folder = '';
        let at = -1;
        for (const line of text.split('\n')) {
          if (line.startsWith('debugfs: ')) {
            at += 1;
            folder = folders[at] ?? '';
            continue;
          }
          // /inode/mode/uid/gid/name/size/
          const [, inode, mode, uid, gid, name, size] = line.split('/');
          // Free entries have no inode.
          if (mode === undefined || name === undefined || inode === '0') continue;
          if (name === '..' || (name === '.' && folder !== '/')) continue;
          const bits = Number.parseInt(mode, 8);
          const path = name === '.' ? '/' : `${folder === '/' ? '' : folder}/${name}`;
          const type = NAMED_TYPES[bits >> 12] ?? 'other';
          found.push({
            path,
            type,
            mode: bits & 0o7777,
            uid: Number(uid),
            gid: Number(gid),
            size: Number(size || 0),
          });
          if (type === 'directory' && name !== '.') next.push(path);
        }
        folders = next;
      }
      return found.sort((a, b) => (a.path < b.path ? -1 : 1));
    },
    async read(start, paths) {
      const out = await host.temporary('commesh-ext4');
      await debugfs(
        start,
        paths.map((path, index) => `dump ${quoted(path)} /mnt/out/${index}`),
        out,
      );
      const files = await Promise.all(
        paths.map(async (path, index) => {
          const content = await readFile(join(out, String(index))).catch(() => null);
          if (content === null) throw new WorkError(`${path} is not in the image`);
          return [path, content] as const;
        }),
      );
      return new Map(files);
    },
    async links(start, paths) {
      const text = await debugfs(
        start,
        paths.map((path) => `stat ${quoted(path)}`),
      );
      const answers = text.split(/^debugfs: .*$/m).slice(1);
      const found = new Map<string, string>();
      for (const [index, path] of paths.entries()) {
        const target = /^Fast link dest: "(.*)"$/m.exec(answers[index] ?? '')?.[1];
        if (target !== undefined) found.set(path, target);
      }
      return found;
    },
  };
}

/** A path as debugfs's command line takes it (quotes are doubled). */
function quoted(path: string): string {
  return `"${path.replaceAll('"', '""')}"`;
}
