/** The virtual environment of Synapse as the base layer holds it, and as the hook makes it: twice the same. */
import { link, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHost } from '../../src/host/host.js';
import { packageRoot } from '../../src/host/paths.js';
import { artifactPath } from '../../src/mirror/artifacts.js';
import { readLock } from '../../src/mirror/lock.js';
import { ownIds, testBase, testCache } from '../helpers/base-tree.js';

const host = createHost();
const PREFIX = 'usr/lib/commesh/synapse';
const SITE = `${PREFIX}/lib/python3.13/site-packages`;
let tree: string;
beforeAll(async () => {
  ({ tree } = await testBase(host));
});
afterAll(() => host.close());

const inside = (...argv: string[]): Promise<{ stdout: string }> =>
  host.exec([
    ...(host.uid === 0 ? [] : ['unshare', ...ownIds(host)]),
    ...['chroot', tree, '/usr/bin/env', '-i', 'PATH=/usr/bin:/bin', ...argv],
  ]);

/** Compiled modules of a tree, below its site-packages. */
async function compiled(root: string): Promise<string[]> {
  const all = await readdir(join(root, SITE), { recursive: true });
  return all.filter((path) => path.endsWith('.pyc')).sort();
}

describe('the environment in the base layer', () => {
  it('runs the server, with what Debian provides, and needs nothing compiled', async () => {
    const { stdout } = await inside(
      `/${PREFIX}/bin/python`,
      '-B',
      '-c',
      'import sys, synapse, synapse.app.homeserver, psycopg2; print(synapse.__file__, psycopg2.__file__, sys.prefix)',
    );
    expect(stdout.trim()).toMatch(
      new RegExp(
        `^/${SITE}/synapse/__init__.py /usr/lib/python3/dist-packages/psycopg2/__init__.py /${PREFIX}$`,
      ),
    );
    const sources = (await readdir(join(tree, SITE, 'synapse'), { recursive: true })).filter((path) =>
      path.endsWith('.py'),
    );
    const modules = (await compiled(tree)).filter((path) => path.startsWith('synapse/'));
    expect(modules.length).toBe(sources.length);
  });

  it('belongs to root, and nobody else may write there', async () => {
    const { stdout } = await inside(
      ...['find', `/${PREFIX}`, '(', '!', '-user', '0', '-o', '!', '-type', 'l', '-perm', '/022', ')'],
    );
    expect(stdout).toBe('');
  });

  it('is compiled for good, and names no folder of the build', async () => {
    const files = await compiled(tree);
    expect(files.length).toBeGreaterThan(1000);
    for (const path of files) {
      const bytes = await readFile(join(tree, SITE, path));
      // PEP 552: bit 0 by hash, bit 1 to be checked against the source.
      if (bytes.readUInt32LE(4) !== 1) throw new Error(`${path} is compiled in another way`);
      if (['/mnt/mmdebstrap', '/mnt/in/', '/tmp/commesh'].some((part) => bytes.includes(part)))
        throw new Error(`${path} names the build`);
    }
    const script = await readFile(join(tree, PREFIX, 'bin/synapse_homeserver'), 'utf8');
    expect(script.split('\n')[0]).toBe(`#!/${PREFIX}/bin/python`);
  });
});

it('the hook makes the same bytes twice, and refuses another Python', async () => {
  const { tools } = await testBase(host);
  const cache = testCache(host);
  const lock = await readLock(join(cache, 'site/tree.lock.json'));
  const folder = await host.temporary('wheels');
  const wheels = join(folder, 'wheels/synapse');
  await mkdir(wheels, { recursive: true });
  for (const one of lock?.artifacts?.['wheels-synapse'] ?? []) {
    const path = artifactPath(cache, 'wheels-synapse', one);
    await link(path, join(wheels, basename(path))).catch(async () =>
      writeFile(join(wheels, basename(path)), await readFile(path)),
    );
  }
  await writeFile(join(wheels, 'system'), '');
  const run = async (name: string, python: string): Promise<string> => {
    const root = join(folder, name);
    await mkdir(join(root, 'usr/bin'), { recursive: true });
    await writeFile(join(root, 'usr/bin', python), '');
    await tools.run(
      [
        'sh',
        '-euc',
        'PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 python3 -P /mnt/hook "$1" /mnt/wheels',
        'sh',
        '/mnt/root',
      ],
      {
        binds: [
          { from: join(packageRoot(), 'templates/base/wheels.py'), to: '/mnt/hook', readOnly: true },
          { from: join(folder, 'wheels'), to: '/mnt/wheels', readOnly: true },
          { from: root, to: '/mnt/root' },
        ],
      },
    );
    return root;
  };
  const [one, two] = [await run('one', 'python3.13'), await run('two', 'python3.13')];
  const { stdout } = await host.exec(['diff', '--recursive', '--no-dereference', '--brief', one, two], {
    allowFailure: true,
  });
  expect(stdout).toBe('');
  expect((await compiled(one)).length).toBeGreaterThan(1000);
  // What a layer holds is what the hook makes.
  const layer = await host.exec(
    ['diff', '--recursive', '--no-dereference', '--brief', join(one, PREFIX), join(tree, PREFIX)],
    {
      allowFailure: true,
    },
  );
  expect(layer.stdout).toBe('');
  await expect(run('other', 'python3.14')).rejects.toThrow(/another Python|failed/);
});
