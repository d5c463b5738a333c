/** A machine that has nothing but Node and newuidmap: fetching, and the programs of the build, work all the same. */
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { solverTools } from '../../src/cli/commands/fetch.js';
import { hostArch } from '../../src/cli/commands/project.js';
import { sha256 } from '../../src/host/files.js';
import { createHost } from '../../src/host/host.js';
import { namespaceTools } from '../../src/host/namespace.js';
import { archiveFolder, verifyCache } from '../../src/mirror/cache.js';
import { fetchRequest } from '../../src/mirror/fetch.js';
import { readLock } from '../../src/mirror/lock.js';
import type { Request } from '../../src/mirror/request.js';
import { keyringsOf } from '../../src/mirror/sources/apt.js';
import { ensureToolsTree } from '../../src/stages/tools.js';
import { clearSign, forgetKey, makeKey, type ArchiveKey } from '../helpers/archive.js';
import { testCache } from '../helpers/base-tree.js';

const arch = hostArch();
const host = createHost();
const path = process.env['PATH'];
let folder: string;
let key: ArchiveKey;
let names: string[];

/** A signed archive of the real packages of the tools tree, which the cache of the tests holds. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bare-'));
  key = await makeKey(folder, 'bare');
  const cache = testCache(host);
  const lock = await readLock(join(cache, 'site/tree.lock.json'));
  const id = `tools-${arch}`;
  const packages = lock?.sets[id] ?? [];
  if (lock === null || packages.length === 0) throw new Error('the base of the tests is missing');
  names = packages.map((one) => one.name);
  const stanzas = await verifyCache(host, lock, cache, [id], {
    full: true,
    keyrings: await keyringsOf(lock.indexes.map(({ archive }) => ({ archive }))),
    request: { sources: [], sets: [] },
  });
  const www = join(folder, 'www');
  for (const one of packages) {
    await mkdir(dirname(join(www, one.path)), { recursive: true });
    await copyFile(join(archiveFolder(cache, one.archive), one.path), join(www, one.path));
  }
  const text = packages.map((one) => stanzas.get(one.sha256) ?? '').join('\n');
  const list = gzipSync(Buffer.from(text, 'latin1'));
  const place = `main/binary-${arch}/Packages.gz`;
  await mkdir(dirname(join(www, 'dists/trixie', place)), { recursive: true });
  await writeFile(join(www, 'dists/trixie', place), list);
  const release = [
    'Origin: Debian',
    'Suite: stable',
    'Codename: trixie',
    `Date: ${new Date(Date.now() - 60_000).toUTCString()}`,
    `SHA256:\n ${sha256(list)} ${list.length} ${place}\n`,
  ].join('\n');
  await clearSign(key, release, join(www, 'dists/trixie/InRelease'));
  const bin = join(folder, 'bin');
  await mkdir(bin);
  for (const program of ['newuidmap', 'newgidmap']) await symlink(`/usr/bin/${program}`, join(bin, program));
  await chmod(folder, 0o755);
  process.env['PATH'] = bin;
});

afterAll(async () => {
  process.env['PATH'] = path;
  await host.close();
  await forgetKey(key);
  await rm(folder, { recursive: true, force: true });
});

it('fetches, resolves and runs the programs of the build with no program of its own', async () => {
  for (const program of ['apt-get', 'dpkg-deb', 'gpgv', 'tar', 'xz', 'unshare', 'sh', 'mount'])
    await expect(host.exec([program, '--version'])).rejects.toThrow('not found');
  const wishes = names.map((name) => ({ name, service: 'build', because: ['site'] }));
  const request: Request = {
    sources: [{ archive: 'debian', suite: 'trixie', components: ['main'], fingerprints: [], use: 'all' }],
    sets: [{ id: `tools-${arch}`, arch, packages: wishes }],
  };
  const cache = join(folder, 'cache');
  const trees = join(cache, 'trees');
  const { lock, resolved } = await fetchRequest(host, {
    request,
    settings: { mirror: `file:${join(folder, 'www')}`, keyrings: { debian: key.keyring } },
    cache,
    lockFile: join(folder, 'kit.lock.json'),
    mode: 'keep',
    hostArch: arch,
    tools: solverTools(host, trees),
  });
  expect(resolved).toBe(true);
  const set = lock.sets[`tools-${arch}`] ?? [];
  expect(set.map((one) => one.name)).toEqual(names);
  expect((await readdir(trees)).map((name) => name.replace(/-.*/, ''))).toEqual(['first']);

  const debPath = (one: { archive: string; path: string }): string =>
    join(archiveFolder(cache, one.archive), one.path);
  const tree = await ensureToolsTree(host, trees, set, debPath);
  expect(await readdir(trees)).toEqual([tree.path.slice(trees.length + 1)]);
  const tools = namespaceTools(host, tree.path, tree.id);
  expect((await tools.run(['mke2fs', '-V'])).stderr).toMatch(/^mke2fs 1\.4[7-9]/);
  const ids = await tools.run(['sh', '-euc', 'touch /tmp/f; chown 1000:65535 /tmp/f; stat -c %u:%g /tmp/f'], {
    ids: 'range',
  });
  expect(ids.stdout).toBe('1000:65535\n');

  // Made anew without a tree to help, and from another one: the same files.
  const alone = await ensureToolsTree(host, join(folder, 'alone'), set, debPath);
  const listing = async (root: string): Promise<string> =>
    (
      await tools.run(
        ['sh', '-euc', 'cd /mnt/tree; find . -xdev -printf "%p %y %m %s %l\\n" | LC_ALL=C sort'],
        {
          binds: [{ from: root, to: '/mnt/tree', readOnly: true }],
        },
      )
    ).stdout
      .split('\n')
      .filter((line) => !/ d \d+ /.test(line))
      .map((line) => line.replace(/ l 777 \d+ /, ' l '))
      .join('\n');
  const both = await Promise.all([listing(tree.path), listing(alone.path)]);
  expect(both[1]).toBe(both[0]);
  expect(await readFile(join(alone.path, '.complete'), 'utf8')).toBe(`${tree.id}\n`);
});
