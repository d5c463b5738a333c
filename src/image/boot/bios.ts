import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WorkError } from '../../diagnostics/errors.js';
import type { Tools } from '../../host/tools.js';
import { SECTOR } from '../mbr.js';

/** Boot code of the MBR holds no more; disk id and table follow. */
const BOOT_CODE = 440;
/** Offsets in boot.img (GRUB 2.12, include/grub/i386/pc/boot.h). */
const KERNEL_SECTOR = 0x5c;
const DRIVE_CHECK = 0x66;
/** The list of blocks at the end of core.img's first sector (struct grub_pc_bios_boot_blocklist). */
const BLOCK_LIST = SECTOR - 12;
const NOP = 0x90;

/**
 * GRUB for a BIOS, as grub-install would put it there: boot.img in the MBR loads the first sector of core.img from sector 1,
 * which loads the rest from sector 2 on. Those are the numbers grub-mkimage writes by itself, so nothing has to be patched but
 * the test that trusts the drive number of a BIOS: some give a wrong one for a hard disk (grub-setup does the same).
 * @param boot the base layer's boot folder.
 * @throws WorkError when GRUB's images are not what this was written for.
 */
export async function biosCore(
  tools: Tools,
  boot: string,
  work: string,
  options: { readonly modules: readonly string[]; readonly prefix: string },
): Promise<{ boot: Buffer; core: Buffer }> {
  await tools.run(
    [
      'grub-mkimage',
      ...['--format', 'i386-pc', '--directory', '/mnt/boot/grub-i386-pc'],
      ...['--prefix', options.prefix, '--output', '/mnt/work/core.img', ...options.modules],
    ],
    {
      binds: [
        { from: boot, to: '/mnt/boot', readOnly: true },
        { from: work, to: '/mnt/work' },
      ],
      title: "making GRUB's core image",
    },
  );
  const core = await readFile(join(work, 'core.img'));
  const image = await readFile(join(boot, 'grub-i386-pc/boot.img'));
  if (
    image.length !== SECTOR ||
    image.readBigUInt64LE(KERNEL_SECTOR) !== 1n ||
    core.readBigUInt64LE(BLOCK_LIST) !== 2n ||
    core.readUInt16LE(BLOCK_LIST + 8) < Math.ceil(core.length / SECTOR) - 1
  ) {
    throw new WorkError('this version of GRUB has another boot.img or core.img than commeshctl knows', {
      hint: 'please report it with the versions of grub-pc-bin and grub-common',
    });
  }
  image.fill(NOP, DRIVE_CHECK, DRIVE_CHECK + 2);
  return { boot: image.subarray(0, BOOT_CODE), core };
}
