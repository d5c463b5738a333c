import { writeFile } from 'node:fs/promises';
import { basename, dirname, join, posix } from 'node:path';
import { ToolError, WorkError } from '../diagnostics/errors.js';
import { tail } from '../host/host.js';
import type { Tools } from '../host/tools.js';
import type { TarEntry } from '../host/tarball.js';
import type { ImagePartition } from './types.js';

/** File type bits of an inode's mode (inode(7)). */
const TYPE_BITS = { directory: 0o040000, file: 0o100000 } as const;
/** What debugfs says of itself on standard error; anything else there is a fault, for its exit code is always 0. */
const BANNER = /^debugfs \d/;

/**
 * The commands for debugfs(8) that put files into a file system: folders take mode and owner of the entry, files and links replace
 * what is there.
 * @param entries parents before what is in them.
 * @param existing paths that are there, without a leading slash.
 * @param source where the content of the entry of this number lies.
 * @param epoch time debugfs gives to what it makes, seconds since 1970.
 */
export function injectScript(
  entries: readonly TarEntry[],
  existing: ReadonlySet<string>,
  source: (index: number) => string,
  epoch: number,
): readonly string[] {
  return entries.flatMap((entry, index) => {
    const bare = entry.path.replace(/\/$/, '');
    const path = quoted(`/${bare}`);
    const there = existing.has(bare);
    const field = (name: string, value: string): string => `set_inode_field ${path} ${name} ${value}`;
    const mode = (type: keyof typeof TYPE_BITS): string =>
      field('mode', `0${(TYPE_BITS[type] | entry.mode).toString(8)}`);
    const owner = [field('uid', String(entry.uid)), field('gid', String(entry.gid))];
    const time = there || entry.mtime !== epoch ? [field('mtime', `@${entry.mtime}`)] : [];
    switch (entry.type) {
      case 'directory':
        return [...(there ? [] : [`mkdir ${path}`]), mode('directory'), ...owner, ...time];
      case 'file':
        return [
          ...(there ? [`rm ${path}`] : []),
          // It takes a name, not a path.
          `cd ${quoted(`/${posix.dirname(bare)}`)}`,
          `write ${source(index)} ${quoted(posix.basename(bare))}`,
          mode('file'),
          ...owner,
          ...time,
        ];
      case 'symlink':
        return [
          ...(there ? [`rm ${path}`] : []),
          `symlink ${path} ${quoted(entry.target ?? '')}`,
          ...owner,
          ...time,
        ];
    }
  });
}

/** A word of debugfs's command line (quotes are doubled). */
function quoted(word: string): string {
  if (/[\n\r\0]/.test(word))
    throw new WorkError(`a path with a line break cannot be put into an image: ${word}`);
  return `"${word.replaceAll('"', '""')}"`;
}

/**
 * Puts files into the ext4 of an image by one run of debugfs (e2fsprogs >= 1.47.1: SOURCE_DATE_EPOCH). Nothing is mounted. The
 * same files in the same file system always give the same bytes.
 * @param work folder for the contents while it runs; the caller removes it.
 * @throws ToolError.
 */
export async function inject(
  tools: Tools,
  options: {
    readonly image: string;
    readonly partition: ImagePartition;
    readonly entries: readonly TarEntry[];
    readonly existing: ReadonlySet<string>;
    readonly epoch: number;
    readonly work: string;
  },
): Promise<void> {
  const { image, partition, entries, existing, epoch, work } = options;
  await Promise.all(
    entries.map((entry, index) =>
      entry.type === 'file'
        ? writeFile(join(work, String(index)), entry.content ?? '', { mode: 0o600 })
        : undefined,
    ),
  );
  const lines = injectScript(entries, existing, (index) => `/mnt/files/${index}`, epoch);
  const argv = ['debugfs', '-w', '-f', '-', `/mnt/image/${basename(image)}?offset=${partition.start}`];
  const title = `writing the site's files into the file system ${partition.label}`;
  const { stderr } = await tools.run(argv, {
    input: `${lines.join('\n')}\n`,
    binds: [
      { from: dirname(image), to: '/mnt/image' },
      { from: work, to: '/mnt/files', readOnly: true },
    ],
    env: { SOURCE_DATE_EPOCH: String(epoch), TZ: 'UTC' },
    title,
  });
  const faults = stderr.split('\n').filter((line) => line !== '' && !BANNER.test(line));
  if (faults.length > 0) throw new ToolError(argv, 0, tail(faults.join('\n')), { title });
}
