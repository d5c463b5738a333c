import { mkdir, open, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHost } from '../../src/host/host.js';
import { encodeMbr } from '../../src/image/mbr.js';
import { usedBlocks } from '../../src/image/used.js';

const MIB = 1 << 20;
const START = MIB;
const host = createHost();
let folder: string;

beforeAll(async () => {
  folder = await host.temporary('used');
  await mkdir(join(folder, 'tree'));
  for (let index = 0; index < 40; index++) {
    await writeFile(join(folder, 'tree', `file-${index}`), Buffer.alloc(index * 50_000, index));
  }
});
afterAll(() => host.close());

/** An image with one partition made by `make`, which gets the image's path. */
async function used(
  type: number,
  size: number,
  make: (image: string) => readonly string[],
): Promise<Uint8Array> {
  const image = join(folder, 'image');
  await writeFile(image, '');
  await truncate(image, START + size);
  await host.exec(make(image), { cwd: folder });
  const file = await open(image, 'r+');
  try {
    const entry = { bootable: false, type, start: START / 512, sectors: size / 512 };
    await file.write(encodeMbr(1, [entry]), 0, 512, 0);
    return await usedBlocks(file, START + size);
  } finally {
    await file.close();
  }
}
const sum = (blocks: Uint8Array): number => blocks.subarray(START / 4096).reduce((all, one) => all + one, 0);

describe('blocks in use, against the count of the file system itself', () => {
  it.each<[string, number, number, string[]]>([
    ['many groups, as kits have', 1200 * MIB, 4096, []],
    ['a last group of its own size', 260 * MIB, 4096, []],
    ['room to grow', 400 * MIB, 4096, ['-E', 'resize=536870912']],
    ['no 64bit', 300 * MIB, 4096, ['-O', '^64bit']],
    ['no flexible groups', 600 * MIB, 4096, ['-O', '^flex_bg']],
  ])('ext4: %s', async (_what, size, block, flags) => {
    const extended = flags[0] === '-E' ? `,${flags[1]}` : '';
    const other = flags[0] === '-E' ? [] : flags;
    const found = await used(0x83, size, (image) => [
      ...['mke2fs', '-q', '-F', '-t', 'ext4', '-b', String(block), ...other],
      ...['-E', `offset=${START},nodiscard${extended}`, '-d', 'tree', image, `${size / 1024}k`],
    ]);
    const { stdout } = await host.exec(['dumpe2fs', join(folder, `image?offset=${START}`)]);
    const value = (name: string): number => Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(stdout)?.[1]);
    // Not counted as used: copies of superblock and descriptors in groups whose bitmap was never written.
    const copies = stdout
      .split(/^Group /m)
      .slice(1)
      .filter((group) => group.includes('BLOCK_UNINIT'))
      .map((group) => {
        const count = (range: RegExp): number => {
          const match = range.exec(group);
          return match?.[1] === undefined ? 0 : Number(match[2] ?? match[1]) - Number(match[1]) + 1;
        };
        return (
          count(/superblock at (\d+)/) +
          count(/Group descriptors at (\d+)(?:-(\d+))?/) +
          count(/Reserved GDT blocks at (\d+)(?:-(\d+))?/)
        );
      })
      .reduce((all, one) => all + one, 0);
    expect(sum(found)).toBe(value('Block count') - value('Free blocks') - copies);
    expect(found.subarray(0, START / 4096).every((one) => one === 1)).toBe(true);
  });

  it.each([
    ['FAT32', 40 * MIB, ['-F', '32', '-s', '1']],
    ['FAT16', 40 * MIB, ['-F', '16', '-s', '8']],
  ])('%s', async (_what, size, flags) => {
    const found = await used(0x0c, size, (image) => [
      'sh',
      '-euc',
      `mkfs.vfat ${flags.join(' ')} --offset=${START / 512} ${image} ${size / 1024} >/dev/null
       MTOOLS_SKIP_CHECK=1 mcopy -i ${image}@@${START} tree/* ::`,
    ]);
    const kept = 40 * 39 * 25_000;
    const bytes = sum(found) * 4096;
    // All files, tables and root folder; blocks of 4 KiB straddle clusters.
    expect(bytes).toBeGreaterThan(kept);
    expect(bytes).toBeLessThan(kept + 2 * MIB);
    const { stdout } = await host.exec(['minfo', '-i', `${join(folder, 'image')}@@${START}`, '::'], {
      allowFailure: true,
    });
    expect(stdout).toContain('bootsector information');
  });

  it('counts all of what it cannot read', async () => {
    const found = await used(0x83, 8 * MIB, (image) => ['true', image]);
    expect(found.every((one) => one === 1)).toBe(true);
    const swap = await used(0x82, 8 * MIB, (image) => ['true', image]);
    expect(swap.every((one) => one === 1)).toBe(true);
  });
});
