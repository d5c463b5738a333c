import { readFileSync } from 'node:fs';
import { release } from 'node:os';
import { ToolError, WorkError } from '../diagnostics/errors.js';
import type { Host } from '../host/host.js';
import { outside } from '../host/namespace.js';
import type { Arch } from '../services/contract.js';

/** How programs of another architecture run here. */
export type Emulation = 'native' | 'private' | 'host' | 'none';

/**
 * Finds out how arm64 programs can run on this machine: natively, through a binfmt_misc of the build's own user namespace
 * (Linux >= 6.7), through the host's registration (package qemu-user-static or qemu-user-binfmt), or not at all.
 * @param tree a tools tree to try it with; without one the host's unshare(1), and failing that the kernel's version decides.
 */
export async function probeEmulation(host: Host, arch: Arch, tree: string | null): Promise<Emulation> {
  if ((arch === 'amd64') === (process.arch === 'x64')) return 'native';
  const mount = ['-t', 'binfmt_misc', 'binfmt_misc', '/proc/sys/fs/binfmt_misc'];
  const flags = ['--user', '--map-root-user', '--mount'];
  const argv =
    tree === null
      ? ['unshare', ...flags, 'mount', ...mount]
      : outside(tree, 'usr/bin/unshare', [...flags, ...outside(tree, 'usr/bin/mount', mount)]);
  const mounted = await host.exec(argv, { allowFailure: true }).then(
    ({ exitCode }) => exitCode === 0,
    (error: unknown) => {
      if (error instanceof ToolError && error.status === 'not found') return kernelAtLeast(release(), 6, 7);
      throw error;
    },
  );
  if (mounted) return 'private';
  return hostRegistration() ? 'host' : 'none';
}

/** Whether a kernel's release (`6.1.0-37-amd64`) is this one or newer. */
export function kernelAtLeast(text: string, major: number, minor: number): boolean {
  const [, first = '0', second = '0'] = /^(\d+)\.(\d+)/.exec(text) ?? [];
  return Number(first) > major || (Number(first) === major && Number(second) >= minor);
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
export async function planEmulation(
  host: Host,
  arch: Arch,
  tree: string,
): Promise<Exclude<Emulation, 'none'>> {
  const way = await probeEmulation(host, arch, tree);
  if (way !== 'none') return way;
  throw new WorkError(`this machine cannot run ${arch} programs, which installing the kit's packages needs`, {
    hint: 'install qemu-user-static ("commeshctl doctor --install"), or build on a machine with Linux 6.7 or newer',
  });
}
