import { open, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { WorkError } from '../../diagnostics/errors.js';
import type { Host } from '../../host/host.js';
import { decodeMbr, SECTOR } from '../mbr.js';
import type { DirectBoot, Machine } from './machine.js';

/** Device trees QEMU's Raspberry Pi machines can work with, by the name mainline Linux gives them. */
const DEVICE_TREES: Readonly<Partial<Record<Machine, string>>> = {
  raspi3b: 'bcm2837-rpi-3-b.dtb',
  raspi4b: 'bcm2711-rpi-4-b.dtb',
};

/**
 * Takes kernel, initramfs and command line out of the image's boot partition (mtools), for machines on which Raspberry Pi's
 * firmware does not run.
 * @param folder where to put them.
 * @throws WorkError when the image has none.
 */
export async function takeBootFiles(
  host: Host,
  image: string,
  machine: Machine,
  folder: string,
): Promise<DirectBoot> {
  const start = await bootPartitionStart(image);
  const tree = DEVICE_TREES[machine] ?? null;
  const names = ['vmlinuz', 'initrd.img', 'cmdline.txt', ...(tree === null ? [] : [tree])];
  await host.exec(
    ['mcopy', '-n', '-i', `${image}@@${start}`, ...names.map((name) => `::/${name}`), `${folder}/`],
    { title: 'reading the boot partition', env: { MTOOLS_SKIP_CHECK: '1' } },
  );
  const kernel = join(folder, 'vmlinuz');
  const bytes = await readFile(kernel);
  // QEMU wants the kernel as it is; Raspberry Pi's is packed.
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) await writeFile(kernel, gunzipSync(bytes));
  return {
    kernel,
    initrd: join(folder, 'initrd.img'),
    commandLine: await readFile(join(folder, 'cmdline.txt'), 'utf8'),
    dtb: tree === null ? null : join(folder, tree),
  };
}

/** Bytes from the beginning of the image. */
async function bootPartitionStart(image: string): Promise<number> {
  const file = await open(image, 'r');
  try {
    const sector = Buffer.alloc(SECTOR);
    await file.read(sector, 0, SECTOR, 0);
    const first = decodeMbr(sector)?.entries[0];
    if (first === undefined) {
      throw new WorkError(`${basename(image)} in ${dirname(image)} is not a disk image`, {
        hint: 'give the raw image (.img); unpack a compressed one first',
      });
    }
    return first.start * SECTOR;
  } finally {
    await file.close();
  }
}
