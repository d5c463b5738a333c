import { describe, expect, it } from 'vitest';
import type { Base, Board } from '../../services/contract.js';
import { bootPlan } from './plan.js';
import { initramfsConfig } from './initramfs.js';
import { bootBytes, type BootInput, type BootPlan } from './types.js';

const inputs = (...paths: readonly string[]): readonly BootInput[] =>
  paths.map((path) => ({ path, size: 100 }));
const FIRMWARE = ['bootcode.bin', 'fixup.dat', 'fixup4.dat', 'start.elf', 'start4.elf', 'start4x.elf'];
const PI = inputs(
  'vmlinuz',
  'initrd.img',
  'version',
  'dtbs/bcm2711-rpi-4-b.dtb',
  'dtbs/bcm2712-rpi-5-b.dtb',
  'dtbs/bcm2837-rpi-3-b.dtb',
  'dtbs/bcm2837-rpi-zero-2-w.dtb',
  'dtbs/bcm4708-router.dtb',
  ...FIRMWARE.map((name) => `firmware/${name}`),
  'firmware/overlays/hifiberry-dac.dtbo',
);
const PI_OS = inputs(
  'vmlinuz',
  'initrd.img',
  'vmlinuz-2712',
  'initrd-2712.img',
  'dtbs/bcm2710-rpi-3-b.dtb',
  'dtbs/bcm2711-rpi-4-b.dtb',
  'dtbs/bcm2712-rpi-5-b.dtb',
  'dtbs-2712/bcm2712-rpi-5-b.dtb',
  'dtbs-2712/bcm2712d0-rpi-5-b.dtb',
  'overlays/README',
  'overlays/bcm2712d0.dtbo',
  'overlays/overlay_map.dtb',
  ...FIRMWARE.map((name) => `firmware/${name}`),
);
const GRUB = [
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
];
const PC = inputs(
  'vmlinuz',
  'initrd.img',
  'shimx64.efi.signed',
  'grubx64.efi.signed',
  ...[...GRUB, 'sleep', 'ls', 'reboot', 'halt'].map((name) => `grub-i386-pc/${name}.mod`),
  'grub-i386-pc/boot.img',
  'grub-i386-pc/diskboot.img',
);

const text = (plan: BootPlan, path: string): string => {
  const file = plan.files.find((one) => one.path === path);
  if (file === undefined || !('text' in file)) throw new Error(`no text ${path}`);
  return file.text;
};
const copies = (plan: BootPlan): Record<string, string> =>
  Object.fromEntries(plan.files.flatMap((file) => ('text' in file ? [] : [[file.path, file.from]])));

describe('a Raspberry Pi with Debian', () => {
  it.each(['zero2w', 'pi3', 'pi4'] as const)('boots %s, and each of the other two', (board) => {
    const plan = bootPlan(board, 'debian', PI);
    expect(copies(plan)).toEqual({
      '/bcm2711-rpi-4-b.dtb': 'dtbs/bcm2711-rpi-4-b.dtb',
      '/bcm2837-rpi-3-b.dtb': 'dtbs/bcm2837-rpi-3-b.dtb',
      '/bcm2837-rpi-zero-2-w.dtb': 'dtbs/bcm2837-rpi-zero-2-w.dtb',
      '/bootcode.bin': 'firmware/bootcode.bin',
      '/fixup.dat': 'firmware/fixup.dat',
      '/fixup4.dat': 'firmware/fixup4.dat',
      '/initrd.img': 'initrd.img',
      '/start.elf': 'firmware/start.elf',
      '/start4.elf': 'firmware/start4.elf',
      '/vmlinuz': 'vmlinuz',
    });
    expect(text(plan, '/cmdline.txt')).toBe(
      'console=ttyS1,115200 console=tty0 root=LABEL=commesh-root rootfstype=ext4 fsck.repair=yes rootwait panic=10 net.ifnames=0 quiet\n',
    );
    expect(plan.bios).toBeNull();
  });
  it('tells the firmware what to load', () => {
    expect(text(bootPlan('pi3', 'debian', PI), '/config.txt')).toMatchInlineSnapshot(`
      "# Read by the Raspberry Pi's firmware before Linux starts.
      arm_64bit=1
      kernel=vmlinuz
      initramfs initrd.img followkernel

      # Debian's kernel brings device trees with the names mainline Linux gives them.
      upstream_kernel=1

      # A serial console on pins 8 and 10.
      enable_uart=1

      # Nothing is drawn but text: leave the memory to the services.
      gpu_mem=32
      disable_splash=1
      "
    `);
  });
  it('says what is missing', () => {
    expect(() =>
      bootPlan(
        'pi4',
        'debian',
        PI.filter((file) => file.path !== 'firmware/start4.elf'),
      ),
    ).toThrow('the base layer has no firmware/start4.elf for board pi4');
    expect(() =>
      bootPlan(
        'pi3',
        'debian',
        PI.filter((file) => !file.path.startsWith('dtbs/')),
      ),
    ).toThrow('bcm*.dtb');
  });
});

describe('a Raspberry Pi with Raspberry Pi OS', () => {
  it('takes the kernel with large pages, its device trees and overlays for a Pi 5, and no firmware', () => {
    const plan = bootPlan('pi5', 'raspberry-pi-os', PI_OS);
    expect(copies(plan)).toEqual({
      '/bcm2712-rpi-5-b.dtb': 'dtbs-2712/bcm2712-rpi-5-b.dtb',
      '/bcm2712d0-rpi-5-b.dtb': 'dtbs-2712/bcm2712d0-rpi-5-b.dtb',
      '/initrd.img': 'initrd-2712.img',
      '/overlays/bcm2712d0.dtbo': 'overlays/bcm2712d0.dtbo',
      '/overlays/overlay_map.dtb': 'overlays/overlay_map.dtb',
      '/vmlinuz': 'vmlinuz-2712',
    });
    expect(text(plan, '/config.txt')).toMatchInlineSnapshot(`
      "# Read by the Raspberry Pi's firmware before Linux starts.
      arm_64bit=1
      kernel=vmlinuz
      initramfs initrd.img followkernel

      # The board restarts itself when the system hangs.
      dtparam=watchdog=on

      # A serial console on pins 8 and 10.
      enable_uart=1
      disable_splash=1
      "
    `);
    expect(text(plan, '/cmdline.txt')).toContain('console=serial0,115200 ');
    expect(text(plan, '/cmdline.txt')).toContain(' cgroup_enable=memory ');
  });
  it('takes the general kernel when the other one is not there', () => {
    const plan = bootPlan(
      'pi5',
      'raspberry-pi-os',
      PI_OS.filter((file) => !file.path.includes('2712') || file.path.startsWith('dtbs/')),
    );
    expect(copies(plan)['/vmlinuz']).toBe('vmlinuz');
    expect(copies(plan)['/bcm2712-rpi-5-b.dtb']).toBe('dtbs/bcm2712-rpi-5-b.dtb');
  });
  it('takes the general kernel for a Pi 4', () => {
    const plan = bootPlan('pi4', 'raspberry-pi-os', PI_OS);
    expect(copies(plan)['/vmlinuz']).toBe('vmlinuz');
    expect(Object.keys(copies(plan))).toContain('/start4.elf');
    expect(text(plan, '/config.txt')).toContain('dtparam=watchdog=on');
  });
});

describe('a PC', () => {
  const plan = bootPlan('pc', 'debian', PC);
  it('has a boot loader for UEFI and one for a BIOS, with one configuration', () => {
    expect(copies(plan)).toEqual({
      '/EFI/BOOT/BOOTX64.EFI': 'shimx64.efi.signed',
      '/EFI/BOOT/grubx64.efi': 'grubx64.efi.signed',
      '/initrd.img': 'initrd.img',
      '/vmlinuz': 'vmlinuz',
    });
    expect(plan.bios?.prefix).toBe('(,msdos1)/EFI/debian');
    expect(text(plan, '/EFI/debian/grub.cfg')).toMatchInlineSnapshot(`
      "# Read by GRUB under UEFI and under a BIOS.
      set timeout=1
      set default=0

      # Usually $root is already the partition GRUB came from. Its label finds it where a firmware does not say.
      if [ ! -f /vmlinuz ]; then
        search --no-floppy --set=root --label COMMESHBOOT
      fi

      menuentry "Start the kit" {
        linux /vmlinuz console=ttyS0,115200 console=tty0 root=LABEL=commesh-root rootfstype=ext4 fsck.repair=yes rootwait panic=10 net.ifnames=0 quiet
        initrd /initrd.img
      }

      menuentry "Start the kit and show what it does (to find a fault)" {
        linux /vmlinuz console=ttyS0,115200 console=tty0 root=LABEL=commesh-root rootfstype=ext4 fsck.repair=yes rootwait panic=10 net.ifnames=0
        initrd /initrd.img
      }
      "
    `);
  });
  it('says what is missing', () => {
    expect(() =>
      bootPlan(
        'pc',
        'debian',
        PC.filter((file) => !file.path.endsWith('fat.mod')),
      ),
    ).toThrow('fat.mod');
  });
  it('counts its bytes', () => {
    expect(bootBytes(plan)).toBe(400 + Buffer.byteLength(text(plan, '/EFI/debian/grub.cfg')));
  });
});

describe('initramfsConfig', () => {
  it.each<readonly [Board, Base]>([
    ['zero2w', 'debian'],
    ['pc', 'debian'],
  ])('%s: a hook that names every module once', (board) => {
    const { modules, hook, conf } = initramfsConfig(board);
    expect(new Set(modules).size).toBe(modules.length);
    expect(hook).toMatch(/^#!\/bin\/sh\n\[ "\$1" != prereqs \] \|\| exit 0\n/);
    expect(hook).toContain(`manual_add_modules ${modules.join(' ')}\n`);
    expect(conf).toBe('MODULES=list\nCOMPRESS=zstd\nFSTYPE=ext4\nRESUME=none\nKEYMAP=n\n');
    expect(modules.includes('ahci')).toBe(board === 'pc');
    expect(modules.includes('sdhci_iproc')).toBe(board !== 'pc');
  });
});
