import { describe, expect, it } from 'vitest';
import {
  dataLayout,
  diskLayout,
  ext4Content,
  imageIds,
  MIB,
  SITE_ROOM,
  volumeIdText,
  type DiskInput,
} from './layout.js';

const ids = imageIds('ab'.repeat(32));
const input: DiskInput = {
  board: 'pi4',
  bootBytes: 60 * MIB,
  bootFiles: 20,
  root: { bytes: 600 * MIB, inodes: 20_000 },
  ids,
};

describe('imageIds', () => {
  it('is the same for the same content and differs for other content', () => {
    expect(imageIds('ab'.repeat(32))).toEqual(ids);
    const others = [ids, imageIds('cd'.repeat(32))].flatMap((one) => [
      one.root.uuid,
      one.root.hashSeed,
      one.data.uuid,
      one.data.hashSeed,
    ]);
    expect(new Set(others).size).toBe(8);
    for (const uuid of others)
      expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
  it('writes volume ids as blkid does', () => expect(volumeIdText(0x0d05952e)).toBe('0D05-952E'));
});

describe('ext4Content', () => {
  it('counts whole blocks', () => {
    const { bytes, inodes } = ext4Content([
      { path: '', type: 'd', size: 0 },
      { path: 'a', type: 'f', size: 1 },
      { path: 'b', type: 'f', size: 4097 },
      { path: 'c', type: 'h', size: 0 },
    ]);
    expect(bytes / 4096).toBe(1 + 1 + 2 + 1 + 1);
    expect(inodes).toBe(4 + 16);
  });
  it('gives large folders more than one block', () => {
    const members = Array.from({ length: 1000 }, (_x, index) => ({
      path: `folder/name-of-a-file-${index}`,
      type: 'f' as const,
      size: 0,
    }));
    expect(ext4Content(members).bytes / 4096).toBeGreaterThan(8);
  });
});

describe('the layout', () => {
  it.each(['zero2w', 'pi3', 'pi4', 'pi5', 'pc'] as const)('aligns and never overlaps (%s)', (board) => {
    const disk = diskLayout({ ...input, board });
    const { partition } = dataLayout(board, disk.size, { bytes: MIB, inodes: 100 }, ids);
    const alignment = (board === 'pc' ? 1 : 8) * MIB;
    const partitions = [...disk.partitions, partition];
    let end = alignment;
    for (const partition of partitions) {
      expect(partition.start).toBe(end);
      expect(partition.size % alignment).toBe(0);
      end += partition.size;
    }
    expect(disk.size).toBe(partition.start);
    expect(partitions.map((one) => [one.number, one.label, one.type])).toEqual([
      [1, 'COMMESHBOOT', board === 'pc' ? 0xef : 0x0c],
      [2, 'commesh-root', 0x83],
      [3, 'commesh-data', 0x83],
    ]);
  });
  it('leaves room on the root for a site and as many inodes again', () => {
    const { partitions, rootInodes } = diskLayout(input);
    expect(partitions[1].size).toBeGreaterThan(input.root.bytes + 3 * SITE_ROOM.bytes);
    expect(partitions[1].size).toBeLessThan(1100 * MIB);
    expect(rootInodes).toBeGreaterThan(40_000 + SITE_ROOM.inodes);
  });
  it('gives the data partition what its content needs', () => {
    const of = (bytes: number): number => dataLayout('pc', 0, { bytes, inodes: 100 }, ids).partition.size;
    expect(of(0)).toBe(128 * MIB);
    expect(of(1000 * MIB)).toBeGreaterThan(1060 * MIB);
  });
  it.each([
    [20, 128, 2],
    [150, 256, 4],
    [300, 512, 8],
  ])(
    'makes a FAT for %i MiB: %i MiB, %i sectors per cluster, with clusters enough for FAT32',
    (files, fat, cluster) => {
      const { partitions, clusterSectors } = diskLayout({ ...input, bootBytes: files * MIB });
      expect(partitions[0].size).toBe(fat * MIB);
      expect(clusterSectors).toBe(cluster);
      expect(partitions[0].size / 512 / clusterSectors).toBeGreaterThan(66_000);
    },
  );
  it('refuses boot files that fit nowhere', () => {
    expect(() => diskLayout({ ...input, bootBytes: 600 * MIB })).toThrow('at most 512 MiB');
  });
});
