import { createWriteStream } from 'node:fs';
import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import type { Host } from '../host/host.js';
import { PackagesIndex, readPackages } from './packages.js';
import type { LockIndex } from './types.js';

/** Unpacks an index file of any compression apt knows (apt-helper ships with apt itself). */
export async function unpackIndex(host: Host, file: string, target: string): Promise<void> {
  const sink = createWriteStream(target);
  const written = finished(sink);
  written.catch(() => {});
  try {
    await host.exec(['/usr/lib/apt/apt-helper', 'cat-file', file], {
      stdout: sink,
      title: 'unpacking a package index',
    });
  } catch (error) {
    sink.destroy();
    throw error;
  }
  // The program's end is not yet the end of writing.
  await written;
}

/**
 * The stanzas of some files in the package lists of a locked index.
 * @param files path of each index file by SHA-256.
 * @param archs lists of other architectures are not read; null reads all.
 * @param only the .debs looked for.
 */
export async function readPackagesOf(
  host: Host,
  index: LockIndex,
  files: ReadonlyMap<string, string>,
  archs: ReadonlySet<string> | null,
  only: ReadonlySet<string>,
): Promise<PackagesIndex> {
  const folder = await host.temporary('commesh-lists');
  const found = new PackagesIndex(only);
  try {
    await Promise.all(
      index.files.map(async (file) => {
        const match = /\/binary-([a-z0-9]+)\/Packages(\.[a-z0-9]+)?$/.exec(file.path);
        if (match === null || archs?.has(match[1] ?? '') === false) return;
        // apt-helper tells the compression from the name, and files in the store have none. Empty lists of two
        // architectures are the same bytes, so the path makes the name.
        const plain = join(
          folder,
          file.path.replaceAll('/', '_').replace(/Packages\.[a-z0-9]+$/, 'Packages'),
        );
        const packed = `${plain}.packed${match[2] ?? ''}`;
        await copyFile(files.get(file.sha256) ?? '', packed);
        await unpackIndex(host, packed, plain);
        await readPackages(plain, found);
      }),
    );
    return found;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
