import { constants } from 'node:fs';
import { access, statfs } from 'node:fs/promises';
import { delimiter, isAbsolute, join } from 'node:path';
import { readTextIfThere } from '../../../host/files.js';
import type { Host } from '../../../host/host.js';
import { requirements, type Requirement } from '../../../host/requirements.js';
import { chooseAccelerator } from '../../../image/qemu/accelerator.js';
import { hostArch } from '../project.js';
import { probeEmulation } from '../../../stages/emulation.js';

export type FindingState = 'pass' | 'warn' | 'fail';

/** One thing doctor looked at. */
export interface Finding {
  /** Stable: `program/gpgv`, `subuid`. */
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

/** Looks at this machine. Changes nothing. */
export async function examine(host: Host, folder: string): Promise<readonly Finding[]> {
  const user = await userName(host);
  return [
    nodeFinding(process.versions.node),
    ...(await Promise.all(requirements.map((requirement) => programFinding(host, requirement)))),
    await namespaceFinding(host),
    await rangeFinding(host, user, '/etc/subuid', 'subuid'),
    await rangeFinding(host, user, '/etc/subgid', 'subgid'),
    await emulationFinding(host),
    await kvmFinding(host),
    await diskFinding(folder),
  ];
}

/** The name of the person's account. */
export async function userName(host: Host): Promise<string> {
  const { stdout } = await host.exec(['id', '-un'], { allowFailure: true });
  return stdout.trim() || String(host.uid);
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

async function namespaceFinding(host: Host): Promise<Finding> {
  const base = { id: 'namespaces', title: 'user namespaces' };
  if ((await find(host, ['unshare'])) === undefined)
    return { ...base, state: 'fail', reason: 'cannot be tried without unshare', package: 'util-linux' };
  const tried = await host.exec(
    ['unshare', '--user', '--map-root-user', '--mount', '--net', '--pid', '--fork', 'true'],
    {
      allowFailure: true,
      timeoutMs: 20_000,
    },
  );
  if (tried.exitCode === 0) return { ...base, state: 'pass', reason: 'usable' };
  const restricted =
    (await readTextIfThere('/proc/sys/kernel/apparmor_restrict_unprivileged_userns'))?.trim() === '1';
  return {
    ...base,
    state: 'fail',
    reason: `this account cannot make them${tried.stderr.trim() ? ` (${tried.stderr.trim().split('\n').at(-1)})` : ''}`,
    hint: restricted
      ? 'AppArmor forbids them here: run "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0" (until the next start)'
      : 'in a container, start it so that unshare is allowed; otherwise run "sudo sysctl user.max_user_namespaces=15000"',
  };
}

async function rangeFinding(
  host: Host,
  user: string,
  file: string,
  id: 'subuid' | 'subgid',
): Promise<Finding> {
  const ranges = parseIdRanges((await readTextIfThere(file)) ?? '');
  const good = hasIdRange(ranges, user, host.uid);
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
async function emulationFinding(host: Host): Promise<Finding> {
  const base = { id: 'emulation', title: 'arm64 programs' };
  // Without unshare nothing can be tried; its own finding says so.
  if ((await find(host, ['unshare'])) === undefined) return { ...base, state: 'warn', reason: 'not tried' };
  switch (await probeEmulation(host, 'arm64', null)) {
    case 'native':
      return { ...base, state: 'pass', reason: 'this machine is arm64' };
    case 'private':
      return { ...base, state: 'pass', reason: 'emulated inside each build, seen by nobody else' };
    case 'host':
      return { ...base, state: 'pass', reason: 'emulated, registered on this machine' };
    case 'none':
      return {
        ...base,
        state: 'warn',
        reason: 'images for a Raspberry Pi cannot be built here (PC images can)',
        hint: 'package qemu-user-static, or Linux 6.7 or newer',
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
