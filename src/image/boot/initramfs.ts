import type { Board } from '../../services/contract.js';

/** What the base layer writes into /etc/initramfs-tools before it makes the initramfs. */
export interface InitramfsConfig {
  /** Kernel modules the initramfs carries (with what they depend on). */
  readonly modules: readonly string[];
  /** Content of /etc/initramfs-tools/hooks/commesh (mode 0755), which adds `modules`. */
  readonly hook: string;
  /** Content of /etc/initramfs-tools/conf.d/commesh. */
  readonly conf: string;
}

// Everything that may stand between the boot loader and the root file system, and nothing else: the rest is loaded by
// udev from the root itself. dracut-install is called with --optional, so a name that a kernel has built in or does not
// have (the two Pi kernels differ) does no harm. All names were looked up in Debian's 6.12 kernels.
const EVERYWHERE = [
  'ext4',
  // ext4 checks its metadata with it; only a soft dependency.
  'crc32c_generic',
  'mmc_block',
  'sd_mod',
  'usb_storage',
  'uas',
  'xhci_pci',
  'xhci_hcd',
  'ehci_pci',
  'ehci_hcd',
  'ohci_pci',
  'nvme',
  // A keyboard for the moment when nothing else helps.
  'usbhid',
  'hid_generic',
  // QEMU (`commeshctl try`).
  'virtio_pci',
  'virtio_mmio',
  'virtio_blk',
  'virtio_scsi',
] as const;

const RASPBERRY_PI = [
  // Card slots: Zero 2 W and Pi 3 (bcm2835 sdhost, sdhci_iproc), Pi 4 (sdhci_iproc), Pi 5 (sdhci_brcmstb).
  'bcm2835',
  'sdhci_iproc',
  'sdhci_brcmstb',
  'sdhci_of_dwcmshc',
  // Pi 4 switches its card's voltage with them.
  'gpio_regulator',
  'fixed',
  // USB of Zero 2 W and Pi 3.
  'dwc2',
  'phy_generic',
  // USB of Pi 4: its firmware must be loaded again after PCIe's reset.
  'reset_raspberrypi',
  'xhci_pci_renesas',
  'xhci_plat_hcd',
  // Pi 5's south bridge.
  'rp1',
  'rp1_pci',
] as const;

const PC = [
  'ahci',
  'ata_piix',
  'ata_generic',
  'pata_amd',
  'pata_atiixp',
  'pata_jmicron',
  'pata_marvell',
  'pata_via',
  'sata_nv',
  'sata_sil',
  'sata_via',
  // Laptops whose disks hide behind Intel's volume management.
  'vmd',
  'sdhci_pci',
  'sdhci_acpi',
  'rtsx_pci_sdmmc',
  'rtsx_usb_sdmmc',
  'uhci_hcd',
  // Other people's virtual machines.
  'mptspi',
  'hv_storvsc',
  'vmw_pvscsi',
] as const;

/**
 * The initramfs of a board: a short list instead of every driver, which makes it a third as large and loads faster from
 * a card (initramfs.conf(5), initramfs-tools(7)).
 *
 * The modules come in by a hook and not by /etc/initramfs-tools/modules, because the latter loads every one of them on
 * every machine; from a hook they lie ready and udev loads those the machine has.
 *
 * FSTYPE is given because the base layer has no root device to look at; it brings fsck.ext4 along. RESUME=none, because a
 * kit never hibernates and must not wait for a swap partition.
 */
export function initramfsConfig(board: Board): InitramfsConfig {
  const modules = [...EVERYWHERE, ...(board === 'pc' ? PC : RASPBERRY_PI)];
  return {
    modules,
    hook: [
      '#!/bin/sh',
      '[ "$1" != prereqs ] || exit 0',
      '. /usr/share/initramfs-tools/hook-functions',
      `manual_add_modules ${modules.join(' ')}`,
      '',
    ].join('\n'),
    conf: ['MODULES=list', 'COMPRESS=zstd', 'FSTYPE=ext4', 'RESUME=none', 'KEYMAP=n', ''].join('\n'),
  };
}
