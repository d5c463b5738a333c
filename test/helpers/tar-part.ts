import { writeFile } from 'node:fs/promises';
import { tarOf, type TarEntry } from '../../src/host/tarball.js';
import type { TarPart } from '../../src/image/types.js';
import { indexTar } from '../../src/stages/tar-index.js';

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
