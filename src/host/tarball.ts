import { chmod, mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { extract, Header } from 'tar';

export interface TarEntry {
  /** Without a leading slash; a folder may end in one. */
  readonly path: string;
  readonly type: 'file' | 'directory' | 'symlink';
  /** Permission bits, e.g. 0o644. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  readonly content?: Buffer;
  readonly target?: string;
}

const BLOCK = 512;
const TYPES = { file: 'File', directory: 'Directory', symlink: 'SymbolicLink' } as const;

/**
 * A tar archive (POSIX ustar) of the entries in the order given, WITHOUT the two end blocks: such archives can be
 * joined by writing one after the other. `TAR_END` closes the last.
 */
export function tarOf(entries: readonly TarEntry[]): Buffer {
  const parts: Buffer[] = [];
  for (const entry of entries) {
    const content = entry.content ?? Buffer.alloc(0);
    const header = Buffer.alloc(BLOCK);
    const wanted = entry.type === 'directory' ? `${entry.path.replace(/\/$/, '')}/` : entry.path;
    const needsPax = new Header({
      path: wanted,
      mode: entry.mode,
      uid: entry.uid,
      gid: entry.gid,
      size: entry.type === 'file' ? content.length : 0,
      mtime: new Date(entry.mtime * 1000),
      type: TYPES[entry.type],
      ...(entry.target === undefined ? {} : { linkpath: entry.target }),
    }).encode(header, 0);
    if (needsPax) throw new Error(`does not fit a plain tar header: ${entry.path}`);
    parts.push(header);
    if (entry.type === 'file') {
      parts.push(content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK));
    }
  }
  return Buffer.concat(parts);
}

/** The end of a tar archive: two empty blocks (POSIX pax, "ustar Interchange Format"). */
export const TAR_END = Buffer.alloc(2 * BLOCK);

/**
 * Takes files out of an npm package (a gzipped tar with one top folder) and puts them below `root`: files 0644, folders 0755.
 * @param files `from` below the top folder, one that ends in `/` stands for all in it; `to` from the root.
 * @returns those of `from` that were there.
 */
export async function extractTarball(
  tarball: string,
  root: string,
  files: readonly { readonly from: string; readonly to: string }[],
): Promise<ReadonlySet<string>> {
  const taken = new Set<string>();
  const unpacked = join(root, '..', '.unpacked');
  await mkdir(unpacked, { recursive: true });
  const moves = new Map<string, string>();
  try {
    await extract({
      file: tarball,
      cwd: unpacked,
      strip: 1,
      preserveOwner: false,
      filter: (path, entry) => {
        if (!('type' in entry) || (entry.type !== 'File' && entry.type !== 'OldFile')) return false;
        const below = path.split('/').slice(1).join('/');
        const wish = files.find(({ from }) => (from.endsWith('/') ? below.startsWith(from) : below === from));
        if (wish === undefined) return false;
        taken.add(wish.from);
        moves.set(below, wish.from.endsWith('/') ? join(wish.to, below.slice(wish.from.length)) : wish.to);
        return true;
      },
    });
    for (const [from, to] of moves) {
      const target = join(root, to);
      // 0755 whatever the umask.
      await mkdir(dirname(target), { recursive: true });
      for (let folder = dirname(target); folder.length > root.length; folder = dirname(folder))
        await chmod(folder, 0o755);
      await rename(join(unpacked, from), target);
      await chmod(target, 0o644);
    }
    await chmod(root, 0o755).catch(() => {});
  } finally {
    await rm(unpacked, { recursive: true, force: true });
  }
  return taken;
}
