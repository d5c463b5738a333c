/** apt gets only the packages that can be reached from what is asked. Debian's own lists: with all of them it answers the same. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { hostArch, loadProject, requestOf } from '../../src/cli/commands/project.js';
import { createHost } from '../../src/host/host.js';
import { archiveFolder } from '../../src/mirror/cache.js';
import type { CheckedSource } from '../../src/mirror/indexes.js';
import { archOfList, unpackList } from '../../src/mirror/lists.js';
import { readLock } from '../../src/mirror/lock.js';
import { PackagesIndex, reachable } from '../../src/mirror/packages.js';
import { parseRelease, verifySigned } from '../../src/mirror/release.js';
import { askApt, type Question } from '../../src/mirror/solver.js';
import { keyringsOf } from '../../src/mirror/sources/apt.js';
import { testBase, testCache } from '../helpers/base-tree.js';

const host = createHost();
afterAll(() => host.close());

it('says the same of the packages of a kit and of the tools, from part of the lists and from all of them', async () => {
  const cache = testCache(host);
  const arch = hostArch();
  const { plan } = await loadProject(join(cache, 'site/tree.yaml'));
  const { sources, sets } = requestOf(plan);
  const lock = await readLock(join(cache, 'site/tree.lock.json'));
  const keyrings = await keyringsOf(sources);
  const read = async (whole: boolean): Promise<CheckedSource[]> =>
    await Promise.all(
      sources.map(async (source): Promise<CheckedSource> => {
        const index = lock?.indexes.find(
          (one) => one.archive === source.archive && one.suite === source.suite,
        );
        if (index === undefined) throw new Error(`no index of ${source.suite}`);
        const packages = new PackagesIndex();
        const texts: string[] = [];
        for (const file of index.files.filter(({ path }) => archOfList(path) === arch)) {
          const bytes = await readFile(join(archiveFolder(cache, index.archive), file.path));
          const plain = await unpackList(bytes, file.path);
          packages.add(plain);
          texts.push(plain.toString('latin1'));
        }
        if (whole && source === sources[0]) {
          // They lead to every package, and apt can choose them for nothing: nobody depends on a libc6 of this version.
          const names = texts.flatMap((text) =>
            [...text.matchAll(/^Package: (.*)$/gm)].map(([, name]) => name),
          );
          for (let from = 0; from < names.length; from += 100) {
            packages.add(
              Buffer.from(
                `Package: lead-${from}\nVersion: 1\nArchitecture: ${arch}\nFilename: pool/${from}.deb\nSize: 1\nSHA256: ${'0'.repeat(64)}\nProvides: libc6 (= 0.1)\nDepends: ${names.slice(from, from + 100).join(' | ')}\n`,
              ),
            );
          }
        }
        const path = join(archiveFolder(cache, index.archive), `dists/${index.suite}/InRelease`);
        const signed = await verifySigned(await readFile(path, 'utf8'), keyrings[index.archive] ?? '');
        if ('fault' in signed) throw new Error(signed.reason);
        return { source, index, release: parseRelease(signed.text), packages: new Map([[arch, packages]]) };
      }),
    );
  const part = await read(false);
  const questions = sets
    .filter((set) => set.arch === arch)
    .map((set): Question => {
      const base = part.flatMap(({ source, packages }) =>
        source.use === 'all' && source.archive === 'debian' ? [...(packages.get(arch)?.base ?? [])] : [],
      );
      return { verb: 'install', arch, set, names: [...set.packages.map((wish) => wish.name), ...base] };
    });
  expect(questions.length).toBeGreaterThan(1);
  const { tools } = await testBase(host);
  const answers = await askApt(host, tools, part, questions);
  for (const answer of answers) expect('found' in answer && answer.found.length).toBeGreaterThan(100);
  const whole = await read(true);
  const all = whole.flatMap(({ packages }) => [...packages.values()]);
  expect(reachable(['libc6'], all).size).toBeGreaterThan(50_000);
  expect(await askApt(host, tools, whole, questions)).toEqual(answers);
});
