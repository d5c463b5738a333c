import { copyFile, readFile, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { hashFile } from '../host/files.js';
import type { PlanSource } from '../plan/types.js';
import type { AptRoot } from './apt-root.js';
import { archiveFolder } from './cache.js';
import { parseRelease } from './release.js';

/**
 * Gives apt the indexes the cache holds already, so that it fetches only what has changed since. apt still checks the
 * signature of what it is given, and the lists are given only when they are the ones InRelease names.
 */
export async function seedLists(root: AptRoot, sources: readonly PlanSource[], cache: string): Promise<void> {
  for (const source of sources) {
    const folder = join(archiveFolder(cache, source.archive), 'dists', source.suite);
    const text = await readFile(join(folder, 'InRelease'), 'utf8').catch(() => null);
    if (text === null) continue;
    // Only to choose what to offer: the part before the signature, after the armour's own header.
    const release = parseRelease(text.slice(text.indexOf('\n\n') + 2));
    if (!Number.isFinite(release.date)) continue;
    const target = root.listFile(source, 'InRelease');
    await copyFile(join(folder, 'InRelease'), target);
    // apt asks "changed since?" with the file's time: the release's own date, never the time of a copy.
    await utimes(target, release.date, release.date);
    for (const [path, wanted] of release.files) {
      if (!/\/Packages\.(?:xz|gz|bz2)$/.test(path) || !source.components.includes(path.split('/')[0] ?? ''))
        continue;
      const found = await hashFile(join(folder, path)).catch(() => null);
      if (found?.sha256 === wanted.sha256) await copyFile(join(folder, path), root.listFile(source, path));
    }
  }
}
