import { constants } from 'node:fs';
import { access, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from '../../host/host.js';
import type { Arch } from '../../services/contract.js';

export type Accelerator = 'kvm' | 'tcg';

// mov dx,0xf4; mov al,0x10; out dx,al; jmp $: tells QEMU's isa-debug-exit device to end with exit code 0x10 * 2 + 1.
const PROBE = Buffer.from([0xba, 0xf4, 0x00, 0xb0, 0x10, 0xee, 0xeb, 0xfe]);
const PROBE_EXIT = 33;
/** Real KVM starts the boot sector in a tenth of this; an emulated one takes far longer. */
const PROBE_MS = 2000;

/**
 * kvm when it really works: the device is there, QEMU starts with it, and it runs a boot sector faster than emulation would.
 * (Inside some virtual machines /dev/kvm exists and fails, or is many times slower than none.)
 */
export async function chooseAccelerator(host: Host, arch: Arch): Promise<Accelerator> {
  const same = (process.arch === 'x64' && arch === 'amd64') || (process.arch === 'arm64' && arch === 'arm64');
  if (!same) return 'tcg';
  try {
    await access('/dev/kvm', constants.R_OK | constants.W_OK);
  } catch {
    return 'tcg';
  }
  const begin = host.now();
  const works = arch === 'amd64' ? await bootSectorRuns(host) : await startsPaused(host);
  return works && host.now() - begin < PROBE_MS ? 'kvm' : 'tcg';
}

async function bootSectorRuns(host: Host): Promise<boolean> {
  const folder = await host.temporary('commesh-kvm');
  const disk = join(folder, 'probe');
  const sector = Buffer.alloc(1 << 20);
  PROBE.copy(sector);
  sector.writeUInt16LE(0xaa55, 510);
  await writeFile(disk, sector);
  const { exitCode } = await attempt(host, [
    ...[
      'qemu-system-x86_64',
      '-machine',
      'pc,accel=kvm',
      '-cpu',
      'host',
      '-m',
      '64',
      '-nodefaults',
      '-display',
      'none',
    ],
    ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=1', '-drive', `file=${disk},format=raw,if=ide`],
  ]);
  return exitCode === PROBE_EXIT;
}

async function startsPaused(host: Host): Promise<boolean> {
  const { exitCode } = await attempt(
    host,
    [
      ...['qemu-system-aarch64', '-machine', 'virt,accel=kvm', '-cpu', 'host', '-m', '64', '-nodefaults'],
      ...['-display', 'none', '-S', '-monitor', 'stdio'],
    ],
    'quit\n',
  );
  return exitCode === 0;
}

async function attempt(host: Host, argv: readonly string[], input?: string): Promise<{ exitCode: number }> {
  try {
    return await host.exec(argv, {
      allowFailure: true,
      timeoutMs: PROBE_MS,
      ...(input === undefined ? {} : { input }),
    });
  } catch {
    return { exitCode: -1 };
  }
}
