import { chmod } from 'node:fs/promises';
import type { Host, Running } from '../../src/host/host.js';
import { baseTree, ownIds } from './base-tree.js';

/**
 * Enters the tree with mounts and processes of its own: nothing in it can be changed, and of this machine only loopback, harmless
 * devices and one folder below /tmp are there, under the same path. $1 tree, $2 folder, then the command.
 */
const ENTER = `
tree=$1 folder=$2; shift 2
mount --bind "$tree" "$tree"
mount -o remount,bind,ro "$tree"
mount -t proc proc "$tree/proc"
mount -t tmpfs -o mode=755 tmpfs "$tree/run"
mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
mount -t tmpfs -o mode=755 tmpfs "$tree/dev"
for node in null zero full random urandom; do
  : > "$tree/dev/$node"
  mount --bind "/dev/$node" "$tree/dev/$node"
done
ln -s /proc/self/fd "$tree/dev/fd"
mkdir -p "$tree$folder"
mount --bind "$folder" "$tree$folder"
exec chroot "$tree" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"
`;

/** A temporary folder that programs of the tree see under its own path, and everybody may read. */
export async function treeTemporary(host: Host, prefix: string): Promise<string> {
  const folder = await host.temporary(prefix);
  await chmod(folder, 0o755);
  return folder;
}

/** The argv that runs a program of the kit's Debian on this machine's loopback. `folder` is from `treeTemporary`. */
export async function fromTree(
  host: Host,
  folder: string,
  argv: readonly string[],
): Promise<readonly string[]> {
  const own = ['--mount', '--pid', '--ipc', '--fork', '--kill-child'];
  return [
    ...['unshare', ...ownIds(host), ...own, 'sh', '-euc', ENTER, 'sh'],
    ...[await baseTree(host), folder, ...argv],
  ];
}

/** Starts a program of the tree. */
export async function startFromTree(
  host: Host,
  folder: string,
  argv: readonly string[],
): Promise<Running & { output(): string }> {
  const lines: string[] = [];
  const running = host.start(await fromTree(host, folder, argv), {
    onStdoutLine: (line) => lines.push(line),
    onStderrLine: (line) => lines.push(line),
  });
  return { ...running, output: () => lines.join('\n') };
}
