import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, open } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { InterruptedError, ToolError, UsageError, WorkError } from '../diagnostics/errors.js';
import { readTextIfThere } from '../host/files.js';
import { tail, type Host } from '../host/host.js';
import { createBmap, isZero, mappedBytes, parseBmap, rangeBytes, type Bmap } from './bmap.js';
import { MAP_BLOCK } from './used.js';

/** Bytes read, written and compared at a time; pieces never cross a multiple of it. */
export const PIECE = 256 * 1024;

const UNPACKERS: Readonly<Record<string, readonly string[]>> = {
  '.zst': ['zstd', '-dcq', '--long=31'],
  '.xz': ['xz', '-dcq'],
};

/** A stretch of the image that has to be written. */
export interface Piece {
  readonly offset: number;
  /** Valid until the next piece is asked for. */
  readonly data: Buffer;
}

/** An image about to be written. */
export interface FlashSource {
  /** Bytes of the raw image; 0 when only reading it to its end will tell. */
  readonly size: number;
  /** Bytes that will be written; 0: unknown. */
  readonly mapped: number;
  /** Zeros were left out without knowing whether a file system relies on them: the device has to have zeros there. */
  readonly zerosMatter: boolean;
  /**
   * The pieces in ascending order, checked against the image's checksums on the way; a wrong one throws WorkError after
   * the pieces it is about. Returns the size of the raw image.
   */
  pieces(): AsyncGenerator<Piece, number>;
}

/**
 * Opens a raw image (`.img`, any other name) or a compressed one (`.zst`, `.xz`) with the block map beside it; for a raw
 * one without a map, the map is made now.
 * @throws UsageError when the file is not there, WorkError when it is not the image of its map
 */
export async function openFlashSource(host: Host, image: string): Promise<FlashSource> {
  await access(image, constants.R_OK).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(
      error.code === 'ENOENT' ? `there is no image ${image}` : `the image ${image} cannot be read`,
      { hint: 'build one with "commeshctl build-image"' },
    );
  });
  const ending = Object.keys(UNPACKERS).find((known) => image.endsWith(known)) ?? '';
  const raw = ending === '' ? image : image.slice(0, -ending.length);
  const map = await findMap(image, raw);
  const unpack = UNPACKERS[ending];
  if (unpack) {
    return {
      size: map?.imageSize ?? 0,
      mapped: map ? mappedBytes(map) : 0,
      zerosMatter: map === null,
      pieces: () => unpackedPieces(host, [...unpack, image], image, raw, map),
    };
  }
  const file = await open(image, 'r');
  const { size } = await file.stat().finally(() => file.close());
  if (size === 0 || size % 512 !== 0) {
    throw new WorkError(`${image} is not a disk image: it has ${size} bytes, not a whole number of sectors`, {
      hint: 'perhaps it was copied only in part; copy or build it again',
    });
  }
  if (map !== null && map.imageSize !== size) {
    throw new WorkError(`${image} has ${size} bytes, but its block map is of an image of ${map.imageSize}`, {
      hint: 'perhaps it was copied only in part; copy image and .bmap again, both from the same place',
    });
  }
  const full = map ?? (await createBmap(host, image, { progressId: 'flash/map' })).map;
  return {
    size,
    mapped: mappedBytes(full),
    zerosMatter: false,
    pieces: () => rawPieces(host, image, full),
  };
}

/** The block map beside an image, under the names bmaptool looks for. */
async function findMap(image: string, raw: string): Promise<Bmap | null> {
  for (const path of new Set([`${image}.bmap`, `${raw}.bmap`, `${raw.replace(/\.(img|raw)$/, '')}.bmap`])) {
    const text = await readTextIfThere(path);
    if (text !== null) return parseBmap(text, path);
  }
  return null;
}

/** Checks pieces, coming in order, against the checksums of the map. */
class RangeCheck {
  #index = 0;
  #hash = createHash('sha256');
  constructor(
    readonly image: string,
    readonly map: Bmap,
  ) {}

  feed(offset: number, data: Buffer): void {
    const range = this.map.ranges[this.#index];
    if (!range) return;
    this.#hash.update(data);
    const place = rangeBytes(this.map, range);
    if (offset + data.length < place.offset + place.length) return;
    const sum = this.#hash.digest('hex');
    this.#hash = createHash('sha256');
    this.#index += 1;
    if (range.sha256 !== null && range.sha256 !== sum) {
      throw new WorkError(
        `the image ${this.image} is damaged between byte ${place.offset} and ${place.offset + place.length}`,
        {
          hint: 'copy or build it again; the card was left without a partition table and cannot be used by mistake',
        },
      );
    }
  }

  /** Throws unless every range was seen. */
  finish(): void {
    if (this.#index < this.map.ranges.length) {
      throw new WorkError(`the image ${this.image} is shorter than its block map says`, {
        hint: 'copy or build it again',
      });
    }
  }
}

async function* rawPieces(host: Host, image: string, map: Bmap): AsyncGenerator<Piece, number> {
  const check = new RangeCheck(image, map);
  const file = await open(image, 'r');
  try {
    const buffer = Buffer.allocUnsafe(PIECE);
    for (const range of map.ranges) {
      const { offset, length } = rangeBytes(map, range);
      for (let at = offset; at < offset + length;) {
        if (host.signal.aborted) throw new InterruptedError();
        const most = Math.min(PIECE - (at % PIECE), offset + length - at);
        const { bytesRead } = await file.read(buffer, 0, most, at);
        if (bytesRead === 0) throw new WorkError(`${image} became shorter while it was read`);
        const data = buffer.subarray(0, bytesRead);
        yield { offset: at, data };
        check.feed(at, data);
        at += bytesRead;
      }
    }
    check.finish();
    return map.imageSize;
  } finally {
    await file.close();
  }
}

/** The unpacked image in chunks of PIECE bytes, the last one shorter. */
async function* unpacked(host: Host, argv: readonly string[], image: string): AsyncGenerator<Buffer> {
  const stderr: string[] = [];
  const program = host.start(argv, {
    // Not to be collected in memory: it is read here.
    stdout: new PassThrough(),
    onStderrLine: (line) => stderr.push(line),
  });
  try {
    const buffer = Buffer.allocUnsafe(PIECE);
    let filled = 0;
    for await (const chunk of program.stdout as AsyncIterable<Buffer>) {
      if (host.signal.aborted) throw new InterruptedError();
      for (let at = 0; at < chunk.length;) {
        const taken = chunk.copy(buffer, filled, at);
        filled += taken;
        at += taken;
        if (filled === PIECE) {
          yield buffer;
          filled = 0;
        }
      }
    }
    const { exitCode } = await program.exited;
    if (exitCode !== 0) {
      throw new ToolError(argv, exitCode, tail(stderr.join('\n')), {
        title: `unpacking ${image}`,
        hint: 'the image is damaged or was copied only in part; copy or build it again',
      });
    }
    if (filled > 0) yield buffer.subarray(0, filled);
  } finally {
    await program.stop();
  }
}

async function* unpackedPieces(
  host: Host,
  argv: readonly string[],
  image: string,
  raw: string,
  map: Bmap | null,
): AsyncGenerator<Piece, number> {
  const check = map === null ? null : new RangeCheck(image, map);
  const whole = map === null ? createHash('sha256') : null;
  let offset = 0;
  let next = 0;
  for await (const data of unpacked(host, argv, image)) {
    whole?.update(data);
    const end = offset + data.length;
    if (map === null) {
      yield* nonZero(offset, data);
    } else {
      for (let range = map.ranges[next]; range; range = map.ranges[next]) {
        const place = rangeBytes(map, range);
        const from = Math.max(place.offset, offset);
        const to = Math.min(place.offset + place.length, end);
        if (from < to) {
          const part = data.subarray(from - offset, to - offset);
          yield { offset: from, data: part };
          check?.feed(from, part);
        }
        if (place.offset + place.length > end) break;
        next += 1;
      }
    }
    offset = end;
  }
  check?.finish();
  if (offset === 0 || offset % 512 !== 0 || (map !== null && offset !== map.imageSize)) {
    throw new WorkError(`${image} does not hold the disk image it should: ${offset} bytes came out`, {
      hint: 'copy or build it again',
    });
  }
  if (whole) await checkSum(raw, whole.digest('hex'));
  return offset;
}

/** Runs of blocks that are not zero. */
function* nonZero(offset: number, data: Buffer): Generator<Piece> {
  let from = -1;
  for (let at = 0; at < data.length; at += MAP_BLOCK) {
    const zero = isZero(data.subarray(at, at + MAP_BLOCK));
    if (!zero && from < 0) from = at;
    if (zero && from >= 0) {
      yield { offset: offset + from, data: data.subarray(from, at) };
      from = -1;
    }
  }
  if (from >= 0) yield { offset: offset + from, data: data.subarray(from) };
}

/** Compares with the `.sha256` beside the image, if there is one. */
async function checkSum(raw: string, sum: string): Promise<void> {
  const text = await readTextIfThere(join(dirname(raw), `${basename(raw)}.sha256`));
  const wanted = text === null ? null : /^[0-9a-f]{64}/.exec(text)?.[0];
  if (wanted && wanted !== sum) {
    throw new WorkError(`the image is not the one that ${raw}.sha256 names: it is damaged or another one`, {
      hint: 'copy or build it again; the card was left without a partition table and cannot be used by mistake',
    });
  }
}
