/** The offline cache before a build: every kind of damage is found. */
import { readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { CommeshError } from '../../src/diagnostics/errors.js';
import { sha256 } from '../../src/host/files.js';
import type { Lock } from '../../src/mirror/types.js';
import { clearSign } from '../helpers/archive.js';
import {
  deb,
  failure,
  fetch,
  request,
  stranger,
  useArchives,
  verify,
  work,
} from '../helpers/mirror-bench.js';

useArchives();

describe('the cache before a build', () => {
  const wanted = request(['chat', 'turn/forky']);
  let lock: Lock;
  beforeEach(async () => {
    ({ lock } = await fetch(wanted));
  });

  async function refused(full = true, altered: Lock = lock): Promise<CommeshError> {
    const error = await failure(verify(altered, wanted, full));
    expect(error.name).toBe('CacheMissError');
    return error;
  }

  it('finds a missing, a truncated and a changed package', async () => {
    await verify(lock, wanted);
    const path = deb(lock, 'libchat');
    const bytes = await readFile(path);
    await writeFile(path, bytes.subarray(0, 100));
    expect((await refused(false)).message).toContain('the package libchat 1 is cut short');
    const flipped = Buffer.from(bytes);
    flipped[200] = (flipped[200] ?? 0) ^ 1;
    await writeFile(path, flipped);
    const changed = await refused();
    expect(changed.message).toContain('the package libchat 1 has been changed');
    expect(changed.because).toEqual(['services', 'chat']);
    await rm(path);
    expect((await refused(false)).message).toContain('the package libchat 1 is not in the offline cache');
    await rm(deb(lock, 'base-lib'));
    // fetch mends it.
    expect((await fetch(wanted)).fetchedFiles).toBe(2);
    await verify(lock, wanted);
  });

  it('finds changed content behind an unchanged size and time when it reads all', async () => {
    const path = deb(lock, 'chat');
    const { atime, mtime } = await stat(path);
    const bytes = await readFile(path);
    bytes[300] = (bytes[300] ?? 0) ^ 1;
    await writeFile(path, bytes);
    await utimes(path, atime, mtime);
    expect((await refused()).because).toEqual(['services', 'chat']);
  });

  it.each(['dists/trixie/InRelease', 'dists/trixie/main/binary-arm64/Packages.gz'])(
    'finds a changed %s',
    async (name) => {
      const path = join(work, 'cache/apt/debian', name);
      const bytes = await readFile(path);
      bytes[100] = (bytes[100] ?? 0) ^ 1;
      await writeFile(path, bytes);
      const error = await refused();
      expect(error.message).toContain(`the package index ${name} of the archive "debian" has been changed`);
      expect(error.because).toEqual(['mirror']);
      await rename(path, `${path}.away`);
      expect((await refused(false)).message).toContain('is not in the offline cache');
    },
  );

  it('refuses an index with a wrong signature even when the lock was altered to fit', async () => {
    const path = join(work, 'cache/apt/debian/dists/trixie/InRelease');
    const signed = await readFile(path, 'utf8');
    const text = signed.slice(signed.indexOf('\n\n') + 2, signed.indexOf('-----BEGIN PGP SIGNATURE'));
    const forge = async (): Promise<Lock> => {
      const bytes = await readFile(path);
      const data = structuredClone(lock) as unknown as {
        indexes: { files: { path: string; size: number; sha256: string }[] }[];
      };
      const entry = data.indexes[0]?.files.find((file) => file.path.endsWith('InRelease'));
      Object.assign(entry ?? {}, { size: bytes.length, sha256: sha256(bytes) });
      return data as unknown as Lock;
    };
    await clearSign(stranger, text, path);
    expect((await refused(true, await forge())).message).toContain(
      'signed with a key this keyring does not hold',
    );
    await writeFile(path, signed.replace('Label: Tiny', 'Label: Tony'));
    expect((await refused(true, await forge())).message).toContain('the signature does not fit the content');
    await writeFile(path, text);
    expect((await refused(true, await forge())).message).toContain('it carries no signature');
  });

  it('refuses a package that no signed index lists, even when the lock was altered to fit', async () => {
    const path = deb(lock, 'chat');
    const bytes = Buffer.from('not what Debian built');
    await writeFile(path, bytes);
    const data = structuredClone(lock) as unknown as {
      sets: { system: { name: string; size: number; sha256: string }[] };
    };
    Object.assign(data.sets.system.find((found) => found.name === 'chat') ?? {}, {
      size: bytes.length,
      sha256: sha256(bytes),
    });
    const error = await refused(true, data as unknown as Lock);
    expect(error.message).toContain('is not what the signed index "trixie-security" lists');
    expect(error.because).toEqual(['services', 'chat']);
  });
});
