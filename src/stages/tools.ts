import { mkdir, readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { sha256, syncFolder } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import type { LockPackage } from '../mirror/types.js';
import type { PackageSet } from '../plan/types.js';
import type { Arch } from '../services/contract.js';
import { removeTree } from './remove.js';

/** Changes when the way a tools tree is made changes. */
const RECIPE = 1;

/** Programs of the build, with the reason for each. */
const PROGRAMS: Readonly<Record<string, string>> = {
  apt: 'installs the packages of the base layer and checks the archive signatures',
  mmdebstrap: 'makes the base layer',
  e2fsprogs: 'ext4 from a tar, without mounting',
  libarchive13t64: 'lets mke2fs read a tar',
  mtools: 'fills the FAT partition without mounting',
  dosfstools: 'makes the FAT file system',
  fdisk: 'writes and reads partition tables',
  'grub-common': 'grub-mkimage, for PCs with BIOS',
  zstd: 'compression',
  'xz-utils': 'compression',
  'qemu-user': 'runs arm64 maintainer scripts on a PC',
};

/** The set of packages the tools tree of this host's architecture is made from. */
export function toolsSet(arch: Arch): PackageSet {
  return {
    id: `tools-${arch}`,
    arch,
    packages: Object.keys(PROGRAMS)
      .filter((name) => !(name === 'qemu-user' && arch === 'arm64'))
      .map((name) => ({ name, service: 'build', because: ['site'] })),
  };
}

/** Content id of a tools tree. */
export function toolsId(packages: readonly LockPackage[]): string {
  return sha256(['tools', RECIPE, ...packages.map((one) => one.sha256).sort()].join('\n'));
}

function treePath(treesFolder: string, id: string): string {
  return join(treesFolder, `tools-${id.slice(0, 16)}`);
}

/** The tools tree of these packages, or null when it has not been made. */
export function findToolsTree(
  treesFolder: string,
  packages: readonly LockPackage[],
): { path: string; id: string } | null {
  const id = toolsId(packages);
  const path = treePath(treesFolder, id);
  return existsSync(join(path, '.complete')) ? { path, id } : null;
}

/**
 * Makes the tools tree, or finds the one made before. The packages are only unpacked; none of their scripts is run.
 * @param debPath gives the verified .deb of a package.
 * @returns its folder and content id.
 */
export async function ensureToolsTree(
  host: Host,
  treesFolder: string,
  packages: readonly LockPackage[],
  debPath: (one: LockPackage) => string,
): Promise<{ path: string; id: string }> {
  const known = findToolsTree(treesFolder, packages);
  if (known !== null) return known;
  const id = toolsId(packages);
  const path = treePath(treesFolder, id);
  await timed(host, 'tools', 'unpack the programs of the build', async () => {
    await mkdir(treesFolder, { recursive: true });
    const part = `${path}.${process.pid}.part`;
    const forget = host.onClose(() => removeTree(host, part));
    await mkdir(part, { recursive: true });
    for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
      await mkdir(join(part, 'usr', name), { recursive: true });
      await symlink(`usr/${name}`, join(part, name));
    }
    let done = 0;
    const queue = [...packages];
    const worker = async (): Promise<void> => {
      for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
        await host.exec(
          [
            'sh',
            '-euc',
            'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --keep-directory-symlink --no-same-owner --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/locale',
            'sh',
            debPath(one),
            part,
          ],
          { title: `unpacking ${one.name}` },
        );
        done += 1;
        host.emit({ type: 'progress', id: 'tools', done, total: packages.length, unit: 'items' });
      }
    };
    await Promise.all([worker(), worker()]);
    for (const folder of ['proc', 'sys', 'dev', 'tmp', 'run', 'mnt', 'root', 'var/lib/dpkg', 'etc']) {
      await mkdir(join(part, folder), { recursive: true });
    }
    // What maintainer scripts would have made and programs look for.
    const accounts = join(part, 'usr/share/base-passwd');
    await writeFile(join(part, 'etc/passwd'), await readFile(join(accounts, 'passwd.master')));
    await writeFile(join(part, 'etc/group'), await readFile(join(accounts, 'group.master')));
    await writeFile(join(part, 'etc/hosts'), '127.0.0.1 localhost\n');
    if (!existsSync(join(part, 'usr/bin/awk')) && existsSync(join(part, 'usr/bin/mawk'))) {
      await symlink('mawk', join(part, 'usr/bin/awk'));
    }
    await writeFile(join(part, '.complete'), `${id}\n`);
    await syncFolder(part);
    await rename(part, path);
    forget();
  });
  return { path, id };
}

/** Path inside the tree of a static qemu-user for arm64, or null. */
export async function emulatorIn(tree: string): Promise<string | null> {
  const names = await readdir(join(tree, 'usr/bin'));
  for (const name of ['qemu-aarch64-static', 'qemu-aarch64'])
    if (names.includes(name)) return `/usr/bin/${name}`;
  return null;
}
