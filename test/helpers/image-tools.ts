import { access, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { sha256 } from '../../src/host/files.js';
import type { Host } from '../../src/host/host.js';
import { namespaceTools, type NamespaceTools } from '../../src/host/namespace.js';
import { tarOf, type TarEntry } from '../../src/host/tarball.js';
import type { TarPart } from '../../src/image/types.js';
import { indexTar } from '../../src/stages/tar-index.js';

const PACKAGES = [
  // prettier-ignore
  'e2fsprogs',
  'libarchive13t64',
  'mtools',
  'dosfstools',
  'fdisk',
  'zstd',
  'xz-utils',
  'grub-common',
  // GRUB's files for BIOSes, which a base layer brings along.
  'grub-pc-bin',
];
const RECIPE = sha256(JSON.stringify(['1', PACKAGES])).slice(0, 12);

/**
 * The programs that make images, from Debian 13: COMMESH_IMAGE_TREE, or a tree made once with mmdebstrap below
 * `$XDG_CACHE_HOME/commeshctl/test-trees/` (half a minute, needs the Debian mirror of this machine).
 */
export async function imageTools(host: Host): Promise<NamespaceTools> {
  const given = host.env['COMMESH_IMAGE_TREE'] ?? '';
  if (given !== '') return namespaceTools(host, given, 'test');
  const folder = join(host.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'commeshctl/test-trees');
  const path = join(folder, `image-${RECIPE}`);
  const there = await access(path).then(
    () => true,
    () => false,
  );
  if (!there) {
    await mkdir(folder, { recursive: true });
    const { stdout } = await host.exec([
      ...['apt-get', 'indextargets', '--format', '$(LABEL)|$(REPO_URI)', 'Created-By: Packages'],
    ]);
    const mirror = /^Debian\|(.+)$/m.exec(stdout)?.[1];
    if (mirror === undefined)
      throw new Error('apt on this machine knows no Debian archive; set COMMESH_IMAGE_TREE');
    const part = `${path}.${process.pid}.part`;
    try {
      await host.exec(
        [
          'mmdebstrap',
          '--variant=apt',
          `--include=${PACKAGES.join(',')}`,
          'trixie',
          part,
          `deb ${mirror} trixie main`,
        ],
        { title: 'making a Debian 13 tree for the tests', env: { DEBIAN_FRONTEND: 'noninteractive' } },
      );
      await rename(part, path);
    } catch (error) {
      await rm(part, { recursive: true, force: true });
      throw error;
    }
  }
  return namespaceTools(host, path, 'test');
}

/** Writes a tar without end blocks and gives it with its members. */
export async function tarPart(
  path: string,
  entries: readonly (Partial<TarEntry> & Pick<TarEntry, 'path' | 'type'>)[],
): Promise<TarPart> {
  const whole = entries.map((entry) => ({
    mode: { directory: 0o755, file: 0o644, symlink: 0o777 }[entry.type],
    uid: 0,
    gid: 0,
    mtime: 1_700_000_000,
    ...entry,
  }));
  await writeFile(path, tarOf(whole), { mode: 0o600 });
  return { tar: path, members: (await indexTar(path)).entries };
}
