import type { FileHandle } from 'node:fs/promises';
import { decodeMbr, SECTOR } from './mbr.js';

/** Granularity of block maps, bytes. */
export const MAP_BLOCK = 4096;

const FAT_TYPES = new Set([0x06, 0x0b, 0x0c, 0x0e, 0xef]);
const LINUX = 0x83;

/**
 * Blocks of 4 KiB that a flasher has to write even when they are full of zeros, because a file system relies on them:
 * free entries of a FAT, a file's empty stretches, an ext4's journal. On a card that was used before anything else
 * may stand there. One byte for each block, 1 = write. What cannot be read as FAT or ext4 counts as used throughout.
 */
export async function usedBlocks(image: FileHandle, size: number): Promise<Uint8Array> {
  const used = new Uint8Array(Math.ceil(size / MAP_BLOCK));
  const mark = (from: number, to: number): void => {
    if (to > from) used.fill(1, Math.floor(from / MAP_BLOCK), Math.ceil(Math.min(to, size) / MAP_BLOCK));
  };
  const table = decodeMbr(await bytes(image, 0, SECTOR));
  if (table === null || table.entries.length === 0) return used.fill(1);
  // Boot loaders live before the first partition; leftovers of an older one must not.
  mark(0, Math.min(...table.entries.map((entry) => entry.start)) * SECTOR);
  for (const entry of table.entries) {
    const start = entry.start * SECTOR;
    const inside = (from: number, to: number): void => mark(start + from, start + to);
    const known =
      (FAT_TYPES.has(entry.type) && (await markFat(image, start, inside))) ||
      (entry.type === LINUX && (await markExt4(image, start, inside)));
    if (!known) inside(0, entry.sectors * SECTOR);
  }
  return used;
}

async function bytes(image: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await image.read(buffer, done, length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return buffer;
}

type Mark = (from: number, to: number) => void;

/** FAT16 and FAT32 (Microsoft, "FAT32 File System Specification" 1.03): tables, root folder and clusters in use. */
async function markFat(image: FileHandle, start: number, mark: Mark): Promise<boolean> {
  const boot = await bytes(image, start, SECTOR);
  const sector = boot.readUInt16LE(11);
  const perCluster = boot.readUInt8(13);
  const copies = boot.readUInt8(16);
  if (
    boot.readUInt16LE(510) !== 0xaa55 ||
    ![512, 1024, 2048, 4096].includes(sector) ||
    !perCluster ||
    !copies
  ) {
    return false;
  }
  const reserved = boot.readUInt16LE(14);
  const tableSectors = boot.readUInt16LE(22) || boot.readUInt32LE(36);
  const rootSectors = Math.ceil((boot.readUInt16LE(17) * 32) / sector);
  const data = reserved + copies * tableSectors + rootSectors;
  const clusters = Math.floor(((boot.readUInt16LE(19) || boot.readUInt32LE(32)) - data) / perCluster);
  if (clusters < 4085) return false;
  const width = clusters < 65525 ? 2 : 4;
  if (tableSectors * sector < (clusters + 2) * width) return false;
  mark(0, data * sector);
  const table = await bytes(image, start + reserved * sector, (clusters + 2) * width);
  const size = perCluster * sector;
  for (let cluster = 2; cluster < clusters + 2; cluster++) {
    const entry =
      width === 2 ? table.readUInt16LE(cluster * 2) : table.readUInt32LE(cluster * 4) & 0x0fff_ffff;
    const from = data * sector + (cluster - 2) * size;
    if (entry !== 0) mark(from, from + size);
  }
  return true;
}

const EXT4_MAGIC = 0xef53;
const META_BG = 0x10;
const SIXTY_FOUR_BIT = 0x80;
const BIGALLOC = 0x200;
const BLOCK_UNINIT = 2;

/**
 * ext4 (kernel documentation, "ext4 Data Structures and Algorithms"): bitmaps, inode tables, and every block the bitmaps
 * call used.
 * A group whose bitmap was never written holds nothing else but copies of superblock and descriptors.
 */
async function markExt4(image: FileHandle, start: number, mark: Mark): Promise<boolean> {
  const head = await bytes(image, start + 1024, 1024);
  const incompatible = head.readUInt32LE(0x60);
  if (
    head.readUInt16LE(0x38) !== EXT4_MAGIC ||
    incompatible & META_BG ||
    head.readUInt32LE(0x64) & BIGALLOC ||
    head.readUInt32LE(0x18) > 6
  ) {
    return false;
  }
  const wide = (incompatible & SIXTY_FOUR_BIT) !== 0;
  const block = 1024 << head.readUInt32LE(0x18);
  const first = head.readUInt32LE(0x14);
  const perGroup = head.readUInt32LE(0x20);
  const blocks = head.readUInt32LE(4) + (wide ? head.readUInt32LE(0x150) * 2 ** 32 : 0);
  const descriptor = wide ? head.readUInt16LE(0xfe) : 32;
  const perGroupInodes = head.readUInt32LE(0x28);
  const inodeSize = head.readUInt16LE(0x58) || 128;
  if (perGroup === 0 || descriptor < 32) return false;
  const groups = Math.ceil((blocks - first) / perGroup);
  const table = await bytes(image, start + (first + 1) * block, groups * descriptor);
  for (let group = 0; group < groups; group++) {
    const at = group * descriptor;
    const address = (low: number, high: number): number =>
      (table.readUInt32LE(at + low) + (wide ? table.readUInt32LE(at + high) * 2 ** 32 : 0)) * block;
    const blockBitmap = address(0x00, 0x20);
    const inodeBitmap = address(0x04, 0x24);
    const inodes = address(0x08, 0x28);
    mark(blockBitmap, blockBitmap + block);
    mark(inodeBitmap, inodeBitmap + block);
    mark(inodes, inodes + perGroupInodes * inodeSize);
    if (table.readUInt16LE(at + 0x12) & BLOCK_UNINIT) continue;
    const bitmap = await bytes(image, start + blockBitmap, Math.ceil(perGroup / 8));
    const base = first + group * perGroup;
    const count = Math.min(perGroup, blocks - base);
    for (let bit = 0; bit < count; bit++) {
      if ((bitmap[bit >> 3] ?? 0) & (1 << (bit & 7))) mark((base + bit) * block, (base + bit + 1) * block);
    }
  }
  // The boot block and the primary superblock.
  mark(0, (first + 1) * block);
  return true;
}
