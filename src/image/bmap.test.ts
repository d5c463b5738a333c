import { createHash } from 'node:crypto';
import { open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHost } from '../host/host.js';
import {
  checkBmap,
  copyByMap,
  createBmap,
  formatBmap,
  makeBmap,
  mappedBytes,
  parseBmap,
  type Bmap,
} from './bmap.js';

const BLOCK = 4096;
const sum = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

let host: ReturnType<typeof createHost>;
let image: string;
beforeEach(async () => {
  host = createHost();
  image = join(await host.temporary('bmap-test'), 'kit.img');
});
afterEach(() => host.close());

/** An image in which the listed blocks are not zero. */
async function make(size: number, blocks: readonly number[]): Promise<Buffer> {
  const data = Buffer.alloc(size);
  for (const block of blocks) data[Math.min(block * BLOCK + 4000, size - 1)] = (block % 255) + 1;
  await writeFile(image, data);
  return data;
}
const skip = { everyZero: 'skip' } as const;

describe('a block map', () => {
  it.each<[string, number, number[], string]>([
    ['nothing', 20 * BLOCK, [], ''],
    ['everything', 3 * BLOCK, [0, 1, 2], '0-2'],
    ['first and last', 600 * BLOCK, [0, 599], '0 599'],
    [
      'a run over a chunk boundary',
      600 * BLOCK,
      [250, 251, 252, 253, 254, 255, 256, 257, 300],
      '250-257 300',
    ],
    ['a run that ends with a chunk', 600 * BLOCK, [254, 255, 511], '254-255 511'],
    ['a run that begins with a chunk', 600 * BLOCK, [256, 512, 513], '256 512-513'],
    ['a short last block', 4 * BLOCK + 512, [1, 4], '1 4'],
  ])('of %s', async (_what, size, blocks, expected) => {
    const data = await make(size, blocks);
    const { map, sha256 } = await createBmap(host, image, skip);
    expect(
      map.ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`)).join(' '),
    ).toBe(expected);
    for (const { first, last, sha256: part } of map.ranges) {
      expect(part).toBe(sum(data.subarray(first * BLOCK, (last + 1) * BLOCK)));
    }
    expect(sha256).toBe(sum(data));
    const text = formatBmap(map, 'kit.img');
    expect(parseBmap(text, 'x')).toEqual(map);
    expect(await checkBmap(host, image, map)).toEqual([]);
  });

  it('holds all of an image it knows nothing about', async () => {
    await make(20 * BLOCK, [3]);
    expect((await createBmap(host, image)).map.ranges.map(({ first, last }) => [first, last])).toEqual([
      [0, 19],
    ]);
    expect(await makeBmap(host, image, 'kit')).toMatchObject({ mappedBytes: 20 * BLOCK });
  });

  it('counts the bytes of a short last block', async () => {
    await make(4 * BLOCK + 512, [1, 4]);
    expect(mappedBytes((await createBmap(host, image, skip)).map)).toBe(BLOCK + 512);
  });

  it('finds a flipped bit and an image of another size', async () => {
    await make(600 * BLOCK, [3, 4, 400]);
    const { map } = await createBmap(host, image, skip);
    const file = await open(image, 'r+');
    await file.write(Buffer.from([77]), 0, 1, 400 * BLOCK + 1);
    expect((await checkBmap(host, image, map)).map((range) => range.first)).toEqual([400]);
    await file.truncate(599 * BLOCK);
    await file.close();
    await expect(checkBmap(host, image, map)).rejects.toThrow(/is of an image of 2457600/);
  });
});

describe('a copy by the map', () => {
  const SIZE = 9000 * BLOCK;
  const poke = async (position: number): Promise<void> => {
    const file = await open(image, 'r+');
    await file.write(Buffer.from([77]), 0, 1, position);
    await file.close();
  };
  const copy = (): string => `${image}.copy`;
  let map: Bmap;
  beforeEach(async () => {
    await make(SIZE, [0, 1, 2, 4094, 4095, 4096, 8999]);
    ({ map } = await createBmap(host, image, skip));
    await rm(copy(), { force: true });
  });

  it('is the same, with its holes', async () => {
    expect(map.ranges.map(({ first, last }) => [first, last])).toEqual([
      [0, 2],
      // Ranges end where segments of 16 MiB do.
      [4094, 4095],
      [4096, 4096],
      [8999, 8999],
    ]);
    expect(await copyByMap(host, image, map, copy())).toBe(true);
    expect((await readFile(copy())).equals(await readFile(image))).toBe(true);
    expect((await stat(copy())).blocks * 512).toBeLessThan(SIZE / 10);
  });

  it('is refused when a mapped byte was changed, one beside, or the size', async () => {
    await poke(4095 * BLOCK);
    expect(await copyByMap(host, image, map, copy())).toBe(false);
    await make(SIZE, [0, 1, 2, 3, 4094, 4095, 4096, 8999]);
    expect(await copyByMap(host, image, map, copy())).toBe(false);
    await make(SIZE - BLOCK, [0, 1, 2, 4094, 4095, 4096]);
    expect(await copyByMap(host, image, map, copy())).toBe(false);
  });

  it('takes no byte that the map does not know', async () => {
    await make(3 * 4096 * BLOCK, [0, 8999]);
    const known = (await createBmap(host, image, skip)).map;
    // In a segment of which nothing is mapped: not even read.
    await poke(5000 * BLOCK);
    const good = await copyByMap(host, image, known, copy());
    const copied = await readFile(copy());
    expect(good && copied[5000 * BLOCK] !== 0).toBe(false);
  });

  it('can be interrupted', async () => {
    const going = copyByMap(host, image, map, copy());
    host.interrupt();
    await expect(going).rejects.toThrow(/interrupted/);
  });
});

describe('reading a map', () => {
  const map: Bmap = {
    imageSize: 10 * BLOCK,
    blockSize: BLOCK,
    ranges: [
      { first: 0, last: 1, sha256: 'a'.repeat(64) },
      { first: 4, last: 4, sha256: 'b'.repeat(64) },
    ],
  };
  /** A changed file with its own checksum put right again. */
  function change(from: string | RegExp, to: string): string {
    const text = formatBmap(map, 'kit').replace(from, to);
    const old = /<BmapFileChecksum> (\w+)/.exec(text)?.[1] ?? '';
    const zeroed = text.replace(old, '0'.repeat(64));
    return zeroed.replace('0'.repeat(64), sum(Buffer.from(zeroed)));
  }
  it('takes ranges without checksums, and version 1.4', () => {
    expect(parseBmap(change(/ chksum="\w+"/g, ''), 'x').ranges).toEqual([
      { first: 0, last: 1, sha256: null },
      { first: 4, last: 4, sha256: null },
    ]);
    expect(parseBmap(change('version="2.0"', 'version="1.4"'), 'x')).toEqual(map);
  });
  it('keeps a name from ending its comment', () => {
    expect(parseBmap(formatBmap(map, 'a--><bmap version="9.9">'), 'x')).toEqual(map);
  });
  it.each<[string, string | RegExp, string, RegExp]>([
    ['another version', 'version="2.0"', 'version="3.0"', /version 3\.0/],
    ['an old version', 'version="2.0"', 'version="1.3"', /version 1\.3/],
    ['sha1', '<ChecksumType> sha256', '<ChecksumType> sha1', /only sha256/],
    ['no size', /<ImageSize>.*/, '', /has no ImageSize/],
    ['a negative size', /<ImageSize> /, '<ImageSize> -', /where a number belongs/],
    ['too many blocks', '<BlocksCount> 10', '<BlocksCount> 11', /contradicts itself/],
    ['a wrong count', '<MappedBlocksCount> 3', '<MappedBlocksCount> 4', /contradicts itself/],
    ['ranges out of order', '> 4 <', '> 1 <', /contradicts itself/],
    ['a range past the end', '> 4 <', '> 10 <', /contradicts itself/],
    ['a lost range', /<Range [^\n]*> 4 <\/Range>/, '', /contradicts itself/],
    ['no map', /<BlockMap>[\s\S]*<\/BlockMap>/, '', /has no BlockMap/],
  ])('refuses one with %s', (_what, from, to, words) => {
    expect(() => parseBmap(change(from, to), 'kit.bmap')).toThrow(words);
  });
  it('refuses one that was changed, and what is none', () => {
    const text = formatBmap(map, 'kit');
    expect(() => parseBmap(text.replace('> 4 <', '> 5 <'), 'kit.bmap')).toThrow(
      /its own checksum does not match/,
    );
    expect(() => parseBmap(text.slice(0, 300), 'kit.bmap')).toThrow(/kit\.bmap has no|is not a block map/);
    expect(() => parseBmap('', 'kit.bmap')).toThrow(/is not a block map/);
  });
});
