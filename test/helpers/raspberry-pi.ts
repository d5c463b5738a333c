/**
 * A stand-in for the Raspberry Pi archive, which cannot be reached from where the tests run: a local archive, signed by a key of the
 * test, with packages of the real names, dependencies and paths. Their "kernel" is a text: it shows where it goes, and cannot
 * be booted.
 */
import { TinyArchive, type ArchiveKey, type TinyPackage } from './archive.js';

/** Of the stand-in kernels. */
export const VERSION = '6.12.75';
/** A kernel package as the archive has it: kernel, modules, device trees and overlays under its own version. */
function kernel(flavour: string): TinyPackage[] {
  const release = `${VERSION}+rpt-rpi-${flavour}`;
  const image = `linux-image-${release}`;
  return [
    {
      name: `linux-image-rpi-${flavour}`,
      version: `1:${VERSION}-1+rpt1`,
      arch: 'arm64',
      fields: { Depends: `${image} (= 1:${VERSION}-1+rpt1)` },
    },
    {
      name: image,
      version: `1:${VERSION}-1+rpt1`,
      arch: 'arm64',
      fields: { Depends: 'kmod, linux-base' },
      files: {
        [`boot/vmlinuz-${release}`]: `stand-in for the kernel ${release}\n`,
        [`boot/config-${release}`]: 'CONFIG_RD_ZSTD=y\n',
        [`usr/lib/modules/${release}/modules.order`]: '',
        [`usr/lib/modules/${release}/modules.builtin`]: '',
        [`usr/lib/linux-image-${release}/broadcom/bcm2711-rpi-4-b.dtb`]: `tree of ${flavour}`,
        [`usr/lib/linux-image-${release}/broadcom/bcm2712-rpi-5-b.dtb`]: `tree of ${flavour}`,
        [`usr/lib/linux-image-${release}/broadcom/bcm2712d0-rpi-5-b.dtb`]: `tree of ${flavour}`,
        [`usr/lib/linux-image-${release}/overlays/vc4-kms-v3d-pi5.dtbo`]: 'overlay',
        [`usr/lib/linux-image-${release}/overlays/overlay_map.dtb`]: 'map',
      },
      postinst: `#!/bin/sh\nset -e\ndepmod ${release}\n`,
    },
  ];
}
const FIRMWARE: TinyPackage = {
  name: 'raspi-firmware',
  version: '1:1.20260902-1',
  arch: 'all',
  files: { 'usr/lib/raspi-firmware/start4.elf': "the archive's own firmware" },
};

/** Writes the archive into a folder, signed with `key`. */
export async function publishRaspberryPi(folder: string, key: ArchiveKey): Promise<void> {
  await new TinyArchive(folder).publish({
    suite: 'trixie',
    key,
    packages: [...kernel('v8'), ...kernel('2712'), FIRMWARE],
    architectures: ['arm64', 'amd64'],
  });
}
