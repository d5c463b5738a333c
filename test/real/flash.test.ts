import { constants } from 'node:fs';
import { mkdir, open, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runFlash } from '../../src/cli/commands/flash.js';
import type { Cli } from '../../src/cli/context.js';
import { createTheme } from '../../src/cli/output/theme.js';
import type { HostEvent } from '../../src/host/events.js';
import { createHost, type Host } from '../../src/host/host.js';
import { checkBmap, makeBmap, parseBmap, rangeBytes, type Bmap } from '../../src/image/bmap.js';
import { PIECE } from '../../src/image/flash-source.js';
import { flash, type FlashRequest, type FlashResult } from '../../src/image/flash.js';
import { encodeMbr } from '../../src/image/mbr.js';

const MIB = 1 << 20;
const SIZE = 64 * MIB;
const CARD = 72 * MIB;
const FAT = { start: 2 * MIB, size: 34 * MIB };
const EXT4 = { start: 36 * MIB, size: 28 * MIB };

let onEvent: (event: HostEvent) => Promise<void> | void = () => {};
const events: HostEvent[] = [];
const host: Host & { interrupt(): void } = createHost((event) => {
  events.push(event);
  void onEvent(event);
});
let folder: string;
/** Raw image with a FAT and an ext4 that hold a file full of zeros between two that are not. */
let image: string;
let raw: Buffer;
let map: Bmap;
let card: { device: string; name: string; backing: string };
const loops: string[] = [];

async function sh(script: string, ...args: string[]): Promise<string> {
  return (await host.exec(['sh', '-euc', script, 'sh', ...args], { cwd: folder })).stdout;
}

/** A loop device over a file full of old data: the card of somebody who used it before. */
async function makeCard(size: number, fill = 0x5a, ...flags: string[]): Promise<typeof card> {
  const backing = join(folder, `card-${loops.length}`);
  await writeFile(backing, Buffer.alloc(size, fill));
  return attach(backing, ...flags);
}
async function attach(backing: string, ...flags: string[]): Promise<typeof card> {
  const device = (await host.exec(['losetup', '--find', '--show', ...flags, backing])).stdout.trim();
  loops.push(device);
  return { device, name: device.replace('/dev/', ''), backing };
}
async function detach(device: string): Promise<void> {
  loops.splice(loops.indexOf(device), 1);
  await host.exec(['losetup', '--detach', device], { allowFailure: true });
}

beforeAll(async () => {
  folder = await host.temporary('flash-real');
  image = join(folder, 'kit.img');
  await writeFile(image, '');
  await truncate(image, SIZE);
  const sectors = (part: { start: number; size: number }): { start: number; sectors: number } => ({
    start: part.start / 512,
    sectors: part.size / 512,
  });
  const file = await open(image, 'r+');
  await file.write(
    encodeMbr(0x12345678, [
      { bootable: true, type: 0x0c, ...sectors(FAT) },
      { bootable: false, type: 0x83, ...sectors(EXT4) },
    ]),
    0,
    512,
    0,
  );
  await file.close();
  await mkdir(join(folder, 'tree'));
  await writeFile(join(folder, 'tree', 'one'), Buffer.alloc(300_000, 1));
  // Two stretches of data with zeros between them that belong to the file.
  await writeFile(
    join(folder, 'tree', 'zeros'),
    Buffer.concat([Buffer.alloc(100_000, 2), Buffer.alloc(900_000), Buffer.alloc(100_000, 3)]),
  );
  await sh(`mkfs.vfat -F 32 -s 1 --offset=${FAT.start / 512} -n COMMESHBOOT kit.img ${FAT.size / 1024} >/dev/null
    MTOOLS_SKIP_CHECK=1 mcopy -i kit.img@@${FAT.start} tree/one tree/zeros ::
    mke2fs -q -F -t ext4 -b 4096 -E offset=${EXT4.start},nodiscard -d tree kit.img ${EXT4.size / 4096}`);
  raw = await readFile(image);
  const made = await makeBmap(host, image, 'kit.img');
  await writeFile(`${image}.bmap`, made.xml);
  map = parseBmap(made.xml, 'kit.img.bmap');
  await writeFile(`${image}.sha256`, `${made.sha256}  kit.img\n`);
  await sh(
    'zstd -q -3 -k kit.img; xz -0 -k kit.img; mkdir bare; cp kit.img.zst kit.img.xz kit.img.sha256 bare/; cp --sparse=always kit.img bare/',
  );
});
beforeEach(async () => {
  events.length = 0;
  onEvent = () => {};
  card = await makeCard(CARD);
});
afterEach(async () => {
  for (const device of [...loops]) await detach(device);
});
afterAll(() => host.close());

function run(more: Partial<FlashRequest> = {}): Promise<FlashResult> {
  return flash(host, {
    image,
    device: card.device,
    confirm: (device) => Promise.resolve(device.name),
    allowLoop: true,
    ...more,
  });
}

/** What is on the card now, past every cache. */
async function onCard(): Promise<Buffer> {
  await host.exec(['blockdev', '--flushbufs', card.device]);
  return readFile(card.device);
}

function isMapped(offset: number): boolean {
  return map.ranges.some((range) => {
    const place = rangeBytes(map, range);
    return offset >= place.offset && offset < place.offset + place.length;
  });
}

/** Blocks of 4 KiB, sorted by what they hold now. */
function count(now: Buffer): { image: number; old: number; other: number } {
  const found = { image: 0, old: 0, other: 0 };
  const old = Buffer.alloc(4096, 0x5a);
  for (let at = 0; at < now.length; at += 4096) {
    const block = now.subarray(at, at + 4096);
    if (at < SIZE && block.equals(raw.subarray(at, at + 4096))) found.image += 1;
    else if (block.equals(old)) found.old += 1;
    else found.other += 1;
  }
  return found;
}

async function untouched(): Promise<boolean> {
  return (await onCard()).equals(Buffer.alloc(CARD, 0x5a));
}

/** The programs of the two file systems read what is on the card and find everything in order. */
async function kitIsWhole(): Promise<void> {
  await writeFile(join(folder, 'back.img'), await onCard());
  await sh(`dd if=back.img of=fat.img bs=1M skip=${FAT.start / MIB} count=${FAT.size / MIB} status=none
    dd if=back.img of=ext4.img bs=1M skip=${EXT4.start / MIB} count=${EXT4.size / MIB} status=none
    fsck.vfat -n fat.img >/dev/null
    e2fsck -fn ext4.img >/dev/null 2>&1
    for file in one zeros; do
      mcopy -n -o -i fat.img ::$file from-fat && cmp from-fat tree/$file
      debugfs -R "dump $file from-ext4" ext4.img 2>/dev/null && cmp from-ext4 tree/$file
    done
    rm -f from-fat from-ext4 fat.img ext4.img back.img`);
}

describe('writing', () => {
  it('writes the mapped blocks, leaves the others alone, and the kit is whole', async () => {
    const result = await run();
    const now = await onCard();
    for (const range of map.ranges) {
      const { offset, length } = rangeBytes(map, range);
      expect(now.subarray(offset, offset + length).equals(raw.subarray(offset, offset + length))).toBe(true);
    }
    const blocks = count(now);
    expect(blocks.other).toBe(0);
    expect(blocks.old * 4096).toBe(CARD - result.writtenBytes);
    expect(result).toMatchObject({ imageBytes: SIZE, device: { path: card.device } });
    expect(result.writtenBytes).toBeLessThan(SIZE / 2);
    await kitIsWhole();
  });

  it.each([
    ['kit.img.zst', 'with its map'],
    ['kit.img.xz', 'with its map'],
    ['bare/kit.img', 'without a map'],
  ])('takes %s %s', async (name) => {
    const { writtenBytes } = await run({ image: join(folder, name) });
    expect(count(await onCard())).toEqual({
      image: expect.any(Number),
      old: (CARD - writtenBytes) / 4096,
      other: 0,
    });
    await kitIsWhole();
  });

  it.each(['bare/kit.img.zst', 'bare/kit.img.xz'])(
    'leaves exactly the image when nothing says which zeros matter (%s)',
    async (name) => {
      await run({ image: join(folder, name) });
      const now = await onCard();
      expect(now.subarray(0, SIZE).equals(raw)).toBe(true);
      expect(now.subarray(SIZE).equals(Buffer.alloc(CARD - SIZE, 0x5a))).toBe(true);
      await kitIsWhole();
    },
  );

  it('tells its progress to the end', async () => {
    await run();
    for (const id of ['flash/write', 'flash/verify']) {
      const last = events.filter((event) => event.type === 'progress' && event.id === id).at(-1);
      expect(last).toMatchObject({ unit: 'bytes' });
      if (last?.type === 'progress') expect(last.done).toBe(last.total);
    }
  });

  it('takes a link to the device, and the name without /dev', async () => {
    const link = join(folder, 'by-id');
    await rm(link, { force: true });
    await symlink(card.device, link);
    await run({ device: link });
    await run({ device: card.name, confirm: (device) => Promise.resolve(` ${device.path}\n`) });
    await kitIsWhole();
  });

  it('wipes the copy of an older partition table at the end', async () => {
    const file = await open(card.device, 'r+');
    await file.write('EFI PART', CARD - 512);
    await file.close();
    await run();
    const now = await onCard();
    expect(now.subarray(CARD - 33 * 512).equals(Buffer.alloc(33 * 512))).toBe(true);
    expect(now.subarray(CARD - 34 * 512, CARD - 33 * 512).equals(Buffer.alloc(512, 0x5a))).toBe(true);
  });

  it('writes the partition table last: at no moment before does the card look like a kit', async () => {
    const seen: string[] = [];
    onEvent = async (event) => {
      if (event.type !== 'progress' || !event.id.startsWith('flash/')) return;
      if (event.id === 'flash/map') return;
      const file = await open(card.device, 'r');
      const sector = Buffer.alloc(512);
      await file.read(sector, 0, 512, 0);
      await file.close();
      seen.push(sector.toString('hex', 510));
    };
    await run();
    expect(seen.length).toBeGreaterThan(10);
    // The last of these reads may come when the table is there.
    expect(new Set(seen.slice(0, -3))).toEqual(new Set(['0000']));
    expect((await onCard()).toString('hex', 510, 512)).toBe('55aa');
  });
});

describe('bmaptool', () => {
  it('takes our map and copies by it', async () => {
    await writeFile(join(folder, 'copy'), Buffer.alloc(SIZE, 0x5a));
    await sh('bmaptool --quiet copy --bmap kit.img.bmap kit.img copy');
    const copy = await readFile(join(folder, 'copy'));
    for (let at = 0; at < SIZE; at += 4096) {
      const block = copy.subarray(at, at + 4096);
      if (isMapped(at)) expect(block.equals(raw.subarray(at, at + 4096))).toBe(true);
    }
  });
  it('finds by our map that the image changed', async () => {
    await sh('cp kit.img changed.img; printf x | dd of=changed.img bs=1 seek=40 conv=notrunc status=none');
    const result = await host.exec(
      [
        'bmaptool',
        'copy',
        '--bmap',
        join(folder, 'kit.img.bmap'),
        join(folder, 'changed.img'),
        join(folder, 'copy'),
      ],
      { allowFailure: true },
    );
    expect(result.exitCode).not.toBe(0);
    expect(result.stderr).toMatch(/checksum mismatch/);
  });
  it('writes maps that we read, check and flash by', async () => {
    await sh(
      'mkdir theirs; cp --sparse=always kit.img theirs/; bmaptool create -o theirs/kit.img.bmap theirs/kit.img',
    );
    const theirs = join(folder, 'theirs', 'kit.img');
    const read = parseBmap(await readFile(`${theirs}.bmap`, 'utf8'), 'theirs');
    expect(read.imageSize).toBe(SIZE);
    expect(await checkBmap(host, theirs, read)).toEqual([]);
    // A card of zeros: their map leaves out zeros that matter.
    await detach(card.device);
    card = await makeCard(CARD, 0);
    const { writtenBytes } = await run({ image: theirs });
    expect(writtenBytes).toBe(read.ranges.reduce((sum, range) => sum + rangeBytes(read, range).length, 0));
    await kitIsWhole();
  });
});

describe('refusing', () => {
  afterEach(async () => {
    await host.exec(['umount', join(folder, 'mnt')], { allowFailure: true });
  });

  it('a mounted device', async () => {
    await sh(`mkdir -p mnt; mke2fs -q -F ${card.device}; mount ${card.device} mnt`);
    await expect(run()).rejects.toMatchObject({
      exitCode: 2,
      message: `${card.device} is in use: mounted at ${join(folder, 'mnt')}`,
      hint: expect.stringContaining(`sudo umount ${card.device}`),
    });
  });

  it('a mounted partition, and the partition itself', async () => {
    await run();
    const device = card.device;
    await detach(device);
    card = await attach(card.backing, '--partscan');
    // Where the kernel does not read partition tables itself (or has done so already).
    await host.exec(['partx', '--add', card.device], { allowFailure: true });
    const partition = `${card.device}p2`;
    await sh(`mkdir -p mnt; mount -o ro ${partition} mnt`);
    await expect(run()).rejects.toThrow(/is in use: mounted at/);
    await host.exec(['umount', join(folder, 'mnt')]);
    await expect(run({ device: partition })).rejects.toMatchObject({
      message: `${partition} is a partition, not a whole device`,
      hint: expect.stringContaining(card.device),
    });
    // And with its partitions known but unused it can be written again.
    await run();
  });

  it('a device that another program holds', async () => {
    const holder = await open(card.device, constants.O_RDONLY | constants.O_EXCL);
    try {
      await expect(run()).rejects.toThrow(/is in use; nothing was written/);
    } finally {
      await holder.close();
    }
    expect(await untouched()).toBe(true);
  });

  it.each<[string, () => Partial<FlashRequest>, RegExp]>([
    [
      'a device that is not a card',
      () => ({ allowLoop: false }),
      /not a card, stick or disk that can be unplugged/,
    ],
    [
      'the disk of this machine',
      () => ({ device: '/dev/vda' }),
      /this computer runs from|there is no device/,
    ],
    ['a file', () => ({ device: image }), /is not a disk/],
    ['a character device', () => ({ device: '/dev/null' }), /is not a disk/],
    ['a device that is not there', () => ({ device: '/dev/sdzz' }), /there is no device \/dev\/sdzz/],
    ['an image that is not there', () => ({ image: '/nowhere/kit.img' }), /there is no image/],
    [
      'a wrong answer',
      () => ({ confirm: () => Promise.resolve('yes') }),
      /"yes" is not loop\d+; nothing was written/,
    ],
    ['an empty answer', () => ({ confirm: () => Promise.resolve('') }), /nothing was written/],
  ])('%s', async (_what, more, words) => {
    await expect(run(more())).rejects.toThrow(words);
    expect(await untouched()).toBe(true);
  });

  it('a card that is too small, whether the size is known before or not', async () => {
    await detach(card.device);
    card = await makeCard(SIZE - MIB);
    await expect(run()).rejects.toThrow(/is too small: it has 66\.1 MB, the image needs 67\.1 MB/);
    await expect(run({ image: join(folder, 'kit.img.zst') })).rejects.toThrow(/is too small/);
    // zstd from a pipe does not say its size; the data of ours ends early, so make an image that does not.
    await sh(`head -c ${SIZE} /dev/urandom | zstd -q > noise.img.zst`);
    await expect(run({ image: join(folder, 'noise.img.zst') })).rejects.toMatchObject({
      exitCode: 1,
      message: expect.stringContaining('the image needs more'),
    });
    expect((await onCard()).subarray(0, 4096).equals(Buffer.alloc(4096))).toBe(true);
  });

  it('a locked card', async () => {
    await detach(card.device);
    card = await makeCard(CARD, 0x5a, '--read-only');
    await expect(run()).rejects.toThrow(/read-only/);
  });

  it('another card that took the place of the chosen one', async () => {
    const other = join(folder, 'other-card');
    await writeFile(other, Buffer.alloc(CARD + MIB, 0x5a));
    await expect(
      run({
        confirm: async (device) => {
          await host.exec(['losetup', '--detach', device.path]);
          await host.exec(['losetup', device.path, other]);
          return device.name;
        },
      }),
    ).rejects.toThrow(/is no longer the device you chose; nothing was written/);
    expect((await readFile(other)).equals(Buffer.alloc(CARD + MIB, 0x5a))).toBe(true);
  });
});

describe('bad images', () => {
  async function badImage(name: string, make: string): Promise<string> {
    await sh(`rm -rf bad; mkdir bad; ${make}`);
    return join(folder, 'bad', name);
  }
  const noKit = async (): Promise<void> => {
    expect((await onCard()).subarray(0, 4096).equals(Buffer.alloc(4096))).toBe(true);
  };

  it('one flipped byte', async () => {
    const bad = await badImage(
      'kit.img',
      `cp --sparse=always kit.img kit.img.bmap bad/; printf x | dd of=bad/kit.img bs=1 seek=${EXT4.start + 1100} conv=notrunc status=none`,
    );
    await expect(run({ image: bad })).rejects.toThrow(/is damaged between byte \d+ and \d+/);
    await noKit();
  });
  it('cut short', async () => {
    const bad = await badImage('kit.img', 'head -c 60000000 kit.img > bad/kit.img; cp kit.img.bmap bad/');
    await expect(run({ image: bad })).rejects.toThrow(/not a whole number of sectors|but its block map/);
    expect(await untouched()).toBe(true);
  });
  it('not sectors', async () => {
    const bad = await badImage('kit.img', 'head -c 1000 /dev/urandom > bad/kit.img');
    await expect(run({ image: bad })).rejects.toThrow(/is not a disk image/);
  });
  it('a compressed one cut short', async () => {
    const bad = await badImage(
      'kit.img.zst',
      'head -c 3000 kit.img.zst > bad/kit.img.zst; cp kit.img.bmap bad/',
    );
    await expect(run({ image: bad })).rejects.toMatchObject({
      message: expect.stringContaining('unpacking'),
      hint: expect.stringContaining('copied only in part'),
    });
    await noKit();
  });
  it('a map of another image', async () => {
    const bad = await badImage(
      'kit.img.xz',
      'cp bare/kit.img.xz bad/; head -c 8M kit.img > x; bmaptool create x -o bad/kit.img.bmap',
    );
    await expect(run({ image: bad })).rejects.toThrow(/is damaged|does not hold the disk image/);
    await noKit();
  });
  it('a compressed one that is not the one of its checksum', async () => {
    const bad = await badImage(
      'kit.img.zst',
      `cp bare/kit.img.zst bad/; echo "${'0'.repeat(64)}  kit.img" > bad/kit.img.sha256`,
    );
    await expect(run({ image: bad })).rejects.toThrow(/is not the one that .*kit\.img\.sha256 names/);
    await noKit();
  });
  it('a damaged map', async () => {
    const bad = await badImage(
      'kit.img',
      'cp --sparse=always kit.img kit.img.bmap bad/; sed -i "s/ 0-/ 1-/" bad/kit.img.bmap',
    );
    await expect(run({ image: bad })).rejects.toThrow(/its own checksum does not match/);
    expect(await untouched()).toBe(true);
  });
});

describe('bad cards', () => {
  /** Whatever is written, `spoil` changes it below the device, past this computer's cache, as a lying card does. */
  function lying(spoil: () => Buffer, at: number): Promise<FlashResult> {
    const liar: Host = {
      ...host,
      async exec(argv, options) {
        const result = await host.exec(argv, options);
        if (argv[1] === '--flushbufs') {
          const file = await open(card.backing, 'r+');
          await file.write(spoil(), 0, null, at);
          await file.sync();
          await file.close();
        }
        return result;
      },
    };
    return flash(liar, {
      image,
      device: card.device,
      confirm: (device) => Promise.resolve(device.name),
      allowLoop: true,
    });
  }

  it('finds by reading back what the card did not keep, and says where', async () => {
    const { offset } = rangeBytes(map, map.ranges.at(-1)!);
    const error = await lying(() => Buffer.from([0xff, 0xee]), offset + 10).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({
      exitCode: 1,
      message: expect.stringMatching(/did not keep what was written: it differs in one place/),
      hint: expect.stringMatching(/another card reader.*smaller than it claims/),
    });
    expect(firstBad(error)).toBe(offset);
    expect((await onCard()).subarray(0, 4096).equals(Buffer.alloc(4096))).toBe(true);
  });

  it('finds a card that forgets everything past a place', async () => {
    const limit = 40 * MIB;
    const error = await lying(() => Buffer.alloc(CARD - limit, 0xff), limit).catch(
      (thrown: unknown) => thrown,
    );
    expect(firstBad(error)).toBeGreaterThanOrEqual(limit - PIECE);
    expect(String(error)).toMatch(/differs in ([2-9]|\d\d+)( or more)? places/);
  });

  it('finds a card that loses the partition table itself', async () => {
    // Block 0 is still empty while the rest is compared: only the last look can find it.
    const error = await lying(() => Buffer.alloc(512), 0).catch((thrown: unknown) => thrown);
    expect(firstBad(error)).toBe(0);
  });

  function firstBad(error: unknown): number {
    return Number(/first at byte (\d+)/.exec(String(error))?.[1] ?? NaN);
  }

  it('a card that fails while it is written', async () => {
    await detach(card.device);
    await sh('mkdir -p small; mount -t tmpfs -o size=4m tmpfs small; truncate -s 72M small/card');
    try {
      card = await attach(join(folder, 'small', 'card'));
      await expect(run()).rejects.toMatchObject({
        exitCode: 1,
        message: expect.stringMatching(/refuses to be written or read|is full before its end/),
      });
    } finally {
      await detach(card.device);
      await host.exec(['umount', '-l', join(folder, 'small')]);
    }
  });
});

describe('the command', () => {
  let said: string;
  let printed: string;
  function cli(flags: Partial<Cli['flags']> = {}): Cli {
    said = printed = '';
    return {
      host,
      flags: { json: false, plain: true, quiet: false, verbose: false, cache: 'offline-cache', ...flags },
      theme: createTheme(false),
      out: (text) => void (printed += text),
      say: (text) => void (said += text),
      concerns: () => {},
      interactive: false,
    };
  }

  it('lists the devices, with what is wrong with each', async () => {
    expect(await runFlash(cli(), { image, allowLoop: true })).toBe(0);
    expect(printed).toMatch(new RegExp(`^${card.device} +75\\.5 MB`, 'm'));
    expect(said).toContain('sudo commeshctl flash');
    await runFlash(cli({ json: true }), { image, allowLoop: true });
    const { devices } = JSON.parse(printed) as { devices: { path: string; size: number; refused: null }[] };
    expect(devices.find((device) => device.path === card.device)).toMatchObject({
      size: CARD,
      refused: null,
    });
  });

  it('shows no built-in disk and no loop device to people', async () => {
    await runFlash(cli({ json: true }), { image });
    expect(printed).not.toContain('loop');
    const system = (await host.exec(['findmnt', '-no', 'SOURCE', '/'])).stdout.trim();
    expect(printed).not.toContain(system);
  });

  it('writes without a question only to the device that was named', async () => {
    await expect(runFlash(cli(), { image, device: card.device, allowLoop: true })).rejects.toMatchObject({
      exitCode: 2,
      hint: expect.stringContaining(`--yes-i-mean ${card.device}`),
    });
    await expect(
      runFlash(cli(), { image, device: card.device, yesIMean: '/dev/sdz', allowLoop: true }),
    ).rejects.toThrow(/nothing was written/);
    expect(await untouched()).toBe(true);
    expect(await runFlash(cli({ json: true }), { image, yesIMean: card.device, allowLoop: true })).toBe(0);
    expect(JSON.parse(printed)).toMatchObject({ ok: true, imageBytes: SIZE, device: { path: card.device } });
    await kitIsWhole();
    expect(await runFlash(cli(), { image, yesIMean: card.device, allowLoop: true })).toBe(0);
    expect(printed).toContain('is ready');
  });
});

it('stops at once when interrupted, and leaves no half kit', async () => {
  let interrupted = false;
  const other = createHost((event) => {
    if (event.type === 'progress' && event.id === 'flash/write' && !interrupted) {
      interrupted = true;
      other.interrupt();
    }
    events.push(event);
  });
  await expect(
    flash(other, {
      image: join(folder, 'kit.img.zst'),
      device: card.device,
      confirm: (device) => Promise.resolve(device.name),
      allowLoop: true,
    }),
  ).rejects.toThrow(/interrupted/);
  await other.close();
  expect((await onCard()).subarray(0, 4096).equals(Buffer.alloc(4096))).toBe(true);
  expect(events).toContainEqual({
    type: 'log',
    level: 'warn',
    text: `${card.device} is not usable until it is flashed again`,
  });
});
