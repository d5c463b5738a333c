import { constants, existsSync } from 'node:fs';
import { access, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Host } from '../../host/host.js';
import type { Arch } from '../../services/contract.js';

export type Accelerator = 'kvm' | 'tcg';

// mov dx,0xf4; mov al,0x10; out dx,al; jmp $: tells QEMU's isa-debug-exit device to end with exit code 0x10 * 2 + 1.
const PROBE = Buffer.from([0xba, 0xf4, 0x00, 0xb0, 0x10, 0xee, 0xeb, 0xfe]);
const PROBE_EXIT = 33;
/** Real KVM starts the boot sector in a tenth of this; an emulated one takes far longer. */
const PROBE_MS = 2000;
const FIRMWARE_MS = 1000;
const FIRMWARE_CODE = ['/usr/share/OVMF/OVMF_CODE_4M.fd', '/usr/share/OVMF/OVMF_CODE.fd'];

/**
 * kvm when it really works: the device is there, QEMU starts with it, and it runs a boot sector faster than emulation would, and the firmware.
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
  if (!works || host.now() - begin >= PROBE_MS) return 'tcg';
  return arch === 'amd64' && !(await firmwareRuns(host)) ? 'tcg' : 'kvm';
}

/**
 * Whether KVM runs the firmware of a PC: it begins in flash memory and soon leaves real mode, which takes parts of KVM that a boot
 * sector does not touch. QEMU says so within milliseconds when they fail, and then stands still.
 */
async function firmwareRuns(host: Host): Promise<boolean> {
  const code = FIRMWARE_CODE.find((path) => existsSync(path));
  if (code === undefined) return true;
  const running = host.start(
    [
      ...['qemu-system-x86_64', '-machine', 'q35,accel=kvm', '-cpu', 'host', '-smp', '2', '-m', '256'],
      ...['-nodefaults', '-no-user-config', '-display', 'none'],
      ...['-drive', `if=pflash,unit=0,format=raw,readonly=on,file=${code}`],
    ],
    {
      onStderrLine: (line) => {
        if (line.includes('KVM internal error')) failed = true;
      },
    },
  );
  let failed = false;
  const ended = await Promise.race([
    running.exited.then(() => true),
    sleep(FIRMWARE_MS, false, { signal: host.signal }).catch(() => false),
  ]);
  await running.stop();
  return !failed && !ended;
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
