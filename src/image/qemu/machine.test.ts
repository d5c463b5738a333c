import { describe, expect, it } from 'vitest';
import { qemuArguments, type MachineOptions } from './machine.js';

const options: MachineOptions = {
  machine: 'pc',
  accelerator: 'tcg',
  memoryMiB: 2048,
  processors: 2,
  disk: '/tmp/card.qcow2',
  bus: 'virtio',
  lan: { user: 'user,id=tcp,restrict=on', relayPort: 41, qemuPort: 42 },
  neighbours: null,
  serialLog: '/tmp/serial.log',
  consoleSocket: '/tmp/console',
  controlSocket: '/tmp/control',
  firmware: null,
  direct: null,
  clock: null,
  usbDisks: [],
};
const direct = {
  kernel: '/k/vmlinuz',
  initrd: '/k/initrd.img',
  commandLine: 'console=ttyS1,115200 console=tty0 root=LABEL=commesh-root rootwait quiet\n',
  dtb: null,
};
const line = (more: Partial<MachineOptions>): string => qemuArguments({ ...options, ...more }).join(' ');

describe('qemuArguments', () => {
  it('lets a PC boot by itself', () => {
    const text = line({});
    expect(text).toMatch(/^qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 /);
    expect(text).not.toContain('-kernel');
    expect(text).toContain('-device virtio-blk-pci,drive=card');
    expect(text).toContain('-netdev user,id=tcp,restrict=on');
  });
  it('may have cables to other kits', () => {
    const text = line({ neighbours: { mac: '52:54:00:00:00:07', cables: [{ here: 51, there: 52 }] } });
    expect(text).toContain('-netdev socket,id=cable0,udp=127.0.0.1:52,localaddr=127.0.0.1:51');
    expect(text).toContain('-netdev hubport,id=cableport0,hubid=0,netdev=cable0');
    expect(text).toContain('virtio-net-pci,netdev=lan,mac=52:54:00:00:00:07');
  });
  it('has one network, and that is the one given', () => {
    for (const machine of ['pc', 'virt', 'raspi3b'] as const) {
      const argv = qemuArguments({ ...options, machine, direct });
      expect(argv.filter((word) => word === '-netdev')).toHaveLength(5);
      expect(argv).toContain('-nodefaults');
    }
  });
  it('keeps UEFI variables apart from its code', () => {
    const text = line({ firmware: { code: '/c.fd', variables: '/v.fd', secure: true } });
    expect(text).toContain('-machine q35,smm=on');
    expect(text).toContain('unit=0,format=raw,readonly=on,file=/c.fd');
    expect(text).toContain('unit=1,format=raw,file=/v.fd');
  });
  it("starts arm64 with the image's own kernel and command line, consoles aside", () => {
    const argv = qemuArguments({ ...options, machine: 'virt', direct });
    expect(argv.slice(0, 3)).toEqual(['qemu-system-aarch64', '-machine', 'virt']);
    expect(argv[argv.indexOf('-append') + 1]).toBe('console=ttyAMA0,115200 root=LABEL=commesh-root rootwait');
  });
  it('gives a Raspberry Pi its card slot, its second serial port and USB Ethernet', () => {
    const text = line({ machine: 'raspi3b', direct: { ...direct, dtb: '/k/bcm2837-rpi-3-b.dtb' } });
    expect(text).toContain('file=/tmp/card.qcow2,format=qcow2,if=sd');
    expect(text).toContain('-dtb /k/bcm2837-rpi-3-b.dtb');
    expect(text).toContain('-serial null -serial chardev:console');
    expect(text).toContain('usb-net,netdev=lan');
    expect(text).not.toMatch(/ -m /);
  });
  it('sets the clock and adds USB disks', () => {
    const text = line({ clock: '2001-01-01T00:00:00', usbDisks: ['/tmp/a,b.img'] });
    expect(text).toContain('-rtc base=2001-01-01T00:00:00');
    expect(text).toContain('file=/tmp/a,,b.img,format=raw');
    expect(text).toContain('-device qemu-xhci');
  });
});
