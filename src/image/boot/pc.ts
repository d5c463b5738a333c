import { WorkError } from '../../diagnostics/errors.js';
import { BOOT_LABEL } from '../layout.js';
import { kernelCommandLine } from './cmdline.js';
import { sortedFiles, type BootFile, type BootInput, type BootPlan, type RenderBootText } from './types.js';

/** Folder of GRUB's configuration; built into Debian's signed GRUB. */
const GRUB_FOLDER = '/EFI/debian';

/** What GRUB needs under a BIOS to read grub.cfg, kernel and initramfs from the FAT; it can load no more later. */
const BIOS_MODULES = [
  'biosdisk',
  'part_msdos',
  'fat',
  'normal',
  'configfile',
  'linux',
  'search',
  'search_label',
  'test',
  'echo',
  'sleep',
  'ls',
  'reboot',
  'halt',
] as const;

/**
 * What the boot partition of a PC holds: under UEFI the firmware starts /EFI/BOOT/BOOTX64.EFI by itself (UEFI specification,
 * section 3.5.1.1), here Microsoft-signed shim, which starts Debian's signed GRUB beside it, so that Secure Boot may stay on.
 * Under a BIOS the boot code of the first sector loads GRUB from the gap before the first partition. Both read one grub.cfg.
 * @param inputs the files of the base layer's boot folder.
 * @throws WorkError when one is missing.
 */
export function pcBoot(inputs: readonly BootInput[], render: RenderBootText): BootPlan {
  const sizes = new Map(inputs.map((file) => [file.path, file.size]));
  const take = (from: string, path: string): BootFile => {
    const size = sizes.get(from);
    if (size === undefined) {
      throw new WorkError(`the base layer has no ${from} for board pc`, {
        hint: 'delete the folder "layers" in the offline cache and build again',
      });
    }
    return { path, from, size };
  };
  for (const name of ['boot.img', 'diskboot.img', ...BIOS_MODULES.map((module) => `${module}.mod`)]) {
    take(`grub-i386-pc/${name}`, '');
  }
  return {
    files: sortedFiles([
      take('vmlinuz', '/vmlinuz'),
      take('initrd.img', '/initrd.img'),
      take('shimx64.efi.signed', '/EFI/BOOT/BOOTX64.EFI'),
      take('grubx64.efi.signed', '/EFI/BOOT/grubx64.efi'),
      {
        path: `${GRUB_FOLDER}/grub.cfg`,
        text: render('pc/grub.cfg', { label: BOOT_LABEL, commandLine: kernelCommandLine('pc', 'debian') }),
      },
    ]),
    bios: { modules: BIOS_MODULES, prefix: `(,msdos1)${GRUB_FOLDER}` },
  };
}
