import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { InterruptedError, UsageError, WorkError } from '../diagnostics/errors.js';
import { timed, type Host } from '../host/host.js';
import { isZero } from './bmap.js';
import { findDevice, refusal, sameDevice, sizeText, type BlockDevice } from './devices.js';
import { openFlashSource, PIECE, type FlashSource } from './flash-source.js';

/** Held back to the end: it holds the partition table, without which nothing takes the card for a kit. */
const FIRST = 4096;
/** Written to the card at least this often, so that progress tells the truth. */
const SYNC_EVERY = 16 * 1024 * 1024;
const SECTOR = 512;
/** Backup GPT: 32 sectors of entries and the header in the last one (UEFI specification 2.10, section 5.3.1). */
const BACKUP_GPT = 33 * SECTOR;
/** Reading errors are slow; with so many pieces bad the rest tells nothing new. */
const ENOUGH_BAD = 256;

export interface FlashRequest {
  /** `.img`, `.img.zst` or `.img.xz`. */
  readonly image: string;
  /** `/dev/sdb`, `sdb` or a link to it. */
  readonly device: string;
  /** Shows the device and returns what the person typed: its name, or anything else to stop. */
  readonly confirm: (device: BlockDevice, imageBytes: number) => Promise<string>;
  /** For tests on a machine without a spare card. */
  readonly allowLoop?: boolean;
}

export interface FlashResult {
  readonly device: BlockDevice;
  /** Bytes of the raw image. */
  readonly imageBytes: number;
  /** Bytes written to the device and read back. */
  readonly writtenBytes: number;
}

interface Written {
  readonly offset: number;
  readonly length: number;
  readonly digest: string;
}

/**
 * Writes an image to a whole removable device: only mapped blocks, the first one last, read back and compared with the
 * device's cache emptied. While it works, and after any failure, the device has no partition table.
 * @throws UsageError when nothing was written: the device does not fit or was not confirmed
 * @throws WorkError when writing or comparing failed
 */
export async function flash(host: Host, request: FlashRequest): Promise<FlashResult> {
  const chosen = await findDevice(host, request.device);
  refuse(chosen, 0, request.allowLoop);
  const source = await timed(host, 'flash/map', 'reading the image', () =>
    openFlashSource(host, request.image),
  );
  refuse(chosen, source.size, request.allowLoop);
  const typed = (await request.confirm(chosen, source.size)).trim();
  if (typed !== chosen.name && typed !== chosen.path) {
    throw new UsageError(`"${typed}" is not ${chosen.name}; nothing was written`, {
      hint: `to go on, type the device's name exactly: ${chosen.name}`,
    });
  }
  const again = await findDevice(host, chosen.path);
  if (!sameDevice(chosen, again)) {
    throw new UsageError(`${chosen.path} is no longer the device you chose; nothing was written`, {
      hint: 'leave the card plugged in and start again',
    });
  }
  refuse(again, source.size, request.allowLoop);

  const file = await openDevice(host, chosen);
  try {
    const result = await writeAndCompare(host, file, chosen, source);
    return { device: chosen, ...result };
  } catch (error) {
    if (error instanceof InterruptedError) {
      host.emit({
        type: 'log',
        level: 'warn',
        text: `${chosen.path} is not usable until it is flashed again`,
      });
    }
    throw inWords(error, chosen);
  } finally {
    await file.close();
    // So that this computer sees the new partitions; the card is right whether it does or not.
    await host.exec(['blockdev', '--rereadpt', chosen.path], { allowFailure: true }).catch(() => null);
  }
}

function refuse(device: BlockDevice, bytes: number, allowLoop = false): void {
  const refused = refusal(device, bytes, allowLoop);
  if (refused) throw new UsageError(refused.reason, { hint: refused.hint });
}

/** O_EXCL on a block device fails when anything mounted or holds it or one of its partitions (open(2)). */
async function openDevice(host: Host, device: BlockDevice): Promise<FileHandle> {
  const file = await open(device.path, constants.O_RDWR | constants.O_EXCL).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'EBUSY') {
        throw new UsageError(`${device.path} is in use; nothing was written`, {
          hint: 'close the windows that show it, unmount it, then try again',
        });
      }
      if (error.code === 'EACCES' || error.code === 'EPERM') {
        throw new UsageError(`you may not write to ${device.path}`, {
          hint: 'run the same command with sudo in front',
        });
      }
      throw inWords(error, device);
    },
  );
  try {
    const { rdev } = await file.stat({ bigint: true });
    // Layout of dev_t in the C library (makedev(3)).
    const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
    const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
    const { stdout } = await host.exec(['blockdev', '--getsize64', device.path]);
    if (`${major}:${minor}` !== device.number || Number(stdout) !== device.size) {
      throw new UsageError(`${device.path} changed while it was opened; nothing was written`, {
        hint: 'leave the card plugged in and start again',
      });
    }
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function writeAndCompare(
  host: Host,
  file: FileHandle,
  device: BlockDevice,
  source: FlashSource,
): Promise<{ imageBytes: number; writtenBytes: number }> {
  const first = Buffer.alloc(FIRST);
  const written: Written[] = [];
  const imageBytes = await timed(host, 'flash/write', `writing to ${device.path}`, async () => {
    await writeAll(file, Buffer.alloc(FIRST), 0);
    await wipeBackupTable(file, device.size);
    const size = await writePieces(host, file, device, source, first, written);
    if (source.zerosMatter) await clearGaps(host, file, written, size);
    await file.sync();
    return size;
  });
  await timed(host, 'flash/verify', `reading ${device.path} back`, async () => {
    await emptyCache(host, device);
    await compare(host, file, device, written);
    await writeAll(file, first, 0);
    await file.sync();
    await emptyCache(host, device);
    const back = Buffer.alloc(FIRST);
    await readAll(file, back, 0);
    if (!back.equals(first)) throw mismatch(device, 0, 1, FIRST);
  });
  return { imageBytes, writtenBytes: written.reduce((sum, piece) => sum + piece.length, FIRST) };
}

async function writePieces(
  host: Host,
  file: FileHandle,
  device: BlockDevice,
  source: FlashSource,
  first: Buffer,
  written: Written[],
): Promise<number> {
  let done = 0;
  let unsynced = 0;
  const pieces = source.pieces();
  try {
    for (;;) {
      const step = await pieces.next();
      if (step.done) return step.value;
      if (host.signal.aborted) throw new InterruptedError();
      let { offset, data } = step.value;
      if (offset + data.length > device.size) {
        throw new WorkError(
          `${device.path} is too small: it has ${sizeText(device.size)}, the image needs more`,
          {
            hint: 'choose a larger card',
          },
        );
      }
      done += data.length;
      if (offset < FIRST) {
        data.copy(first, offset, 0, FIRST - offset);
        const taken = Math.min(data.length, FIRST - offset);
        data = data.subarray(taken);
        offset += taken;
      }
      if (data.length > 0) {
        await writeAll(file, data, offset);
        written.push({ offset, length: data.length, digest: digest(data) });
      }
      unsynced += data.length;
      if (unsynced >= SYNC_EVERY) {
        await file.datasync();
        unsynced = 0;
      }
      host.emit({ type: 'progress', id: 'flash/write', done, total: source.mapped, unit: 'bytes' });
    }
  } finally {
    // Ends the program that unpacks, when writing failed.
    await pieces.return(0);
  }
}

/** Partitions of an earlier use must not come back from the copy of their table at the end of the device. */
async function wipeBackupTable(file: FileHandle, size: number): Promise<void> {
  const header = Buffer.alloc(SECTOR);
  await readAll(file, header, size - SECTOR);
  if (header.toString('latin1', 0, 8) === 'EFI PART') {
    await writeAll(file, Buffer.alloc(BACKUP_GPT), size - BACKUP_GPT);
  }
}

/** Writes zeros where the image has them and the device has not. */
async function clearGaps(
  host: Host,
  file: FileHandle,
  written: readonly Written[],
  size: number,
): Promise<void> {
  const buffer = Buffer.alloc(PIECE);
  let from = FIRST;
  for (const { offset, length } of [...written, { offset: size, length: 0 }]) {
    while (from < offset) {
      if (host.signal.aborted) throw new InterruptedError();
      const part = buffer.subarray(0, Math.min(PIECE, offset - from));
      await readAll(file, part, from);
      if (!isZero(part)) await writeAll(file, part.fill(0), from);
      from += part.length;
    }
    from = offset + length;
  }
}

async function compare(
  host: Host,
  file: FileHandle,
  device: BlockDevice,
  written: readonly Written[],
): Promise<void> {
  const buffer = Buffer.allocUnsafe(PIECE);
  const total = written.reduce((sum, piece) => sum + piece.length, 0);
  let done = 0;
  let bad = 0;
  let badBytes = 0;
  let firstBad = -1;
  for (const piece of written) {
    if (host.signal.aborted) throw new InterruptedError();
    const part = buffer.subarray(0, piece.length);
    const good = await readAll(file, part, piece.offset).then(
      () => digest(part) === piece.digest,
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EIO') throw error;
        return false;
      },
    );
    if (!good) {
      if (firstBad < 0) firstBad = piece.offset;
      bad += 1;
      badBytes += piece.length;
      if (bad >= ENOUGH_BAD) break;
    }
    done += piece.length;
    host.emit({ type: 'progress', id: 'flash/verify', done, total, unit: 'bytes' });
  }
  if (bad > 0) throw mismatch(device, firstBad, bad, badBytes);
}

function mismatch(device: BlockDevice, offset: number, pieces: number, bytes: number): WorkError {
  const several =
    pieces >= ENOUGH_BAD ? `${pieces} or more places` : pieces === 1 ? 'one place' : `${pieces} places`;
  return new WorkError(
    `${device.path} did not keep what was written: it differs in ${several} (${sizeText(bytes)}), first at byte ` +
      `${offset} (${sizeText(offset)})`,
    {
      hint:
        'try another card reader or USB port; if it happens again, try another card. ' +
        'A card that goes wrong from one place on to the end is smaller than it claims: throw it away. ' +
        'This one was left without a partition table and cannot be used by mistake',
    },
  );
}

/** Empties this computer's cache of the device (BLKFLSBUF), so that reading asks the card itself. */
async function emptyCache(host: Host, device: BlockDevice): Promise<void> {
  await host.exec(['blockdev', '--flushbufs', device.path], {
    title: `emptying the cache of ${device.path}`,
  });
}

function digest(data: Buffer): string {
  return createHash('sha256').update(data).digest('base64');
}

async function writeAll(file: FileHandle, data: Buffer, position: number): Promise<void> {
  for (let done = 0; done < data.length;) {
    const { bytesWritten } = await file.write(data, done, data.length - done, position + done);
    done += bytesWritten;
  }
}

async function readAll(file: FileHandle, buffer: Buffer, position: number): Promise<void> {
  for (let done = 0; done < buffer.length;) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, position + done);
    if (bytesRead === 0) throw Object.assign(new Error('end of device'), { code: 'EIO' });
    done += bytesRead;
  }
}

const TROUBLE: Readonly<Record<string, readonly [string, string]>> = {
  EIO: ['refuses to be written or read', 'try another card reader or USB port, then another card'],
  ENOSPC: ['is full before its end', 'it is smaller than it claims, or broken; use another card'],
  EROFS: ['cannot be written to', 'look for the little lock switch at the side of the card or adapter'],
  EPERM: ['cannot be written to', 'look for the little lock switch at the side of the card or adapter'],
  ENXIO: ['was pulled out', 'plug it in again and start again'],
  ENODEV: ['was pulled out', 'plug it in again and start again'],
  ENOMEDIUM: ['has no card in it', 'push the card in until it clicks, then start again'],
};

function inWords(error: unknown, device: BlockDevice): unknown {
  const words = TROUBLE[(error as NodeJS.ErrnoException).code ?? ''];
  return words ? new WorkError(`${device.path} ${words[0]}`, { hint: words[1], cause: error }) : error;
}
