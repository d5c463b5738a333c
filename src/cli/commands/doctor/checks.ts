import { constants } from 'node:fs';
import { access, statfs } from 'node:fs/promises';
import { release, userInfo } from 'node:os';
import { delimiter, isAbsolute, join } from 'node:path';
import { readTextIfThere } from '../../../host/files.js';
import type { Host } from '../../../host/host.js';
import { outside } from '../../../host/namespace.js';
import { requirements, type Requirement } from '../../../host/requirements.js';
import { chooseAccelerator } from '../../../image/qemu/accelerator.js';
import { hostArch } from '../project.js';
import { kernelAtLeast, probeEmulation, type Emulation } from '../../../stages/emulation.js';
import { anyToolsTree } from '../../../stages/tools.js';

export type FindingState = 'pass' | 'warn' | 'fail';

/** One thing doctor looked at. */
export interface Finding {
  /** Stable: `program/newuidmap`, `subuid`. */
  readonly id: string;
  readonly title: string;
  /** fail: building an image cannot work. warn: something else will not, or will be slow. */
  readonly state: FindingState;
  readonly reason: string;
  readonly hint?: string;
  readonly version?: string;
  /** Debian package that mends it. */
  readonly package?: string;
}

/** An id range in /etc/subuid or /etc/subgid (subuid(5)). */
export interface IdRange {
  readonly owner: string;
  readonly start: number;
  readonly count: number;
}

/** What newuidmap needs for files with owners: ids 0 to 65535 of the image. */
export const IDS_NEEDED = 65_536;
/** Debian's first id for such ranges (login.defs(5), SUB_UID_MIN). */
const FIRST_ID = 100_000;
const DISK_NEEDED = 10e9;

/** Lines of subuid(5): `name:start:count`; anything else is passed over, as newuidmap does. */
export function parseIdRanges(text: string): readonly IdRange[] {
  return text.split('\n').flatMap((line) => {
    const [owner, start, count, ...more] = line.trim().split(':');
    if (!owner || !start || !count || more.length > 0 || !/^\d+$/.test(start) || !/^\d+$/.test(count))
      return [];
    return [{ owner, start: Number(start), count: Number(count) }];
  });
}

/** The first id after every range there is. */
export function freeIdStart(ranges: readonly IdRange[]): number {
  return ranges.reduce((start, range) => Math.max(start, range.start + range.count), FIRST_ID);
}

/** Whether `user` has a range that is long enough. */
export function hasIdRange(ranges: readonly IdRange[], user: string, uid: number): boolean {
  return ranges.some(
    (range) => (range.owner === user || range.owner === String(uid)) && range.count >= IDS_NEEDED,
  );
}

/** The first thing in a program's answer that looks like a version. */
export function versionIn(text: string): string | undefined {
  return /\d+(?:\.\d+)+/.exec(text)?.[0];
}

/**
 * Looks at this machine. Changes nothing.
 * @param folder where work is done. @param cache the offline cache: a tools tree in it can be tried.
 */
export async function examine(host: Host, folder: string, cache: string): Promise<readonly Finding[]> {
  const user = userName(host);
  const tree = (await anyToolsTree(host, join(cache, 'trees')))?.path ?? null;
  return [
    nodeFinding(process.versions.node),
    ...(await Promise.all(requirements.map((requirement) => programFinding(host, requirement)))),
    namespaceFinding(await namespaceFacts(host, tree)),
    await rangeFinding(host, user, '/etc/subuid', 'subuid'),
    await rangeFinding(host, user, '/etc/subgid', 'subgid'),
    await emulationFinding(host, tree),
    await kvmFinding(host),
    await diskFinding(folder),
  ];
}

/** The name of the person's account; its number when it has none. */
export function userName(host: Host): string {
  try {
    return userInfo().username;
  } catch {
    return String(host.uid);
  }
}

export function nodeFinding(version: string): Finding {
  const good = Number(version.split('.')[0]) >= 20;
  return {
    id: 'node',
    title: 'Node',
    state: good ? 'pass' : 'fail',
    reason: good ? `version ${version}` : `version ${version} is too old`,
    version,
    ...(good ? {} : { hint: 'install Node 20 or newer' }),
  };
}

async function isThere(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  );
}

/** The first of the names that exists: as a file, or as a program in PATH or the system's folders. */
async function find(host: Host, names: readonly string[]): Promise<string | undefined> {
  const folders = [
    ...(host.env['PATH'] ?? '').split(delimiter).filter(Boolean),
    '/usr/local/sbin',
    '/usr/sbin',
    '/sbin',
  ];
  for (const name of names) {
    if (isAbsolute(name)) {
      if (await isThere(name, constants.R_OK)) return name;
      continue;
    }
    for (const folder of folders)
      if (await isThere(join(folder, name), constants.X_OK)) return join(folder, name);
  }
  return undefined;
}

async function programFinding(host: Host, requirement: Requirement): Promise<Finding> {
  const found = await find(host, [requirement.program, ...(requirement.alternatives ?? [])]);
  const title = isAbsolute(requirement.program) ? requirement.package : requirement.program;
  if (found === undefined) {
    return {
      id: `program/${requirement.program}`,
      title,
      state: requirement.group === 'build' ? 'fail' : 'warn',
      reason: `missing: ${requirement.purpose} (needed by ${requirement.commands.join(', ')})`,
      package: requirement.package,
      hint: `package ${requirement.package}`,
    };
  }
  let version: string | undefined;
  if (requirement.version) {
    const { stdout, stderr } = await host.exec([found, ...requirement.version], {
      allowFailure: true,
      timeoutMs: 10_000,
    });
    version = versionIn(stdout || stderr);
  }
  return {
    id: `program/${requirement.program}`,
    title,
    state: 'pass',
    reason: version === undefined ? 'there' : `version ${version}`,
    ...(version === undefined ? {} : { version }),
    package: requirement.package,
  };
}

/** What decides whether this account can make user namespaces. */
export interface NamespaceFacts {
  readonly uid: number;
  /** Kernel settings as read, '' when the kernel has no such setting. */
  readonly maxUserNamespaces: string;
  readonly unprivilegedUsernsClone: string;
  readonly apparmorRestricts: string;
  /** Last words of unshare(1) when it failed, '' when it worked, null when there is none to try with. */
  readonly refusal: string | null;
}

async function namespaceFacts(host: Host, tree: string | null): Promise<NamespaceFacts> {
  const setting = async (path: string): Promise<string> =>
    ((await readTextIfThere(`/proc/sys/${path}`).catch(() => null)) ?? '').trim();
  const flags = ['--user', '--map-root-user', '--mount', '--net', '--pid', '--fork'];
  // A mount: where AppArmor restricts namespaces, making one works and using it does not.
  const probe = ['-t', 'tmpfs', 'tmpfs', '/tmp'];
  const argv =
    tree !== null
      ? outside(tree, 'usr/bin/unshare', [...flags, ...outside(tree, 'usr/bin/mount', probe)])
      : (await find(host, ['unshare'])) !== undefined && (await find(host, ['mount'])) !== undefined
        ? ['unshare', ...flags, 'mount', ...probe]
        : null;
  const tried = argv && (await host.exec(argv, { allowFailure: true, timeoutMs: 20_000 }));
  return {
    uid: host.uid,
    maxUserNamespaces: await setting('user/max_user_namespaces'),
    unprivilegedUsernsClone: await setting('kernel/unprivileged_userns_clone'),
    apparmorRestricts: await setting('kernel/apparmor_restrict_unprivileged_userns'),
    refusal:
      tried === null
        ? null
        : tried.exitCode === 0
          ? ''
          : tried.stderr.trim().split('\n').at(-1) || `exit code ${tried.exitCode}`,
  };
}

/** Whether builds can have their own namespaces, and the one command that helps where they cannot. */
export function namespaceFinding(facts: NamespaceFacts): Finding {
  const base = { id: 'namespaces', title: 'user namespaces' };
  if (facts.refusal === '') return { ...base, state: 'pass', reason: 'usable' };
  const command = (setting: string): string => `sudo sysctl -w ${setting} (until the next start)`;
  if (facts.maxUserNamespaces === '0') {
    return {
      ...base,
      state: 'fail',
      reason: 'this machine allows none',
      hint: command('user.max_user_namespaces=15000'),
    };
  }
  if (facts.uid !== 0 && facts.unprivilegedUsernsClone === '0') {
    return {
      ...base,
      state: 'fail',
      reason: 'only root may make them here',
      hint: command('kernel.unprivileged_userns_clone=1'),
    };
  }
  if (facts.uid !== 0 && facts.apparmorRestricts === '1') {
    return {
      ...base,
      state: 'fail',
      reason: 'AppArmor forbids this account to use them',
      hint: command('kernel.apparmor_restrict_unprivileged_userns=0'),
    };
  }
  if (facts.refusal === null)
    return { ...base, state: 'pass', reason: 'the kernel allows them (not tried: no unshare here)' };
  return {
    ...base,
    state: 'fail',
    reason: `this account cannot make them (${facts.refusal})`,
    hint: 'in a container? Start it so that unshare and mount are allowed, for example with --privileged',
  };
}

async function rangeFinding(
  host: Host,
  user: string,
  file: string,
  id: 'subuid' | 'subgid',
): Promise<Finding> {
  return rangeText(parseIdRanges((await readTextIfThere(file)) ?? ''), user, host.uid, file, id);
}

/** Whether an account has ids for the files of an image, and the one command that gives it some. */
export function rangeText(
  ranges: readonly IdRange[],
  user: string,
  uid: number,
  file: string,
  id: 'subuid' | 'subgid',
): Finding {
  const good = hasIdRange(ranges, user, uid);
  const flag = id === 'subuid' ? '--add-subuids' : '--add-subgids';
  const start = freeIdStart(ranges);
  return {
    id,
    title: `ids in ${file}`,
    state: good ? 'pass' : 'fail',
    reason: good ? `${user} has a range` : `${user} has no range of ${IDS_NEEDED} ids`,
    ...(good
      ? {}
      : { hint: `sudo touch ${file} && sudo usermod ${flag} ${start}-${start + IDS_NEEDED - 1} ${user}` }),
  };
}

/** Whether packages for a Raspberry Pi can be installed into an image here. */
async function emulationFinding(host: Host, tree: string | null): Promise<Finding> {
  return emulationText(await probeEmulation(host, 'arm64', tree), release());
}

/** @param kernel release of the running kernel, `6.1.0-37-amd64`. */
export function emulationText(way: Emulation, kernel: string): Finding {
  const base = { id: 'emulation', title: 'arm64 programs' };
  switch (way) {
    case 'native':
      return { ...base, state: 'pass', reason: 'this machine is arm64' };
    case 'private':
      return {
        ...base,
        state: 'pass',
        reason: 'run natively where a twin is known, else emulated; inside each build, seen by nobody else',
      };
    case 'host':
      return { ...base, state: 'pass', reason: 'emulated, registered on this machine' };
    case 'none':
      return {
        ...base,
        state: 'warn',
        reason: `images for a Raspberry Pi cannot be built here (PC images can)${kernelAtLeast(kernel, 6, 7) ? '' : `: Linux ${kernel} is older than 6.7`}`,
        hint: 'sudo apt-get install qemu-user-static',
        package: 'qemu-user-static',
      };
  }
}

async function kvmFinding(host: Host): Promise<Finding> {
  // A device that is there may still not work, inside another virtual machine for instance.
  const good = (await chooseAccelerator(host, hostArch())) === 'kvm';
  return {
    id: 'kvm',
    title: 'KVM',
    state: 'pass',
    reason: good ? 'usable: "try" boots PC images fast' : 'not usable: "try" works, but boots take minutes',
  };
}

async function diskFinding(folder: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const text = `${(free / 1e9).toFixed(1)} GB free here`;
  return free >= DISK_NEEDED
    ? { id: 'disk', title: 'disk space', state: 'pass', reason: text }
    : {
        id: 'disk',
        title: 'disk space',
        state: 'warn',
        reason: `${text}; a first build wants about ${DISK_NEEDED / 1e9} GB`,
        hint: 'make room, or work in a folder on a bigger disk',
      };
}
