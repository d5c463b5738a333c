/** A base layer that holds packages of other publishers, from stand-in archives in folders; Debian's come from the cache of the tests. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ensureBase } from '../../src/cli/commands/base.js';
import { solverTools } from '../../src/cli/commands/fetch.js';
import { hostArch, loadProject, requestOf, type Project } from '../../src/cli/commands/project.js';
import { createHost } from '../../src/host/host.js';
import { fetchRequest } from '../../src/mirror/fetch.js';
import { lockPath, readLock } from '../../src/mirror/lock.js';
import { planSources } from '../../src/plan/sources.js';
import type { Planned } from '../../src/plan/types.js';
import type { ArchiveWish, PackageWish } from '../../src/services/contract.js';
import { readIndex } from '../../src/stages/base.js';
import { removeTree } from '../../src/stages/remove.js';
import { forgetKey, makeKey, TinyArchive, type ArchiveKey } from '../helpers/archive.js';
import { testCache } from '../helpers/base-tree.js';

const host = createHost();
const cache = testCache(host);
let folder: string;
let key: ArchiveKey;
/** When the cache of the tests was filled: its indexes may have expired since. */
let then: Date;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'archives-'));
  const lock = await readLock(join(cache, 'site/tree.lock.json'));
  then = new Date((lock?.epoch ?? 0) * 1000);
  key = await makeKey(folder, 'publisher', then);
});
afterAll(async () => {
  await forgetKey(key);
  await removeTree(host, folder);
  await rm(folder, { recursive: true, force: true });
  await host.close();
});

it('installs them beside those of Debian: Element Web as the profile asks for it, and one of a flat repository', async () => {
  const web = new TinyArchive(join(folder, 'web'));
  await web.publish({
    suite: 'default',
    // A newer library of the publisher's own, which nobody asked for.
    packages: [
      {
        name: 'element-web',
        version: '1.12',
        arch: 'all',
        files: { 'usr/share/element-web/index.html': '<!doctype html>\n' },
      },
      { name: 'libc6', version: '99', arch: 'amd64' },
    ],
    key,
    date: then,
  });
  const meet = new TinyArchive(join(folder, 'meet'));
  await meet.publish({
    suite: 'stable/',
    packages: [
      {
        name: 'meet-focus',
        version: '1.0-1174',
        arch: 'all',
        fields: { Depends: 'libc6' },
        postinst: '#!/bin/sh\nset -e\nmkdir -p /var/lib/meet-focus\n',
      },
    ],
    key,
    date: then,
    detached: true,
  });
  const by = { service: 'test', because: ['services', 'test'] };
  const fingerprints = [key.fingerprint];
  const wishes: Planned<PackageWish>[] = [{ ...by, name: 'meet-focus', archive: 'meet' }];
  const profilePath = join(folder, 'tree.yaml');
  const text = await readFile(join(cache, 'site/tree.yaml'), 'utf8');
  await writeFile(profilePath, text.replace('webchat: true', 'webchat: { client: element }'));
  const { plan, ...rest } = await loadProject(profilePath);
  // The publisher's address, suite and key, as the service declares them; only the archive itself stands in.
  const archives: Planned<ArchiveWish>[] = [
    ...plan.archives,
    { ...by, archive: 'meet', uri: 'https://meet.invalid', suite: 'stable/', components: [], fingerprints },
  ];
  const [system, ...sets] = plan.sets;
  if (system === undefined) throw new Error('the plan has no packages');
  const packages = [...system.packages, ...wishes];
  const project: Project = {
    ...rest,
    plan: {
      ...plan,
      archives,
      sources: planSources(plan.site, packages, archives),
      sets: [{ ...system, packages }, ...sets],
    },
  };
  const own = join(folder, 'cache');
  const keyrings = { 'element-io': key.keyring, meet: key.keyring };
  const { lock } = await fetchRequest(
    { ...host, now: () => then.getTime() + 60_000 },
    {
      request: requestOf(project.plan),
      settings: {
        // A computer whose own mirror lags behind, and says so, has a cache like that.
        mirror: 'auto',
        uris: {
          debian: `file:${join(cache, 'apt/debian')}`,
          'debian-security': `file:${join(cache, 'apt/debian-security')}`,
          'element-io': `file:${web.folder}`,
          meet: `file:${meet.folder}`,
          pypi: `file:${join(cache, 'wheels')}`,
          npm: `file:${join(cache, 'npm')}`,
        },
        keyrings,
      },
      cache: own,
      lockFile: lockPath(profilePath),
      mode: 'keep',
      hostArch: hostArch(),
      tools: solverTools(host, join(own, 'trees')),
    },
  );
  const foreign = lock.sets['system']?.filter(({ archive }) => !archive.startsWith('debian'));
  expect(foreign?.map(({ name, archive, suite, path }) => [name, archive, suite, path])).toEqual([
    ['element-web', 'element-io', 'default', 'pool/main/e/element-web/element-web_1.12_all.deb'],
    ['meet-focus', 'meet', 'stable/', 'stable/meet-focus_1.0-1174_all.deb'],
  ]);
  const { layer } = await ensureBase(host, project, own, { keyrings });
  const paths = new Set((await readIndex(layer)).map(({ path }) => path.replace(/^\.?\//, '')));
  for (const path of [
    'usr/share/element-web/index.html',
    'usr/share/element-web/content',
    'usr/share/meet-focus/content',
  ])
    expect(paths).toContain(path);
  expect([...paths].filter((path) => path.startsWith('var/lib/meet-focus'))).toHaveLength(1);
});
