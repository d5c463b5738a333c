import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, stat, symlink, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { InterruptedError, WorkError } from '../diagnostics/errors.js';
import { dependencyChoices, isLibrary, unpackDeb } from '../host/deb.js';
import { sha256, syncFolder } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import { namespaceTools, runsHere, type NamespaceTools } from '../host/namespace.js';
import type { Tools } from '../host/tools.js';
import type { LockPackage } from '../mirror/types.js';
import type { PackageSet } from '../plan/types.js';
import type { Arch } from '../services/contract.js';
import { removeTree } from './remove.js';

/** Changes when the way a tools tree is made changes. */
const RECIPE = 3;

/** Programs of the build, with the reason for each. */
const PROGRAMS: Readonly<Record<string, string>> = {
  apt: 'works out which packages are needed, and installs those of the base layer',
  mmdebstrap: 'makes the base layer',
  e2fsprogs: 'ext4 from a tar, without mounting',
  libarchive13t64: 'lets mke2fs read a tar',
  mtools: 'fills the FAT partition without mounting',
  dosfstools: 'makes the FAT file system',
  fdisk: 'writes and reads partition tables',
  'grub-common': 'grub-mkimage, for PCs with BIOS',
  mount: 'the mounts of the namespace',
  'util-linux': 'unshare, which makes the namespace',
  zstd: 'compression',
  'xz-utils': 'compression',
};

/**
 * Programs of a first tree, unpacked by Node: enough to ask apt, and to unpack the rest. All are Essential or in PROGRAMS, so
 * every tools tree holds them.
 */
export const FIRST: readonly string[] = [
  'apt',
  'base-passwd',
  'coreutils',
  'dash',
  'dpkg',
  'findutils',
  'mount',
  'tar',
  'util-linux',
  'xz-utils',
];

/** Never unpacked: documentation, translations, and emulators of other architectures than arm64. */
const LEFT_OUT: readonly string[] = [
  './usr/share/doc',
  './usr/share/man',
  './usr/share/locale',
  './usr/bin/qemu-[!a]*',
  './usr/bin/qemu-a[!a]*',
];

/** Programs only kits with Python wheels need. */
const WHEEL_PROGRAMS: Readonly<Record<string, string>> = {
  python3: 'the same Python as on the kit, which compiles for it, too',
  'python3-pip': 'works out which wheels are needed',
  'python3-installer': 'installs wheels',
};

/**
 * The set of packages the tools tree of a build machine is made from.
 * @param arch of the machine. @param target of the image: only for arm64 a PC needs an emulator.
 * @param wheels whether there are any.
 */
export function toolsSet(arch: Arch, target: Arch, wheels = false): PackageSet {
  const names = [
    ...Object.keys(PROGRAMS),
    ...(arch === 'amd64' && target === 'arm64' ? ['qemu-user'] : []),
    ...(wheels ? Object.keys(WHEEL_PROGRAMS) : []),
  ];
  return {
    id: `tools-${arch}`,
    arch,
    packages: names.map((name) => ({ name, service: 'build', because: ['site'] })),
  };
}

/** Content id of a tools tree. */
export function toolsId(packages: readonly LockPackage[]): string {
  return sha256(['tools', RECIPE, ...packages.map((one) => one.sha256).sort()].join('\n'));
}

/** tools: programs of the build. first: what is needed to resolve, before there is a lock. */
type Kind = 'tools' | 'first';

/** A complete tree in the folder that runs on this machine, a whole tools tree rather than a first one, or null. */
export async function anyToolsTree(host: Host, treesFolder: string): Promise<NamespaceTools | null> {
  const names = (await readdir(treesFolder).catch(() => [])).filter((name) =>
    /^(?:tools|first)-[0-9a-f]+$/.test(name),
  );
  const wanted = ['.complete', 'usr/bin/apt-get', 'usr/bin/xargs', 'usr/bin/mount', 'usr/bin/unshare'];
  for (const name of names.sort().reverse()) {
    const path = join(treesFolder, name);
    if (runsHere(path) && wanted.every((one) => existsSync(join(path, one))))
      return namespaceTools(host, path, await readFile(join(path, '.complete'), 'utf8'));
  }
  return null;
}

function treePath(treesFolder: string, id: string, kind: Kind): string {
  return join(treesFolder, `${kind}-${id.slice(0, 16)}`);
}

/** The tools tree of these packages, or null when it has not been made. */
export function findToolsTree(
  treesFolder: string,
  packages: readonly LockPackage[],
  kind: Kind = 'tools',
): { path: string; id: string } | null {
  const id = toolsId(packages);
  const path = treePath(treesFolder, id, kind);
  return existsSync(join(path, '.complete')) ? { path, id } : null;
}

/**
 * Makes the tools tree, or finds the one made before. The packages are only unpacked; none of their scripts is run, and no
 * program of the host.
 * @param debPath gives the verified .deb of a package.
 * @param kind first: a small tree for the time before there is a lock; it is removed once there is a tools tree.
 * @returns its folder and content id.
 */
export async function ensureToolsTree(
  host: Host,
  treesFolder: string,
  packages: readonly LockPackage[],
  debPath: (one: LockPackage) => string,
  kind: Kind = 'tools',
): Promise<{ path: string; id: string }> {
  const known = findToolsTree(treesFolder, packages, kind);
  if (known !== null) return known;
  const id = toolsId(packages);
  const path = treePath(treesFolder, id, kind);
  await timed(host, 'tools', 'unpack the programs of the build', async () => {
    await mkdir(treesFolder, { recursive: true });
    const part = `${path}.${process.pid}.part`;
    const forget = host.onClose(() => removeTree(host, part));
    await mkdir(part, { recursive: true });
    for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
      await mkdir(join(part, 'usr', name), { recursive: true });
      await symlink(`usr/${name}`, join(part, name));
    }
    for (const folder of ['proc', 'sys', 'dev', 'tmp', 'run', 'mnt', 'root', 'var/lib/dpkg', 'etc']) {
      await mkdir(join(part, folder), { recursive: true });
    }
    let done = 0;
    const progress = (): void => {
      done += 1;
      host.emit({ type: 'progress', id: 'tools', done, total: packages.length, unit: 'items' });
    };
    let helper = await anyToolsTree(host, treesFolder);
    let rest = packages;
    if (helper === null) {
      const first = await unpackFirst(host, part, packages, debPath, progress);
      rest = packages.filter((one) => !first.has(one));
      helper = namespaceTools(host, part, id);
    }
    if (rest.length > 0) await unpackRest(helper, part, rest.map(debPath), progress);
    // What maintainer scripts would have made and programs look for.
    const accounts = join(part, 'usr/share/base-passwd');
    await writeFile(join(part, 'etc/passwd'), await readFile(join(accounts, 'passwd.master')));
    await writeFile(join(part, 'etc/group'), await readFile(join(accounts, 'group.master')));
    await writeFile(join(part, 'etc/hosts'), '127.0.0.1 localhost\n');
    // Places to show the host's files at, for runs with a network.
    for (const name of ['resolv.conf', 'nsswitch.conf']) await writeFile(join(part, 'etc', name), '');
    await writeAuthorities(part);
    if (!existsSync(join(part, 'usr/bin/awk')) && existsSync(join(part, 'usr/bin/mawk'))) {
      await symlink('mawk', join(part, 'usr/bin/awk'));
    }
    await writeFile(join(part, '.complete'), `${id}\n`);
    await syncFolder(part);
    await rename(part, path);
    forget();
    if (kind === 'tools') {
      for (const name of await readdir(treesFolder))
        if (/^first-[0-9a-f]+$/.test(name)) await removeTree(host, join(treesFolder, name));
    }
  });
  return { path, id };
}

/** Unpacks FIRST and the libraries it needs, with nothing but Node. @returns the packages that are unpacked. */
async function unpackFirst(
  host: Host,
  folder: string,
  packages: readonly LockPackage[],
  debPath: (one: LockPackage) => string,
  progress: () => void,
): Promise<Set<LockPackage>> {
  const done = new Set<LockPackage>();
  const left = LEFT_OUT.map(
    (glob) => new RegExp(`^${glob.replace(/\./g, '\\.').replace(/!/g, '^').replace(/\*/g, '[^/]*')}(?:/|$)`),
  );
  const names = new Set(FIRST);
  // A set is walked in the order of adding, new ones included.
  for (const name of names) {
    const one = packages.find((candidate) => candidate.name === name);
    if (one === undefined) continue;
    if (host.signal.aborted) throw new InterruptedError();
    const control = await unpackDeb(
      debPath(one),
      folder,
      (path) => !left.some((glob) => glob.test(path)),
    ).catch((error: unknown) => {
      throw new WorkError(
        `the package ${one.name} ${one.version} cannot be unpacked: ${(error as Error).message}`,
        {
          hint: 'is there room on the disk? "commeshctl fetch" looks at the packages again',
          cause: error,
        },
      );
    });
    done.add(one);
    progress();
    // Programs that are only run need of the rest nothing but libraries.
    for (const needed of dependencyChoices(control).flat()) if (isLibrary(needed)) names.add(needed);
  }
  return done;
}

/** Unpacks .debs into a folder with the programs of a tree, several at a time. */
async function unpackRest(
  tools: Tools,
  folder: string,
  debs: readonly string[],
  progress: () => void,
): Promise<void> {
  const pool = commonFolder(debs);
  const sizes = await Promise.all(debs.map(async (deb) => ({ deb, size: (await stat(deb)).size })));
  // Large ones first, so that no single one is left at the end.
  const sorted = sizes.sort((a, b) => b.size - a.size).map(({ deb }) => deb.slice(pool.length + 1));
  const one = `dpkg-deb --fsys-tarfile "/mnt/pool/$1" | tar -x -C /mnt/out --keep-directory-symlink --no-same-owner ${LEFT_OUT.map((glob) => `--exclude='${glob}'`).join(' ')} && echo "$1"`;
  await tools.run(
    ['xargs', '-d', '\\n', '-n', '1', '-P', String(availableParallelism()), 'sh', '-c', one, 'sh'],
    {
      binds: [
        { from: pool, to: '/mnt/pool', readOnly: true },
        { from: folder, to: '/mnt/out' },
      ],
      input: `${sorted.join('\n')}\n`,
      onStdoutLine: progress,
      title: 'unpacking the programs of the build',
    },
  );
}

/** What the maintainer script of ca-certificates makes, and pip's library cannot start without. */
async function writeAuthorities(tree: string): Promise<void> {
  const folder = join(tree, 'usr/share/ca-certificates/mozilla');
  const names = (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.crt')).sort();
  if (names.length === 0) return;
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  await mkdir(join(tree, 'etc/ssl/certs'), { recursive: true });
  await writeFile(join(tree, 'etc/ssl/certs/ca-certificates.crt'), texts.join(''));
}

/** The deepest folder that holds all these files. */
function commonFolder(paths: readonly string[]): string {
  let folder = dirname(paths[0] ?? '/');
  while (!paths.every((path) => path.startsWith(`${folder}/`)) && folder !== '/') folder = dirname(folder);
  return folder;
}

/** Path inside the tree of a static qemu-user for arm64, or null. */
export async function emulatorIn(tree: string): Promise<string | null> {
  const names = await readdir(join(tree, 'usr/bin'));
  for (const name of ['qemu-aarch64-static', 'qemu-aarch64'])
    if (names.includes(name)) return `/usr/bin/${name}`;
  return null;
}
