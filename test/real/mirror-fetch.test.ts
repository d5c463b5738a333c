/** Downloads and locks, against a mirror on loopback that misbehaves. */
import { mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { InterruptedError } from '../../src/diagnostics/errors.js';
import type { Host } from '../../src/host/host.js';
import { fetchRequest } from '../../src/mirror/fetch.js';
import { readLock } from '../../src/mirror/lock.js';
import type { Lock } from '../../src/mirror/types.js';
import {
  DAY,
  debian,
  events,
  failure,
  fetch,
  fresh,
  host,
  key,
  mirror,
  options,
  request,
  shown,
  useArchives,
  verify,
  work,
} from '../helpers/mirror-bench.js';

useArchives();

describe('downloading', () => {
  it('has nothing to do the second time, and needs no mirror for it', async () => {
    const wanted = request(['chat']);
    const first = await fetch(wanted);
    expect(first.fetchedFiles).toBe(5);
    mirror.requests.length = 0;
    const second = await fetch(wanted, { settings: { mirror: 'http://127.0.0.1:1/debian' } });
    expect(second).toMatchObject({ resolved: false, fetchedFiles: 0, files: first.files });
    expect(mirror.requests).toEqual([]);
  });

  it('continues after broken connections, and after being stopped', async () => {
    const wanted = request(['big', 'chat']);
    mirror.troubles.push({ match: /big_1/, kind: 'drop', after: 1_000_000, times: 1 });
    mirror.troubles.push({ match: /big_1/, kind: 'slow', after: 500_000 });
    const running = fetch(wanted);
    const stopped = failure(running);
    const partial = join(work, 'cache/partial');
    // The second request brings half a megabyte more than the first one left, and then nothing.
    await until(async () => {
      const [, second] = mirror.requests.filter((line) => line.includes('/big_1'));
      const from = Number(/bytes=(\d+)-/.exec(second ?? '')?.[1] ?? 0);
      for (const name of await readdir(partial).catch(() => [])) {
        const found = await stat(join(partial, name)).catch(() => null);
        if (second !== undefined && found?.size === from + 500_000) return true;
      }
      return false;
    });
    host.interrupt();
    expect(await stopped).toBeInstanceOf(InterruptedError);
    const [part] = await readdir(join(work, 'cache/partial'));
    const left = (await stat(join(work, 'cache/partial', part ?? ''))).size;
    expect(left).toBeGreaterThanOrEqual(500_000);
    await host.close();
    fresh();
    mirror.troubles.length = 0;
    mirror.requests.length = 0;
    const { fetchedFiles, resolved, lock } = await fetch(wanted);
    expect(resolved).toBe(false);
    expect(fetchedFiles).toBeLessThan(6);
    expect(mirror.requests).toContain(`GET /debian/pool/main/b/big/big_1_all.deb bytes=${left}-`);
    expect(await readdir(join(work, 'cache/partial'))).toEqual([]);
    await verify(lock, wanted);
  });

  it('takes a whole answer from a server that does not know ranges', async () => {
    mirror.troubles.push({ match: /big_1/, kind: 'drop', after: 1_000_000, times: 1 });
    mirror.troubles.push({ match: /big_1/, kind: 'no-range', times: 1 });
    const wanted = request(['big']);
    await verify((await fetch(wanted)).lock, wanted);
    const done = events.flatMap((event) => (event.type === 'progress' ? [event.done - event.total] : []));
    expect(done.at(-1)).toBe(0);
  });

  it('gives up on a server that stays silent, and keeps what came', async () => {
    mirror.troubles.push({ match: /big_1/, kind: 'slow', after: 0 });
    const error = await failure(fetch(request(['big']), { idleMs: 50 }));
    expect(error.message).toContain('silent');
    expect(error.because).toEqual(['services', 'big']);
  });

  it.each(['wrong', 'shorter'] as const)('never keeps %s bytes', async (kind) => {
    mirror.troubles.push({ match: /libchat_1_arm64/, kind });
    const error = await failure(fetch(request(['chat'])));
    expect(error.message).toContain('the mirror sends a wrong libchat 1');
    expect(error.because).toEqual(['services', 'chat']);
    expect(await readdir(join(work, 'cache/apt/debian/pool/main/l/libchat')).catch(() => [])).toEqual([]);
    expect(await readdir(join(work, 'cache/partial'))).toEqual([]);
  });

  it('asks again after wrong bytes and after a busy server', async () => {
    mirror.troubles.push({ match: /libchat_1_arm64/, kind: 'wrong', times: 1 });
    mirror.troubles.push({ match: /chat_1.1/, kind: 'busy', times: 2 });
    const wanted = request(['chat']);
    await verify((await fetch(wanted)).lock, wanted);
  });

  it('goes through the proxy of this computer', async () => {
    const behind: Host = { ...host, env: { ...host.env, http_proxy: mirror.url, no_proxy: '' } };
    const settings = { mirror: 'http://mirror.invalid/debian', keyrings: { debian: key.keyring } };
    const { fetchedFiles } = await fetchRequest(behind, options(request(['chat']), { settings }));
    expect(fetchedFiles).toBe(5);
    expect(mirror.requests).toContain(
      'GET http://mirror.invalid/debian/pool/main/libc/libchat/libchat_1_arm64.deb'.replace('libc/', 'l/'),
    );
  });

  it("finds the mirror in this computer's apt sources", async () => {
    const etcApt = join(work, 'etc-apt');
    await mkdir(join(etcApt, 'sources.list.d'), { recursive: true });
    await writeFile(
      join(etcApt, 'sources.list'),
      `deb [signed-by=/k/other.gpg] ${mirror.url}/wrong/debian trixie main\n`,
    );
    await writeFile(
      join(etcApt, 'sources.list.d/debian.sources'),
      `Types: deb deb-src\nURIs: ${mirror.url}/debian/\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n`,
    );
    const { fetchedFiles } = await fetch(request(['chat']), {
      settings: { mirror: 'auto', etcApt, keyrings: { debian: key.keyring } },
    });
    expect(fetchedFiles).toBe(5);
  });
});

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 10));
}

describe('locks', () => {
  it('--locked wants a lock that fits', async () => {
    const none = await failure(fetch(request(['chat']), { mode: 'locked' }));
    expect(none.message).toContain('there is no lock to keep');
    const { lock } = await fetch(request(['chat']));
    const other = await failure(fetch(request(['chat', 'turn']), { mode: 'locked' }));
    expect(other.message).toContain('asks for other packages');
    await fetch(request(['chat']), { mode: 'locked', cache: join(work, 'second') });
    expect(await readLock(join(work, 'kit.lock.json'))).toEqual(lock);
  });

  it('serve machines of both architectures: each fetches its own programs', async () => {
    const wanted = request(['chat'], { tools: ['turn'], armTools: ['turn'] });
    const turns = async (): Promise<string[]> =>
      (await readdir(join(work, 'cache/apt/debian/pool/main/t/turn'))).sort();
    const first = await fetch(wanted);
    expect(await turns()).toEqual(['turn_4.6_amd64.deb']);
    const text = await readFile(join(work, 'kit.lock.json'), 'utf8');
    const second = await fetch(wanted, { hostArch: 'arm64' });
    expect(second).toMatchObject({ resolved: false, fetchedFiles: 1, lock: first.lock });
    expect(await turns()).toEqual(['turn_4.6_amd64.deb', 'turn_4.6_arm64.deb']);
    expect(await readFile(join(work, 'kit.lock.json'), 'utf8')).toBe(text);
    // A lock made there is the same one.
    const other = await fetch(wanted, { hostArch: 'arm64', cache: join(work, 'second'), mode: 'update' });
    expect(other).toMatchObject({ resolved: true, lock: first.lock });
  });

  it('names a package of the lock that the mirror dropped', async () => {
    const before = await fetch(request(['chat']));
    const text = await readFile(join(work, 'kit.lock.json'), 'utf8');
    await rm(join(work, 'cache'), { recursive: true });
    mirror.troubles.push({ match: /libchat_1_arm64/, kind: 'missing' });
    for (const mode of ['locked', 'keep'] as const) {
      const error = await failure(fetch(request(['chat']), { mode }));
      expect(error.name).toBe('CacheMissError');
      expect(error.message).toContain('the package libchat 1 is in the lock, but the mirror has dropped it');
      expect(error.because).toEqual(['services', 'chat']);
      expect(error.hint).toContain('--update');
      expect(await readFile(join(work, 'kit.lock.json'), 'utf8')).toBe(text);
    }
    mirror.troubles.length = 0;
    expect((await fetch(request(['chat']), { mode: 'locked' })).lock).toEqual(before.lock);
  });

  it('keeps older indexes for the locks that name them, and --update takes the new ones', async () => {
    const wanted = request(['chat']);
    const first = await fetch(wanted);
    const text = await readFile(join(work, 'kit.lock.json'), 'utf8');
    await debian.publish({
      suite: 'trixie-updates',
      packages: [{ name: 'libchat', version: '2', arch: 'arm64' }],
      key,
    });
    try {
      expect((await fetch(wanted)).resolved).toBe(false);
      mirror.requests.length = 0;
      const second = await fetch(wanted, { mode: 'update' });
      expect(shown(second.lock)).toContain('libchat 2 trixie-updates');
      // Unchanged lists come from the cache.
      expect(mirror.requests.filter((line) => /\/trixie\/main\/.*Packages/.test(line))).toEqual([]);
      await verify(first.lock, wanted);
      await verify(second.lock, wanted);
      // The cache still serves the first lock to another one, over a folder.
      await writeFile(join(work, 'kit.lock.json'), text);
      const settings = { mirror: `file:${join(work, 'cache')}`, keyrings: { debian: key.keyring } };
      const copy = await fetch(wanted, { mode: 'locked', settings, cache: join(work, 'copy') });
      expect(copy.lock).toEqual(first.lock);
      // The mirror itself has moved on.
      const gone = await failure(fetch(wanted, { mode: 'locked', cache: join(work, 'third') }));
      expect(gone.message).toContain('trixie-updates/InRelease');
      expect(gone.hint).toContain('--update');
    } finally {
      await debian.publish({ suite: 'trixie-updates', packages: [], key });
    }
  });

  it('are not made from an older index than the cache has', async () => {
    const wanted = request(['chat']);
    const first = await fetch(wanted);
    const old = new Date(Date.now() - 3 * DAY);
    await debian.publish({ suite: 'trixie-updates', packages: [], key, date: old });
    try {
      expect((await fetch(wanted, { mode: 'update' })).lock.indexes).toEqual(first.lock.indexes);
    } finally {
      await debian.publish({ suite: 'trixie-updates', packages: [], key });
    }
  });

  it('leaves the old lock alone when an update fails half-way', async () => {
    const wanted = request(['chat']);
    await fetch(wanted);
    const text = await readFile(join(work, 'kit.lock.json'), 'utf8');
    await debian.publish({
      suite: 'trixie-updates',
      packages: [{ name: 'libchat', version: '3', arch: 'arm64' }],
      key,
    });
    try {
      mirror.troubles.push({ match: /libchat_3/, kind: 'missing' });
      await failure(fetch(wanted, { mode: 'update' }));
      expect(await readFile(join(work, 'kit.lock.json'), 'utf8')).toBe(text);
      await verify(JSON.parse(text) as Lock, wanted);
    } finally {
      await debian.publish({ suite: 'trixie-updates', packages: [], key });
    }
  });

  it('says so when the lock is damaged', async () => {
    await writeFile(join(work, 'kit.lock.json'), '{"format": 1, "req');
    const error = await failure(fetch(request(['chat'])));
    expect(error.message).toContain('is damaged');
    expect((await fetch(request(['chat']), { mode: 'update' })).resolved).toBe(true);
  });
});
