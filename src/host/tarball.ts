import { Header } from 'tar';

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
