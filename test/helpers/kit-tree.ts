import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ExecOptions, ExecResult, Host } from '../../src/host/host.js';
import { packageRoot } from '../../src/host/paths.js';
import type { Plan } from '../../src/plan/types.js';
import { assemblePlan } from '../../src/plan/assemble.js';
import { checkProfileText } from '../../src/profile/index.js';
import { loadServices } from '../../src/services/registry.js';
import { renderFile } from '../../src/templates/load.js';
import { baseTree, ownIds } from './base-tree.js';

/** The always-on services these helpers are for; web has tests of its own. */
export const SYSTEM_SERVICES = ['system', 'network', 'dns', 'time', 'firewall', 'ssh', 'backup'];

/** The plan of a profile given as text. */
export async function systemPlan(profileText: string): Promise<Plan> {
  const services = await loadServices();
  const { profile, diagnostics } = checkProfileText('test.yaml', profileText, services);
  if (profile === null) throw new Error(JSON.stringify(diagnostics));
  return assemblePlan(profile.site, services).plan;
}

/** Secrets as a site has them, made for this test. */
export async function systemSecrets(host: Host): Promise<(id: string) => string> {
  const folder = await host.temporary('keys');
  for (const name of ['host', 'operator'])
    await host.exec(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', join(folder, name)]);
  const text = (name: string): string => readFileSync(join(folder, name), 'utf8').trimEnd();
  const values: Readonly<Record<string, string>> = {
    'ssh-host': text('host'),
    'ssh-host.pub': text('host.pub'),
    'ssh-operator': text('operator'),
    'ssh-operator.pub': text('operator.pub'),
    'backup-key': 'k'.repeat(40),
    'wifi-passphrase': 'correct horse battery staple',
  };
  return (id) => {
    const value = values[id];
    if (value === undefined) throw new Error(`this test has no secret "${id}"`);
    return value;
  };
}

/** A kit's files over a Debian 13 tree, in which programs of the tree run. */
export interface KitTree {
  /** Where a path of the kit lies for this test, when the test or a program has written it. */
  path(onDevice: string): string;
  /** Runs a shell script inside, in own mount, network and pid namespaces, and ends what it started. $1… are `args`. */
  sh(script: string, args?: readonly string[], options?: KitOptions): Promise<ExecResult>;
}

export interface KitOptions extends ExecOptions {
  /** Loop devices and their partitions (`loop0`, `loop0p1`): only ones the test made itself. */
  readonly devices?: readonly string[];
}

/**
 * Mounts the kit's files over the tree for one run. $1 tree, $2 upper, $3 work, $4 mount point, $5 devices, then the command.
 * Of the machine's devices only the harmless ones are there: a test must not be able to reach its disks or its clock.
 */
const ENTER = `
tree=$1 upper=$2 work=$3 at=$4 devices=$5; shift 5
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$upper,workdir=$work" "$at"
mount -t proc proc "$at/proc"
mount -t sysfs -o ro sysfs "$at/sys"
mount -t tmpfs -o mode=755 tmpfs "$at/run"
mount -t tmpfs -o mode=1777 tmpfs "$at/tmp"
mount -t tmpfs -o mode=755 tmpfs "$at/dev"
for node in null zero full random urandom; do
  : > "$at/dev/$node"
  mount --bind "/dev/$node" "$at/dev/$node"
done
for node in $devices; do
  case $node in loop*) ;; *) echo "$node is not a device of a test" >&2; exit 1 ;; esac
  mknod "$at/dev/$node" b $(tr : ' ' < "/sys/class/block/$node/dev")
done
ln -s /proc/self/fd "$at/dev/fd"
mkdir -p "$at/run/sshd" "$at/run/lock"
exec chroot "$at" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"
`;

/** Lays the files of a plan (all, or those of some services) over the tree. `secrets`: value by id. */
export async function kitTree(
  host: Host,
  plan: Pick<Plan, 'files'>,
  secrets: (id: string) => string,
  services?: readonly string[],
): Promise<KitTree> {
  const tree = await baseTree(host);
  const work = await host.temporary('kit-tree');
  const upper = join(work, 'upper');
  for (const name of ['upper', 'work', 'at']) await mkdir(join(work, name), { mode: 0o755 });
  const folders = { templates: join(packageRoot(), 'templates'), overrides: null };
  const read = (path: string): Uint8Array | null => {
    try {
      return readFileSync(path);
    } catch {
      return null;
    }
  };
  const owners: string[] = [];
  for (const file of plan.files.filter((one) => services?.includes(one.service) ?? true)) {
    const path = join(upper, file.path);
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    if (file.kind === 'symlink') {
      await symlink(file.target ?? '', path);
      continue;
    }
    if (file.kind === 'directory') await mkdir(path, { recursive: true });
    else if (file.kind === 'secret') {
      const value = file.data?.['value'] as { secret: string };
      await writeFile(path, `${secrets(value.secret)}\n`);
    } else await writeFile(path, renderFile(file, folders, read, secrets));
    await chmod(path, parseInt(file.mode, 8));
    if (file.owner !== 'root' || file.group !== 'root')
      owners.push(`${file.owner}:${file.group} ${file.path}`);
  }
  const kit: KitTree = {
    path: (onDevice) => join(upper, onDevice),
    sh: (script, args = [], { devices = [], ...options } = {}) =>
      host.exec(
        [
          ...[
            'unshare',
            ...ownIds(host),
            '--mount',
            '--net',
            '--pid',
            '--ipc',
            '--uts',
            '--fork',
            '--kill-child',
          ],
          ...['sh', '-euc', ENTER, 'sh'],
          ...[
            tree,
            upper,
            join(work, 'work'),
            join(work, 'at'),
            devices.join(' '),
            'sh',
            '-euc',
            script,
            'sh',
            ...args,
          ],
        ],
        { title: script.trim().slice(0, 200), ...options },
      ),
  };
  if (owners.length > 0)
    await kit.sh('while read -r owner path; do chown "$owner" "$path"; done', [], {
      input: `${owners.join('\n')}\n`,
    });
  return kit;
}

/** The text of a file of the kit. */
export async function textOf(kit: KitTree, onDevice: string): Promise<string> {
  return readFile(kit.path(onDevice), 'utf8');
}
