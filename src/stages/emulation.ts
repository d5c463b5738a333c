import { readFileSync } from 'node:fs';
import { WorkError } from '../diagnostics/errors.js';
import type { Host } from '../host/host.js';
import type { Arch } from '../services/contract.js';

/** How programs of another architecture run here. */
export type Emulation = 'native' | 'private' | 'host' | 'none';

/**
 * Finds out how arm64 programs can run on this machine: natively, through a binfmt_misc of the build's own user namespace
 * (Linux >= 6.7), through the host's registration (package qemu-user-static or qemu-user-binfmt), or not at all.
 */
export async function probeEmulation(host: Host, arch: Arch): Promise<Emulation> {
  if ((arch === 'amd64') === (process.arch === 'x64')) return 'native';
  const mounted = await host.exec(
    [
      'unshare',
      '--user',
      '--map-root-user',
      '--mount',
      'mount',
      '-t',
      'binfmt_misc',
      'binfmt_misc',
      '/proc/sys/fs/binfmt_misc',
    ],
    { allowFailure: true },
  );
  if (mounted.exitCode === 0) return 'private';
  return hostRegistration() ? 'host' : 'none';
}

/** True when the host runs arm64 programs in every root (flag F, binfmt_misc(5) of the kernel's documentation). */
function hostRegistration(): boolean {
  try {
    const text = readFileSync('/proc/sys/fs/binfmt_misc/qemu-aarch64', 'utf8');
    return text.startsWith('enabled') && /^flags:.*F/m.test(text);
  } catch {
    return false;
  }
}

/**
 * How programs of `arch` run here.
 * @throws WorkError when they cannot run here.
 */
export async function planEmulation(host: Host, arch: Arch): Promise<Exclude<Emulation, 'none'>> {
  const way = await probeEmulation(host, arch);
  if (way !== 'none') return way;
  throw new WorkError(`this machine cannot run ${arch} programs, which installing the kit's packages needs`, {
    hint: 'install qemu-user-static ("commeshctl doctor --install"), or build on a machine with Linux 6.7 or newer',
  });
}
