import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile, open, stat } from 'node:fs/promises';
import { InterruptedError, WorkError } from '../diagnostics/errors.js';
import type { Host } from '../host/host.js';
import { MAP_BLOCK, usedBlocks } from './used.js';

const CHUNK = 1 << 20;
const ZEROS = Buffer.alloc(MAP_BLOCK);
const NO_SUM = '0'.repeat(64);
/** Ranges end at multiples of it, so that they can be made and checked side by side. Bytes. */
const SEGMENT = 16 << 20;

/** Blocks `first` to `last` (inclusive) hold something; `sha256` is the checksum of their bytes. */
export interface BmapRange {
  readonly first: number;
  readonly last: number;
  readonly sha256: string | null;
}

/** A block map: which parts of an image have to be written. */
export interface Bmap {
  /** Bytes. */
  readonly imageSize: number;
  /** Bytes. */
  readonly blockSize: number;
  readonly ranges: readonly BmapRange[];
}

/** Bytes of the mapped blocks; the last block of an image may be short. */
export function mappedBytes(map: Bmap): number {
  return map.ranges.reduce((sum, range) => sum + rangeBytes(map, range).length, 0);
}

/** Where a range lies in the image, bytes. */
export function rangeBytes(map: Bmap, range: BmapRange): { offset: number; length: number } {
  const offset = range.first * map.blockSize;
  return { offset, length: Math.min((range.last + 1) * map.blockSize, map.imageSize) - offset };
}

/** Whether a buffer holds only zeros. */
export function isZero(buffer: Buffer): boolean {
  for (let at = 0; at < buffer.length; at += ZEROS.length) {
    const part = buffer.subarray(at, at + ZEROS.length);
    if (!part.equals(part.length === ZEROS.length ? ZEROS : ZEROS.subarray(0, part.length))) return false;
  }
  return true;
}

/**
 * Reads an image: its block map and the SHA-256 of the whole. Mapped are the blocks that are not zero, and those
 * a file system uses though they are (`usedBlocks`): the map depends on the image's bytes alone, not on where the
 * disk it lies on has holes. `everyZero: 'skip'` leaves the second kind out.
 */
export async function createBmap(
  host: Host,
  image: string,
  options: { readonly everyZero?: 'skip' | 'used'; readonly progressId?: string } = {},
): Promise<{ map: Bmap; sha256: string }> {
  const file = await open(image, 'r');
  let size: number;
  let used: Uint8Array;
  try {
    ({ size } = await file.stat());
    used =
      options.everyZero === 'skip'
        ? new Uint8Array(Math.ceil(size / MAP_BLOCK))
        : await usedBlocks(file, size);
  } finally {
    await file.close();
  }
  let done = 0;
  const onBytes = (count: number): void => {
    done += count;
    if (options.progressId === undefined) return;
    host.emit({ type: 'progress', id: options.progressId, done, total: size, unit: 'bytes' });
  };
  const [sha256, ranges] = await Promise.all([
    host.threads.run('sha256', { path: image, size }, onBytes),
    mapSegments(host, image, size, used),
  ]);
  return { map: { imageSize: size, blockSize: MAP_BLOCK, ranges }, sha256 };
}

/**
 * The ranges of a file: blocks that are used or not zero, with their checksums.
 * @param used one byte for each block.
 */
async function mapSegments(
  host: Host,
  path: string,
  size: number,
  used: Uint8Array,
  copyTo?: string,
): Promise<readonly BmapRange[]> {
  const parts: Promise<readonly BmapRange[]>[] = [];
  for (let from = 0; from < size; from += SEGMENT) {
    const to = Math.min(from + SEGMENT, size);
    const own = used.slice(from / MAP_BLOCK, Math.ceil(to / MAP_BLOCK));
    // Of what is not mapped nothing is copied.
    if (copyTo !== undefined && !own.includes(1)) continue;
    parts.push(
      host.threads.run('map', {
        path,
        from,
        to,
        block: MAP_BLOCK,
        used: own,
        ...(copyTo === undefined ? {} : { copyTo }),
      }),
    );
  }
  // All have ended before anything is removed.
  const results = await Promise.allSettled(parts);
  return results.flatMap((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}

/**
 * Copies an image that has a block map, holes left out, and checks every byte against the map on the way. A file system that
 * can (btrfs, xfs) shares the blocks instead; then they are only read.
 * @param to must not be there.
 * @returns whether the copy is what the map says; when it is not, it has to be thrown away.
 */
export async function copyByMap(host: Host, from: string, map: Bmap, to: string): Promise<boolean> {
  const { imageSize: size } = map;
  const shared = await copyFile(from, to, constants.COPYFILE_FICLONE_FORCE).then(
    () => true,
    () => false,
  );
  if (!shared) {
    const file = await open(to, 'w');
    try {
      await file.truncate(size);
    } finally {
      await file.close();
    }
  }
  const used = new Uint8Array(Math.ceil(size / MAP_BLOCK));
  for (const { first, last } of map.ranges) used.fill(1, first, last + 1);
  if (map.blockSize !== MAP_BLOCK || (await stat(from)).size !== size) return false;
  const found = shared
    ? await mapSegments(host, to, size, used)
    : await mapSegments(host, from, size, used, to);
  return (
    found.length === map.ranges.length &&
    found.every((range, index) => {
      const wanted = map.ranges[index];
      return range.first === wanted?.first && range.last === wanted.last && range.sha256 === wanted.sha256;
    })
  );
}

/**
 * The `.bmap` file of an image and what its stage needs to know.
 * @param name the image's name, for the comment a person reads
 */
export async function makeBmap(
  host: Host,
  image: string,
  name: string,
): Promise<{ xml: string; sha256: string; mappedBytes: number }> {
  const { map, sha256 } = await createBmap(host, image);
  return { xml: formatBmap(map, name), sha256, mappedBytes: mappedBytes(map) };
}

/** A bmap file of version 2.0, as bmaptool(1) writes and reads it. Its own checksum is counted with zeros in place. */
export function formatBmap(map: Bmap, name: string): string {
  const blocks = Math.ceil(map.imageSize / map.blockSize);
  const mapped = map.ranges.reduce((sum, range) => sum + range.last - range.first + 1, 0);
  // Two hyphens would end an XML comment.
  const title = name.replace(/[^\w. ]+/g, '-');
  const ranges = map.ranges.map(({ first, last, sha256 }) => {
    const sum = sha256 === null ? '' : ` chksum="${sha256}"`;
    return `        <Range${sum}> ${first === last ? first : `${first}-${last}`} </Range>\n`;
  });
  const text = `<?xml version="1.0" ?>
<!-- Block map of ${title}: the blocks that have to be written to a card, with their checksums.
     "commeshctl flash" and "bmaptool copy" read it. -->

<bmap version="2.0">
    <!-- Bytes -->
    <ImageSize> ${map.imageSize} </ImageSize>

    <!-- Bytes -->
    <BlockSize> ${map.blockSize} </BlockSize>

    <BlocksCount> ${blocks} </BlocksCount>

    <MappedBlocksCount> ${mapped} </MappedBlocksCount>

    <ChecksumType> sha256 </ChecksumType>

    <!-- Of this file, with zeros in the place of this value -->
    <BmapFileChecksum> ${NO_SUM} </BmapFileChecksum>

    <BlockMap>
${ranges.join('')}    </BlockMap>
</bmap>
`;
  return text.replace(NO_SUM, createHash('sha256').update(text).digest('hex'));
}

/**
 * Reads a bmap file of version 2 (or 1.4, which is the same but for its number).
 * @param name for messages
 * @throws WorkError when it is damaged or of another kind
 */
export function parseBmap(text: string, name: string): Bmap {
  const bad = (why: string): WorkError =>
    new WorkError(`the block map ${name} ${why}`, {
      hint: 'copy it again together with the image, or take it away: flashing then needs a little longer',
    });
  const bare = text.replace(/<!--[\s\S]*?-->/g, '');
  const value = (tag: string): string => {
    const found = new RegExp(`<${tag}>\\s*([^<\\s]+)\\s*</${tag}>`).exec(bare)?.[1];
    if (found === undefined) throw bad(`has no ${tag}`);
    return found;
  };
  const count = (text: string): number => {
    const number = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(number))
      throw bad(`says "${text}" where a number belongs`);
    return number;
  };
  const version = /<bmap\s+version="(\d+)\.(\d+)"\s*>/.exec(bare);
  if (!version) throw bad('is not a block map');
  if (!(version[1] === '2' || (version[1] === '1' && version[2] === '4'))) {
    throw bad(`is of version ${version[1]}.${version[2]}, which commeshctl does not know`);
  }
  if (value('ChecksumType') !== 'sha256')
    throw bad(`has ${value('ChecksumType')} checksums; only sha256 is known`);
  const sum = value('BmapFileChecksum');
  const zeroed = createHash('sha256').update(text.replace(sum, NO_SUM)).digest('hex');
  if (zeroed !== sum) throw bad('is damaged (its own checksum does not match)');

  const imageSize = count(value('ImageSize'));
  const blockSize = count(value('BlockSize'));
  const blocks = count(value('BlocksCount'));
  if (blockSize < 512 || blocks !== Math.ceil(imageSize / blockSize)) throw bad('contradicts itself');
  const body = /<BlockMap>([\s\S]*)<\/BlockMap>/.exec(bare)?.[1];
  if (body === undefined) throw bad('has no BlockMap');
  const ranges: BmapRange[] = [];
  let mapped = 0;
  const entries = body.matchAll(
    /<Range(?:\s+chksum="([0-9a-f]{64})")?\s*>\s*(\d+)(?:\s*-\s*(\d+))?\s*<\/Range>/g,
  );
  for (const [, chksum, from, to] of entries) {
    const first = count(from ?? '');
    const last = to === undefined ? first : count(to);
    if (first > last || last >= blocks || first <= (ranges.at(-1)?.last ?? -1))
      throw bad('contradicts itself');
    ranges.push({ first, last, sha256: chksum ?? null });
    mapped += last - first + 1;
  }
  if (mapped !== count(value('MappedBlocksCount'))) throw bad('contradicts itself');
  return { imageSize, blockSize, ranges };
}

/**
 * Compares an image with its map.
 * @returns the ranges whose bytes differ (none: all is well)
 * @throws WorkError when the map is of an image of another size
 */
export async function checkBmap(host: Host, image: string, map: Bmap): Promise<readonly BmapRange[]> {
  const file = await open(image, 'r');
  try {
    const { size } = await file.stat();
    if (size !== map.imageSize) {
      throw new WorkError(`${image} has ${size} bytes, its block map is of an image of ${map.imageSize}`);
    }
    const bad: BmapRange[] = [];
    const buffer = Buffer.allocUnsafe(CHUNK);
    for (const range of map.ranges) {
      if (range.sha256 === null) continue;
      const { offset, length } = rangeBytes(map, range);
      const hash = createHash('sha256');
      for (let done = 0; done < length;) {
        if (host.signal.aborted) throw new InterruptedError();
        const { bytesRead } = await file.read(buffer, 0, Math.min(CHUNK, length - done), offset + done);
        if (bytesRead === 0) throw new WorkError(`${image} became shorter while it was read`);
        hash.update(buffer.subarray(0, bytesRead));
        done += bytesRead;
      }
      if (hash.digest('hex') !== range.sha256) bad.push(range);
    }
    return bad;
  } finally {
    await file.close();
  }
}
