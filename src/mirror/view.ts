import { copyFile, link, mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CacheMissError } from '../diagnostics/errors.js';
import type { Host } from '../host/host.js';
import { archiveFolder, Cache } from './cache.js';
import { archsOf } from './lock.js';
import { compare } from './resolve.js';
import type { Lock } from './types.js';

export interface AptView {
  /** The folder made. */
  readonly folder: string;
  /** Lines for sources.list; their paths start at `seenAs`. */
  readonly sources: readonly string[];
  /** Keyring of each archive, below `seenAs`. */
  readonly keyrings: Readonly<Record<string, string>>;
  /** Text for a file in preferences.d: exactly the locked versions, and nothing else. */
  readonly preferences: string;
}

export interface ViewOptions {
  readonly cache: string;
  /** Folder to make; it must not exist. In the cache's file system its files are hard links, elsewhere copies. */
  readonly folder: string;
  /** The path at which the reader (an apt in a namespace) finds the folder; the folder itself by default. */
  readonly seenAs?: string;
  /** Keyring file per archive. */
  readonly keyrings: Readonly<Record<string, string>>;
}

/**
 * Lays out one package set of a lock as apt sources: upstream's own signed indexes, and only this set's .debs. It is to
 * be read with `copy:` and never written to. Dates are not checked (the lock names the very bytes of each index, and
 * the cache is meant to be used long after it was fetched); signatures and digests are.
 * Call `verifyCache` first.
 * @throws CacheMissError when a file is missing.
 */
export async function aptView(host: Host, lock: Lock, setId: string, options: ViewOptions): Promise<AptView> {
  const { folder, keyrings } = options;
  const seenAs = options.seenAs ?? folder;
  const cache = await Cache.open(options.cache);
  const set = lock.sets[setId] ?? [];
  const archs = archsOf(lock, [setId]);
  await mkdir(folder, { recursive: true });
  const forget = host.onClose(() => rm(folder, { recursive: true, force: true }));
  const keys: Record<string, string> = {};
  const sources: string[] = [];
  for (const index of lock.indexes) {
    const key = keyrings[index.archive];
    if (key === undefined) throw new Error(`no keyring for ${index.archive}`);
    const keyName = `keys/${index.archive}${key.endsWith('.asc') ? '.asc' : '.gpg'}`;
    await mkdir(join(folder, 'keys'), { recursive: true });
    await copyFile(key, join(folder, keyName));
    keys[index.archive] = `${seenAs}/${keyName}`;
    for (const file of index.files) {
      const other = /\/binary-([a-z0-9]+)\//.exec(file.path)?.[1];
      if (other !== undefined && archs?.has(other) === false) continue;
      const found = await cache.findIndex(index, file, false);
      if ('fault' in found) throw absent(found.path);
      await place(found.path, join(folder, index.archive, file.path));
    }
    const settings = `signed-by=${seenAs}/${keyName} check-valid-until=no check-date=no by-hash=no`;
    sources.push(
      `deb [${settings}] copy:${encodeURI(`${seenAs}/${index.archive}`)} ${index.suite} ${index.components.join(' ')}`,
    );
  }
  for (const found of set) {
    await place(
      join(archiveFolder(cache.folder, found.archive), found.path),
      join(folder, found.archive, found.path),
    );
  }
  const pins = [...new Map(set.map((found) => [found.name, found.version]))].sort(([a], [b]) =>
    compare(a, b),
  );
  const preferences = [
    'Package: *\nPin: release *\nPin-Priority: -1\n',
    ...pins.map(([name, version]) => `Package: ${name}\nPin: version ${version}\nPin-Priority: 1001\n`),
  ].join('\n');
  await writeFile(join(folder, 'preferences'), preferences);
  // It is whole: its owner decides when it goes.
  forget();
  return { folder, sources, keyrings: keys, preferences };
}

async function place(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  try {
    await link(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw absent(from);
    await copyFile(from, to);
  }
}

function absent(path: string): CacheMissError {
  return new CacheMissError(`${path} is not in the offline cache`, {
    hint: 'run "commeshctl fetch" with this profile to fetch it again',
  });
}
