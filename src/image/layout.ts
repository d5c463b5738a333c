import { createHash } from 'node:crypto';
import type { Board } from '../services/contract.js';
import { WorkError } from '../diagnostics/errors.js';
import type { ImagePartition, TarMember } from './types.js';

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const BLOCK = 4 * KIB;
export const INODE = 256;

export const BOOT_LABEL = 'COMMESHBOOT';
export const ROOT_LABEL = 'commesh-root';
export const DATA_LABEL = 'commesh-data';

/** Changes of this file that change images count it up: it is part of the ids of the stages `disk` and `image`. */
export const LAYOUT_VERSION = '2';

/** Journals. The root is hardly ever written; the data partition keeps its journal when it has grown to the card. */
export const JOURNAL_MIB = { root: 8, data: 32 } as const;
/** 2 TiB, as far as an MBR reaches: what the data partition can be grown to. */
export const LARGEST_DATA_BYTES = 2 ** 41;

const FAT_SIZES_MIB = [128, 256, 512] as const;
const SMALLEST_ROOT = 512 * MIB;
const SMALLEST_DATA = 128 * MIB;
const BYTES_PER_INODE = 16 * KIB;
const BYTES_PER_GROUP = 128 * MIB;

/** Ids of a disk, derived from the content's id so that the same content gives the same disk. */
export interface ImageIds {
  /** MBR disk id, not zero. */
  readonly disk: number;
  /** FAT volume id. */
  readonly volume: number;
  readonly root: { readonly uuid: string; readonly hashSeed: string };
  readonly data: { readonly uuid: string; readonly hashSeed: string };
}

/** @param id lower-case hex SHA-256. UUIDs are of version 8 (RFC 9562, section 5.8). */
export function imageIds(id: string): ImageIds {
  const digest = (what: string): Buffer => createHash('sha256').update(`${id}:${what}`).digest();
  const uuid = (what: string): string => {
    const bytes = digest(what).subarray(0, 16);
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
    return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  };
  return {
    disk: digest('disk').readUInt32LE(0) || 1,
    volume: digest('boot').readUInt32LE(0) || 1,
    root: { uuid: uuid('root'), hashSeed: uuid('root-hash') },
    data: { uuid: uuid('data'), hashSeed: uuid('data-hash') },
  };
}

/** `1A2B-3C4D`, as blkid shows it. */
export function volumeIdText(volume: number): string {
  const hex = volume.toString(16).toUpperCase().padStart(8, '0');
  return `${hex.slice(0, 4)}-${hex.slice(4)}`;
}

/** Room the members take in an ext4 file system of 4 KiB blocks, bytes; replaced members count too. */
export function ext4Content(members: readonly TarMember[]): Content {
  let blocks = 0;
  const names = new Map<string, number>();
  for (const { path, type, size } of members) {
    // A long link target, or a directory's first block.
    blocks += type === 'f' ? Math.ceil(size / BLOCK) : 1;
    const slash = path.lastIndexOf('/');
    const folder = slash < 0 ? '' : path.slice(0, slash);
    names.set(folder, (names.get(folder) ?? 0) + 12 + Buffer.byteLength(path.slice(slash + 1)));
  }
  // Blocks of a large directory are three quarters full, and an index leads to them.
  for (const bytes of names.values()) blocks += Math.ceil(bytes / (BLOCK * 0.75));
  return { bytes: blocks * BLOCK, inodes: members.length + 16 };
}

/**
 * What a site may add to the root file system. Its free space is laid out for the packages alone, so that every site with the same
 * packages finds the same one.
 */
export const SITE_ROOM = { bytes: 64 * MIB, inodes: 2048 } as const;

/** Room content takes in a file system. */
export interface Content {
  readonly bytes: number;
  readonly inodes: number;
}

export interface DiskInput {
  readonly board: Board;
  /** Bytes of all files of the boot partition. */
  readonly bootBytes: number;
  readonly bootFiles: number;
  readonly root: Content;
  readonly ids: Pick<ImageIds, 'volume' | 'root'>;
}

/** The part of a disk that no site changes the size of. */
export interface DiskLayout {
  /** Bytes up to the end of the root partition. */
  readonly size: number;
  readonly partitions: readonly [boot: ImagePartition, root: ImagePartition];
  readonly rootInodes: number;
  /** Sectors per cluster of the FAT. */
  readonly clusterSectors: number;
}

/** Sizes and positions of boot and root. The data partition follows: only the last one can grow. */
export function diskLayout(input: DiskInput): DiskLayout {
  const alignment = alignmentOf(input.board);
  const wanted = input.bootBytes * 1.1 + input.bootFiles * 8 * KIB + 8 * MIB;
  const fatMiB = FAT_SIZES_MIB.find((size) => size * MIB >= wanted);
  if (fatMiB === undefined) {
    throw new WorkError(
      `the boot files need ${Math.ceil(wanted / MIB)} MiB; a boot partition has at most 512 MiB`,
    );
  }
  const used = { bytes: input.root.bytes, inodes: input.root.inodes + SITE_ROOM.inodes };
  const wish = ext4Size(used, JOURNAL_MIB.root, Math.max(256 * MIB, input.root.bytes * 0.25));
  const boot = { start: alignment, size: aligned(fatMiB * MIB, alignment) };
  const root = { start: boot.start + boot.size, size: aligned(Math.max(wish, SMALLEST_ROOT), alignment) };
  return {
    size: root.start + root.size,
    // FAT32 has at least 65,525 clusters; this gives about 131,000 at every size.
    clusterSectors: fatMiB / 64,
    rootInodes: inodesFor(root.size, used.inodes),
    partitions: [
      {
        number: 1,
        name: 'boot',
        label: BOOT_LABEL,
        // A PC's UEFI looks for the type of an EFI system partition, a Raspberry Pi's firmware for a FAT.
        type: input.board === 'pc' ? 0xef : 0x0c,
        filesystem: 'vfat',
        id: volumeIdText(input.ids.volume),
        ...boot,
      },
      {
        number: 2,
        name: 'root',
        label: ROOT_LABEL,
        type: 0x83,
        filesystem: 'ext4',
        id: input.ids.root.uuid,
        ...root,
      },
    ],
  };
}

/**
 * The data partition, behind everything else.
 * @param start end of the root partition, bytes.
 */
export function dataLayout(
  board: Board,
  start: number,
  content: Content,
  ids: Pick<ImageIds, 'data'>,
): { readonly partition: ImagePartition; readonly inodes: number } {
  const wish = Math.max(ext4Size(content, JOURNAL_MIB.data, 64 * MIB), SMALLEST_DATA);
  const size = aligned(wish, alignmentOf(board));
  return {
    inodes: inodesFor(size, content.inodes),
    partition: {
      number: 3,
      name: 'data',
      label: DATA_LABEL,
      type: 0x83,
      filesystem: 'ext4',
      id: ids.data.uuid,
      start,
      size,
    },
  };
}

/** Cards erase in blocks of up to 4 MiB, 8 MiB with the newest; Raspberry Pi's own images do the same. */
function alignmentOf(board: Board): number {
  return board === 'pc' ? MIB : 8 * MIB;
}

function aligned(bytes: number, alignment: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

function inodesFor(size: number, used: number): number {
  return Math.max(Math.ceil(size / BYTES_PER_INODE), used * 2);
}

/** Bytes of a file system with `free` bytes left over. */
function ext4Size(content: Content, journalMiB: number, free: number): number {
  const net = content.bytes + free + journalMiB * MIB;
  const groups = Math.ceil(net / BYTES_PER_GROUP) + 1;
  // Bitmaps and, in some groups, copies of the descriptors with room to grow.
  const perGroup = 4 * BLOCK;
  const copies = 4 * 260 * BLOCK;
  return net + groups * perGroup + copies + inodesFor(net, content.inodes) * INODE;
}
