import type { Accelerator } from './accelerator.js';
import type { Neighbours } from './network.js';

export type Machine = 'pc' | 'virt' | 'raspi3b' | 'raspi4b';
export type Bios = 'uefi' | 'bios' | 'secure-boot';
export type DiskBus = 'virtio' | 'sata' | 'usb';

/** Kernel and what belongs to it, taken out of the image's boot partition for machines without its boot loader. */
export interface DirectBoot {
  readonly kernel: string;
  readonly initrd: string;
  /** Of the image's own cmdline.txt. */
  readonly commandLine: string;
  readonly dtb: string | null;
}

export interface MachineOptions {
  readonly machine: Machine;
  readonly accelerator: Accelerator;
  readonly memoryMiB: number;
  readonly processors: number;
  /** qcow2. */
  readonly disk: string;
  readonly bus: DiskBus;
  /** The kit's LAN: value of `-netdev` for TCP (id `tcp`), and the two ends of the cable to the UDP relay. */
  readonly lan: { readonly user: string; readonly relayPort: number; readonly qemuPort: number };
  /** Cables to other kits' QEMUs, and the address that tells this kit's network card from theirs; null: the kit is alone. */
  readonly neighbours: Pick<Neighbours, 'mac' | 'cables'> | null;
  /** Text of the serial console is added to this file. */
  readonly serialLog: string;
  /** Socket where the console can be typed at. */
  readonly consoleSocket: string;
  readonly controlSocket: string;
  /** UEFI's program and its variables; null: BIOS, or direct boot. */
  readonly firmware: { readonly code: string; readonly variables: string; readonly secure: boolean } | null;
  readonly direct: DirectBoot | null;
  /** `-rtc base=`: what the clock of the board says at power-on, ISO 8601 without zone, UTC. Null: the time of this machine. */
  readonly clock: string | null;
  /** Raw disks on USB, e.g. one for backups. */
  readonly usbDisks: readonly string[];
}

/** One of Raspberry Pi's own: with a made-up address Linux would call the card usb0. */
const PI_MAC = 'b8:27:eb:00:00:01';

/** QEMU's command line. Pure. */
export function qemuArguments(options: MachineOptions): readonly string[] {
  const { machine, accelerator, direct, firmware } = options;
  const raspi = machine === 'raspi3b' || machine === 'raspi4b';
  const pc = machine === 'pc';
  return [
    pc ? 'qemu-system-x86_64' : 'qemu-system-aarch64',
    ...['-machine', pc ? `q35${firmware?.secure ? ',smm=on' : ''}` : machine],
    ...['-accel', accelerator === 'tcg' ? 'tcg,thread=multi' : 'kvm'],
    ...(raspi
      ? []
      : [
          ...['-cpu', accelerator === 'kvm' ? 'host' : pc ? 'max' : 'cortex-a72'],
          ...['-smp', String(options.processors), '-m', String(options.memoryMiB)],
        ]),
    ...['-nodefaults', '-no-user-config', '-display', 'none'],
    ...(pc ? ['-device', 'VGA'] : []),
    ...firmwareArguments(firmware),
    ...directArguments(direct, machine),
    ...diskArguments(options, raspi),
    ...['-netdev', options.lan.user, '-netdev', 'hubport,id=port1,hubid=0,netdev=tcp'],
    ...[
      '-netdev',
      `socket,id=udp,udp=127.0.0.1:${options.lan.relayPort},localaddr=127.0.0.1:${options.lan.qemuPort}`,
    ],
    ...['-netdev', 'hubport,id=port2,hubid=0,netdev=udp', '-netdev', 'hubport,id=lan,hubid=0'],
    ...(options.neighbours?.cables ?? []).flatMap(({ here, there }, index) => [
      ...['-netdev', `socket,id=cable${index},udp=127.0.0.1:${there},localaddr=127.0.0.1:${here}`],
      ...['-netdev', `hubport,id=cableport${index},hubid=0,netdev=cable${index}`],
    ]),
    ...(raspi
      ? ['-device', `usb-net,netdev=lan,mac=${options.neighbours?.mac ?? PI_MAC}`]
      : [
          ...[
            '-device',
            `virtio-net-pci,netdev=lan${options.neighbours === null ? '' : `,mac=${options.neighbours.mac}`}`,
          ],
          ...['-device', 'virtio-rng-pci'],
        ]),
    ...[
      '-chardev',
      `socket,id=console,path=${options.consoleSocket},server=on,wait=off,logfile=${options.serialLog},logappend=on`,
    ],
    // The small UART, which the image's command line names, is a Raspberry Pi's second.
    ...(raspi ? ['-serial', 'null'] : []),
    ...['-serial', 'chardev:console'],
    ...['-qmp', `unix:${options.controlSocket},server=on,wait=off`],
    ...(options.clock === null || raspi ? [] : ['-rtc', `base=${options.clock},clock=host`]),
  ];
}

function firmwareArguments(firmware: MachineOptions['firmware']): readonly string[] {
  if (firmware === null) return [];
  return [
    ...(firmware.secure ? ['-global', 'driver=cfi.pflash01,property=secure,value=on'] : []),
    ...['-drive', `if=pflash,unit=0,format=raw,readonly=on,file=${firmware.code}`],
    ...['-drive', `if=pflash,unit=1,format=raw,file=${firmware.variables}`],
  ];
}

function directArguments(direct: DirectBoot | null, machine: Machine): readonly string[] {
  if (direct === null) return [];
  // Debug output goes where the log is; everything else is the image's own.
  const port = machine === 'virt' ? 'ttyAMA0' : 'ttyS1';
  const words = direct.commandLine.trim().split(/\s+/);
  const kept = words.filter((word) => !word.startsWith('console=') && word !== 'quiet');
  // QEMU's USB network card answers to two drivers, and only cdc_ether moves packets.
  const quirks = machine === 'virt' ? [] : ['modprobe.blacklist=cdc_subset'];
  return [
    ...['-kernel', direct.kernel, '-initrd', direct.initrd],
    ...(direct.dtb === null ? [] : ['-dtb', direct.dtb]),
    ...['-append', [`console=${port},115200`, ...kept, ...quirks].join(' ')],
  ];
}

function diskArguments(options: MachineOptions, raspi: boolean): readonly string[] {
  const drive = (file: string, format: string, id: string): readonly string[] => [
    '-drive',
    // An emulated disk need not wait for the real one; what is lost in a power cut here is a copy.
    `file=${file.replaceAll(',', ',,')},format=${format},if=none,id=${id},cache=unsafe,discard=unmap`,
  ];
  const usb = options.usbDisks.length > 0 || options.bus === 'usb';
  return [
    ...(raspi
      ? ['-drive', `file=${options.disk.replaceAll(',', ',,')},format=qcow2,if=sd,cache=unsafe`]
      : drive(options.disk, 'qcow2', 'card')),
    ...(usb && !raspi ? ['-device', 'qemu-xhci,id=usb'] : []),
    ...(raspi ? [] : ['-device', DISK_DEVICES[options.bus]]),
    ...options.usbDisks.flatMap((file, index) => [
      ...drive(file, 'raw', `usb${index}`),
      ...['-device', `usb-storage,drive=usb${index},removable=on`],
    ]),
  ];
}

const DISK_DEVICES: Readonly<Record<DiskBus, string>> = {
  virtio: 'virtio-blk-pci,drive=card,bootindex=1',
  // q35 has an AHCI controller of its own, as laptops have.
  sata: 'ide-hd,drive=card,bootindex=1',
  usb: 'usb-storage,drive=card,removable=on,bootindex=1',
};
