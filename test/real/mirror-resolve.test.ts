/** Resolving with the host's own apt against small signed archives on loopback. */
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { CommeshError } from '../../src/diagnostics/errors.js';
import { readLock } from '../../src/mirror/lock.js';
import type { Request } from '../../src/mirror/request.js';
import { TinyArchive } from '../helpers/archive.js';
import {
  DAY,
  debian,
  failure,
  fetch,
  folder,
  key,
  mirror,
  request,
  shown,
  stranger,
  trixie,
  useArchives,
  verify,
  work,
} from '../helpers/mirror-bench.js';

useArchives();

describe('resolving', () => {
  it('closes over dependencies for each architecture, with the base system and security updates', async () => {
    const wanted = request(['chat'], { tools: ['turn'], boot: ['chat'] });
    const { lock } = await fetch(wanted);
    const baseLines = ['base-core 13 trixie', 'base-lib 2 trixie', 'base-needed 1 trixie'];
    expect(shown(lock)).toEqual([...baseLines, 'chat 1:1.1+deb13u1 trixie-security', 'libchat 1 trixie']);
    expect(shown(lock, 'tools-amd64')).toEqual([...baseLines, 'libchat 1 trixie', 'turn 4.6 trixie']);
    expect(lock.sets['tools-amd64']?.map((found) => found.arch)).toEqual([
      'all',
      'all',
      'all',
      'amd64',
      'amd64',
    ]);
    // Only unpacked: nothing but the package itself.
    expect(shown(lock, 'boot')).toEqual(['chat 1:1.1+deb13u1 trixie-security']);
    expect(lock.sets['system']?.map((found) => found.for)).toEqual([
      undefined,
      undefined,
      undefined,
      'chat',
      'chat',
    ]);
    expect(lock.indexes.map((index) => [index.archive, index.suite, index.signedBy])).toEqual([
      ['debian', 'trixie', [key.fingerprint]],
      ['debian', 'trixie-updates', [key.fingerprint]],
      ['debian-security', 'trixie-security', [key.fingerprint]],
      ['debian', 'forky', [key.fingerprint]],
    ]);
    expect(lock.epoch).toBe(Math.max(...lock.indexes.map((index) => index.date)));
    // An empty list is in no mirror's way.
    expect(lock.indexes[1]?.files.map((file) => file.path)).toEqual(['dists/trixie-updates/InRelease']);
    expect(await readLock(join(work, 'kit.lock.json'))).toEqual(lock);
    for (const index of lock.indexes) {
      for (const file of index.files) {
        const upstream = await readFile(join(folder, 'www', index.archive, file.path));
        const kept = await readFile(join(work, 'cache/apt', index.archive, file.path));
        expect(kept.equals(upstream)).toBe(true);
      }
    }
    await verify(lock, wanted);
  });

  it('keeps the name and version of the source package', async () => {
    await debian.publish({
      suite: 'trixie-updates',
      packages: trixie.filter((one) => one.name === 'chat').map((one) => ({ ...one, version: '1:1.2' })),
      key,
    });
    try {
      const { lock } = await fetch(request(['chat']));
      const chat = lock.sets['system']?.find((found) => found.name === 'chat');
      expect(chat).toMatchObject({ suite: 'trixie-updates', source: 'chat-src', sourceVersion: '1.0' });
    } finally {
      await debian.publish({ suite: 'trixie-updates', packages: [], key });
    }
  });

  it('takes from another suite only what names it', async () => {
    const { lock } = await fetch(request(['turn/forky', 'chat']));
    expect(shown(lock)).toEqual([
      'base-core 13 trixie',
      'base-lib 2 trixie',
      'base-needed 1 trixie',
      'chat 1:1.1+deb13u1 trixie-security',
      'libchat 1 trixie',
      'turn 4.18 forky',
    ]);
  });

  it.each([
    [['chat', 'chta'], 'there is no package "chta" for arm64', ['services', 'chta']],
    [['chat', 'greedy'], 'there is no package "greedy"', ['services', 'greedy']],
    [['chat', 'big/forky'], 'there is no package "big" in forky', ['services', 'big']],
    [['chat', 'turn/sid'], 'from sid, which is no source of this kit', ['services', 'turn']],
    [['chat', 'broken'], 'the package "broken" cannot be installed', ['services', 'broken']],
    [['chat', 'greedy/forky'], 'the package "greedy" cannot be installed', ['services', 'greedy']],
  ])('says which wish cannot be had: %j', async (packages, message, because) => {
    const error = await failure(fetch(request(packages)));
    expect(error.message).toContain(message);
    expect(error.because).toEqual(because);
    expect(await readLock(join(work, 'kit.lock.json'))).toBeNull();
  });
});

describe('signatures and dates', () => {
  /** An archive of its own, so that it can be spoilt. */
  async function spoilt(publishIt: (archive: TinyArchive) => Promise<void>): Promise<CommeshError> {
    const archive = new TinyArchive(join(work, 'debian'));
    await publishIt(archive);
    const wanted = request(['chat']);
    const own: Request = { ...wanted, sources: wanted.sources.slice(0, 1) };
    const error = await failure(
      fetch(own, { settings: { mirror: `file:${archive.folder}`, keyrings: { debian: key.keyring } } }),
    );
    expect(error.because).toEqual(['mirror']);
    expect(error.exitCode).toBe(1);
    expect(await stat(join(work, 'kit.lock.json')).catch(() => null)).toBeNull();
    return error;
  }

  it('refuses an index that was changed after it was signed', async () => {
    const error = await spoilt(async (archive) => {
      await archive.publish({ suite: 'trixie', packages: trixie, key });
      const file = join(archive.folder, 'dists/trixie/InRelease');
      await writeFile(file, (await readFile(file, 'utf8')).replace('Label: Tiny', 'Label: Tony'));
    });
    expect(error.message).toContain('the index "trixie" of the archive "debian" carries a wrong signature');
  });

  it('refuses an index without a signature', async () => {
    const error = await spoilt((archive) =>
      archive.publish({ suite: 'trixie', packages: trixie, key: null }),
    );
    expect(error.message).toContain('is not signed');
  });

  it('refuses an index signed with a strange key', async () => {
    const error = await spoilt((archive) =>
      archive.publish({ suite: 'trixie', packages: trixie, key: stranger }),
    );
    expect(error.message).toContain('is signed with a key that');
    expect(error.hint).toContain('debian-archive-keyring');
  });

  it('refuses an expired index, whatever the apt of this computer is told', async () => {
    const error = await spoilt((archive) =>
      archive.publish({
        suite: 'trixie',
        packages: trixie,
        key,
        date: new Date(Date.now() - 20 * DAY),
        validUntil: new Date(Date.now() - DAY),
      }),
    );
    expect(error.message).toContain('the index "trixie" of the archive "debian" has expired');
  });

  it('refuses an index from the future', async () => {
    const error = await spoilt((archive) =>
      archive.publish({ suite: 'trixie', packages: trixie, key, date: new Date(Date.now() + 3 * DAY) }),
    );
    expect(error.message).toContain("this computer's clock is slow");
  });

  it('refuses a list that is not the one the signed index names', async () => {
    const error = await spoilt(async (archive) => {
      await archive.publish({ suite: 'trixie', packages: trixie, key });
      const list = join(archive.folder, 'dists/trixie/main/binary-arm64/Packages');
      for (const ending of ['xz', 'gz']) {
        const bytes = await readFile(`${list}.${ending}`);
        bytes[bytes.length - 20] = (bytes[bytes.length - 20] ?? 0) ^ 1;
        await writeFile(`${list}.${ending}`, bytes);
      }
    });
    expect(error.message).toContain('do not fit together');
  });

  it('wants the fingerprints the plan names', async () => {
    const error = await failure(fetch(request(['chat'], { fingerprints: [stranger.fingerprint] })));
    expect(error.message).toContain('not with the key it must be signed with');
    await fetch(request(['chat'], { fingerprints: [stranger.fingerprint, key.fingerprint] }));
  });

  it('says so when a keyring is missing', async () => {
    const error = await failure(
      fetch(request(['chat']), { settings: { mirror: `${mirror.url}/debian`, keyringFolders: [work] } }),
    );
    expect(error.message).toContain('the keys of the archive "debian" are not on this computer');
    expect(error.hint).toContain('debian-archive-keyring');
  });
});
