// @ts-check
// One of the threads of `threads.ts`. Plain JavaScript with types in comments, so that the same file runs beside the compiled
// program and beside the sources under test; tsc checks and copies it.
import { createHash, generateKeyPairSync } from 'node:crypto';
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';

/** @typedef {import('./threads.js').Jobs} Jobs */

const CHUNK = 1 << 20;
/** Bytes between two messages about them. */
const TELL_EVERY = 32 << 20;
/** Stretches of zeros of this size are left as holes in a copy. */
const HOLE = 1 << 16;
const ZEROS = Buffer.alloc(HOLE);

/** @param {Buffer} data at most HOLE bytes */
function isZero(data) {
  return data.equals(data.length === HOLE ? ZEROS : ZEROS.subarray(0, data.length));
}

/**
 * Fills the buffer from a position of a file.
 * @param {number} file
 * @param {Buffer} buffer
 * @param {number} position
 */
function readWhole(file, buffer, position) {
  for (let filled = 0; filled < buffer.length;) {
    const count = readSync(file, buffer, filled, buffer.length - filled, position + filled);
    if (count === 0) throw new Error('the file became shorter while it was read');
    filled += count;
  }
}

/** @type {{ [Kind in keyof Jobs]: (input: Jobs[Kind]['input'], onBytes: (count: number) => void) => Jobs[Kind]['output'] }} */
const jobs = {
  sha256({ path, size }, onBytes) {
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafe(CHUNK);
    const file = openSync(path, 'r');
    try {
      for (let position = 0; position < size; position += CHUNK) {
        const data = buffer.subarray(0, Math.min(CHUNK, size - position));
        readWhole(file, data, position);
        hash.update(data);
        onBytes(data.length);
      }
      return hash.digest('hex');
    } finally {
      closeSync(file);
    }
  },

  map({ path, from, to, block, used, copyTo }, onBytes) {
    const buffer = Buffer.allocUnsafe(CHUNK);
    const file = openSync(path, 'r');
    const copy = copyTo === undefined ? null : openSync(copyTo, 'r+');
    try {
      /** @type {Jobs['map']['output'][number][]} */
      const ranges = [];
      let first = -1;
      let hash = createHash('sha256');
      /** @param {number} last */
      const finish = (last) => {
        if (first >= 0) ranges.push({ first, last, sha256: hash.digest('hex') });
        first = -1;
      };
      for (let position = from; position < to; position += CHUNK) {
        const data = buffer.subarray(0, Math.min(CHUNK, to - position));
        readWhole(file, data, position);
        let runStart = -1;
        for (let at = 0; at < data.length; at += block) {
          const number = (position + at) / block;
          if (used[number - from / block] || !isZero(data.subarray(at, at + block))) {
            if (first < 0) {
              first = number;
              hash = createHash('sha256');
            }
            if (runStart < 0) runStart = at;
          } else if (first >= 0) {
            if (runStart >= 0) hash.update(data.subarray(runStart, at));
            runStart = -1;
            finish(number - 1);
          }
        }
        if (runStart >= 0) hash.update(data.subarray(runStart));
        if (copy !== null) {
          for (let at = 0; at < data.length; at += HOLE) {
            let end = at;
            while (end < data.length && !isZero(data.subarray(end, end + HOLE))) end += HOLE;
            if (end > at) writeSync(copy, data, at, Math.min(end, data.length) - at, position + at);
            at = end;
          }
        }
        onBytes(data.length);
      }
      finish(Math.ceil(to / block) - 1);
      return ranges;
    } finally {
      closeSync(file);
      if (copy !== null) closeSync(copy);
    }
  },

  rsaKey({ bits }) {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: bits });
    return privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  },
};

parentPort?.on('message', (/** @type {{ kind: keyof Jobs, input: never }} */ { kind, input }) => {
  let untold = 0;
  /** @param {number} bytes */
  const onBytes = (bytes) => {
    untold += bytes;
    // Each message wakes the main thread.
    if (untold < TELL_EVERY) return;
    parentPort?.postMessage({ bytes: untold });
    untold = 0;
  };
  try {
    const output = jobs[kind](input, onBytes);
    parentPort?.postMessage({ output, bytes: untold });
  } catch (error) {
    // The code of a system error does not travel with it.
    parentPort?.postMessage({ error, code: /** @type {NodeJS.ErrnoException} */ (error).code });
  }
});
