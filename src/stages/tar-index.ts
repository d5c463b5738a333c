import { open } from 'node:fs/promises';

/** One member of a base tar. Paths have no leading `./` or `/` and no trailing `/`. */
export interface IndexEntry {
  readonly path: string;
  /** f file, d directory, l symbolic link, h hard link, o anything else. */
  readonly type: 'f' | 'd' | 'l' | 'h' | 'o';
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
}

const BLOCK = 512;

/**
 * Reads the headers of a tar (ustar, GNU and pax long names) without its contents.
 * @returns its members and the position of the end blocks.
 */
export async function indexTar(path: string): Promise<{ entries: IndexEntry[]; end: number }> {
  const file = await open(path, 'r');
  try {
    const entries: IndexEntry[] = [];
    const header = Buffer.alloc(BLOCK);
    let position = 0;
    let longName: string | undefined;
    for (;;) {
      const { bytesRead } = await file.read(header, 0, BLOCK, position);
      if (bytesRead < BLOCK || header[0] === 0) return { entries, end: position };
      const size = number(header, 124, 12);
      const kind = String.fromCharCode(header[156] ?? 0);
      const span = BLOCK + Math.ceil(size / BLOCK) * BLOCK;
      if (kind === 'x' || kind === 'L') {
        const extra = Buffer.alloc(size);
        await file.read(extra, 0, size, position + BLOCK);
        longName = kind === 'L' ? text(extra, 0, size) : (paxPath(extra) ?? longName);
      } else if (kind !== 'g' && kind !== 'K') {
        const prefix = text(header, 345, 155);
        const name =
          longName ?? (prefix && text(header, 257, 5) === 'ustar' ? `${prefix}/` : '') + text(header, 0, 100);
        longName = undefined;
        entries.push({
          path: name.replace(/^\.?\//, '').replace(/\/$/, ''),
          type:
            kind === '0' || kind === '\0'
              ? 'f'
              : kind === '5'
                ? 'd'
                : kind === '2'
                  ? 'l'
                  : kind === '1'
                    ? 'h'
                    : 'o',
          mode: number(header, 100, 8) & 0o7777,
          uid: number(header, 108, 8),
          gid: number(header, 116, 8),
          size,
        });
      }
      position += span;
    }
  } finally {
    await file.close();
  }
}

function text(block: Buffer, start: number, length: number): string {
  const end = block.indexOf(0, start);
  return block.toString('utf8', start, end < 0 || end > start + length ? start + length : end);
}

function number(block: Buffer, start: number, length: number): number {
  // GNU base-256 for what octal cannot hold.
  if (((block[start] ?? 0) & 0x80) !== 0) return Number(block.readBigUInt64BE(start + length - 8));
  return Number.parseInt(text(block, start, length).trim() || '0', 8);
}

function paxPath(extra: Buffer): string | undefined {
  let position = 0;
  while (position < extra.length) {
    const space = extra.indexOf(0x20, position);
    const length = Number.parseInt(extra.toString('utf8', position, space), 10);
    const record = extra.toString('utf8', space + 1, position + length - 1);
    if (record.startsWith('path=')) return record.slice(5);
    position += length;
  }
  return undefined;
}
