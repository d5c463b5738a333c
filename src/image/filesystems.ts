import { basename, dirname } from 'node:path';
import type { Tools } from '../host/tools.js';
import type { BootFile } from './boot/types.js';
import { BLOCK, INODE, KIB, LARGEST_DATA_BYTES } from './layout.js';
import { SECTOR } from './mbr.js';
import type { ImagePartition } from './types.js';

/** The image file as seen by programs of the tools tree. */
function imageBind(image: string): { bind: { from: string; to: string }; inside: string } {
  return { bind: { from: dirname(image), to: '/mnt/image' }, inside: `/mnt/image/${basename(image)}` };
}

export interface Ext4Options {
  readonly image: string;
  readonly partition: ImagePartition;
  readonly hashSeed: string;
  readonly epoch: number;
  readonly inodes: number;
  readonly journalMiB: number;
  /** Leave room in its tables to grow to 2 TiB while mounted. */
  readonly growable: boolean;
  /** Tars without end blocks, read as one; a later file or link replaces an earlier one. */
  readonly tars: readonly string[];
}

// 1.47 turns them on by default; fsck of a volunteer's older laptop cannot handle them.
const FEATURES = '^orphan_file,^metadata_csum_seed';

/**
 * Makes an ext4 in the image, in place, from tars (mke2fs(8) of e2fsprogs >= 1.47.1, `-d -` and SOURCE_DATE_EPOCH).
 *
 * `nodiscard`: mke2fs must not reach outside its partition. `lazy_itable_init=1` without a discard: the kernel clears the
 * inode tables after the first mount, for they are holes here and hold anything on the card they are flashed to.
 * @throws ToolError.
 */
export async function makeExt4(tools: Tools, options: Ext4Options): Promise<void> {
  const { image, partition, hashSeed, tars } = options;
  const { bind, inside } = imageBind(image);
  const extended = [
    `offset=${partition.start}`,
    `hash_seed=${hashSeed}`,
    'lazy_itable_init=1',
    'nodiscard',
    'root_owner=0:0',
    ...(options.growable ? [`resize=${LARGEST_DATA_BYTES / BLOCK}`] : []),
  ];
  const inner = tars.map((_tar, index) => `/mnt/tars/${index}`);
  await tools.run(
    [
      'bash',
      '-euo',
      'pipefail',
      '-c',
      // The end of the archive is two empty blocks.
      'tars=$1; shift; { for ((i = 0; i < tars; i++)); do cat "/mnt/tars/$i"; done; head -c 1024 /dev/zero; } | "$@"',
      'bash',
      String(inner.length),
      ...['mke2fs', '-q', '-F', '-t', 'ext4', '-b', String(BLOCK), '-I', String(INODE)],
      ...['-N', String(options.inodes), '-m', '1', '-J', `size=${options.journalMiB}`],
      ...['-L', partition.label, '-U', partition.id, '-O', FEATURES, '-E', extended.join(',')],
      ...['-d', '-', inside, String(partition.size / BLOCK)],
    ],
    {
      binds: [bind, ...tars.map((from, index) => ({ from, to: inner[index] ?? '', readOnly: true }))],
      env: { SOURCE_DATE_EPOCH: String(options.epoch), TZ: 'UTC' },
      title: `making the file system ${partition.label}`,
    },
  );
}

export interface FatOptions {
  readonly image: string;
  readonly partition: ImagePartition;
  readonly volumeId: number;
  readonly epoch: number;
  readonly clusterSectors: number;
  readonly files: readonly BootFile[];
  /** The base layer's boot folder. */
  readonly boot: string;
  /** Folder with the texts, numbered as in `files`. */
  readonly texts: string;
}

/**
 * Makes the FAT32 in the image, in place. Folders and files go in one by one in sorted order, because mtools would take a
 * folder's files in the order the host's file system lists them. mtools takes its time stamps from SOURCE_DATE_EPOCH.
 * @throws ToolError.
 */
export async function makeFat(tools: Tools, options: FatOptions): Promise<void> {
  const { partition, files } = options;
  const { bind, inside } = imageBind(options.image);
  const at = quoted(`${inside}@@${partition.start}`);
  const sector = partition.start / SECTOR;
  const lines = [
    [
      'mkfs.vfat -F 32 --invariant',
      `-s ${options.clusterSectors} -h ${sector} --offset=${sector}`,
      `-n ${partition.label} -i ${options.volumeId.toString(16).padStart(8, '0')}`,
      `${quoted(inside)} ${partition.size / KIB} > /dev/null`,
    ].join(' '),
    ...foldersOf(files).map((folder) => `mmd -i ${at} ${quoted(`::${folder}`)}`),
    ...files.map((file, index) => {
      const source = 'text' in file ? `/mnt/texts/${index}` : `/mnt/boot/${file.from}`;
      return `mcopy -i ${at} ${quoted(source)} ${quoted(`::${file.path}`)}`;
    }),
  ];
  await tools.run(['sh', '-eu', '-s'], {
    input: `${lines.join('\n')}\n`,
    binds: [
      bind,
      { from: options.boot, to: '/mnt/boot', readOnly: true },
      { from: options.texts, to: '/mnt/texts', readOnly: true },
    ],
    env: { SOURCE_DATE_EPOCH: String(options.epoch), TZ: 'UTC', MTOOLS_SKIP_CHECK: '1' },
    title: 'making the boot partition',
  });
}

/** Every folder above a file, parents first. */
function foldersOf(files: readonly BootFile[]): readonly string[] {
  const folders = new Set<string>();
  for (const { path } of files) {
    const parts = path.split('/').slice(1, -1);
    parts.forEach((_part, index) => folders.add(`/${parts.slice(0, index + 1).join('/')}`));
  }
  return [...folders].sort();
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
