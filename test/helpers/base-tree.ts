import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { aloneIn } from '../../src/cli/commands/alone.js';
import { ensureBase, lockOf, manifestOf } from '../../src/cli/commands/base.js';
import { runFetch, solverTools } from '../../src/cli/commands/fetch.js';
import { hostArch, loadProject, type Project } from '../../src/cli/commands/project.js';
import type { Host } from '../../src/host/host.js';
import { namespaceTools, type NamespaceTools } from '../../src/host/namespace.js';
import { packageRoot } from '../../src/host/paths.js';
import { archiveFolder } from '../../src/mirror/cache.js';
import { fetchRequest } from '../../src/mirror/fetch.js';
import { stageOf } from '../../src/stages/manifest.js';
import { removeTree } from '../../src/stages/remove.js';
import { ensureToolsTree } from '../../src/stages/tools.js';

/** What the product made of test/fixtures/tree.yaml, ready for the tests. Nothing of it may be changed. */
export interface TestBase {
  /** The base layer, unpacked: a Debian 13 tree with every program of a kit, owned as on a kit. */
  readonly tree: string;
  /** Boot files of the base layer. */
  readonly boot: string;
  /** The programs of the build. */
  readonly tools: NamespaceTools;
  /** Debian 13's C compiler, for what the product holds in compiled form. */
  readonly compiler: NamespaceTools;
}

/** Where the tests keep what takes long to make: COMMESH_TEST_CACHE, or a folder in the user's cache. */
export function testCache(host: Host): string {
  return resolve(
    host.env['COMMESH_TEST_CACHE'] ??
      join(host.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'commeshctl/test'),
  );
}

/** As root the files belong to whom they belong on a kit; else to ids of the user's own range (subuid(5)). */
export function ownIds(host: Host): readonly string[] {
  return host.uid === 0 ? [] : ['--user', '--map-root-user', '--map-auto'];
}

/** A file that says where everything lies; written last. */
const READY = 'ready.json';
interface Ready {
  /** Id of the base layer, for which inputs it is. */
  readonly id: string;
  readonly tree: string;
  readonly boot: string;
  readonly tools: { readonly path: string; readonly id: string };
  readonly compiler: { readonly path: string; readonly id: string };
}

/** Id of the base layer the fixture stands for with the lock there is, or null without a lock that fits. */
async function wantedId(profile: string): Promise<string | null> {
  try {
    const project = await loadProject(profile);
    return stageOf(await manifestOf(project, await lockOf(project)), 'base').id;
  } catch {
    return null;
  }
}

async function readReady(cache: string): Promise<Ready | null> {
  const path = join(cache, READY);
  if (!existsSync(path)) return null;
  const ready = JSON.parse(await readFile(path, 'utf8')) as Ready & Partial<Pick<Ready, 'compiler'>>;
  return [ready.tree, ready.boot, ready.tools.path, ready.compiler?.path ?? ''].every((one) =>
    existsSync(one),
  )
    ? ready
    : null;
}

/**
 * Makes the base of the tests with the product's own `fetch` and the first half of its `build-image`, once: some minutes and a
 * network, and nothing at all the next time. Run by the set-up of the vitest project, before any test.
 */
export async function makeBase(host: Host): Promise<void> {
  const cache = testCache(host);
  const site = join(cache, 'site');
  const profile = join(site, 'tree.yaml');
  await mkdir(site, { recursive: true });
  // A copy, since the lock is written beside it.
  await copyFile(join(packageRoot(), 'test/fixtures/tree.yaml'), profile);
  const known = await readReady(cache);
  if (known !== null && known.id === (await wantedId(profile))) return;

  await runFetch(host, profile, { cache, locked: false, update: false });
  const project = await loadProject(profile);
  const { layer, tools } = await ensureBase(host, project, cache);
  const compiler = await makeCompiler(host, project, cache, site);
  const tree = join(cache, 'trees', `base-${layer.id.slice(0, 16)}-${host.uid}`);
  if (!existsSync(tree)) {
    const part = `${tree}.${process.pid}.part`;
    const forget = host.onClose(() => removeTree(host, part));
    await mkdir(part, { mode: 0o755 });
    // The layer is a tar without end blocks.
    const unpack = 'tar -x --numeric-owner -p -C "$2" -f "$1"';
    await host.exec(
      [...(host.uid === 0 ? [] : ['unshare', ...ownIds(host)]), 'sh', '-euc', unpack, 'sh', layer.tar, part],
      { title: 'unpacking the base layer for the tests' },
    );
    await rename(part, tree);
    forget();
  }
  const ready: Ready = {
    id: layer.id,
    tree,
    boot: layer.boot,
    tools: { path: tools.path, id: tools.id },
    compiler,
  };
  await writeFile(join(cache, `${READY}.part`), JSON.stringify(ready));
  await rename(join(cache, `${READY}.part`), join(cache, READY));
}

/** A tree with the compiler of the release kits are made of: the same one on every machine that runs the tests. */
async function makeCompiler(
  host: Host,
  { plan }: Project,
  cache: string,
  folder: string,
): Promise<{ path: string; id: string }> {
  const packages = ['gcc-14', 'binutils'].map((name) => ({ name, service: 'test', because: ['site'] }));
  const { lock } = await aloneIn(host, cache, () =>
    fetchRequest(host, {
      request: {
        sources: plan.sources.filter((source) => source.use === 'all'),
        sets: [{ id: 'compiler', arch: hostArch(), packages }],
      },
      settings: { mirror: plan.site.mirror },
      cache,
      hostArch: hostArch(),
      tools: solverTools(host, join(cache, 'trees')),
      lockFile: join(folder, 'compiler.lock.json'),
      mode: 'keep',
    }),
  );
  return ensureToolsTree(host, join(cache, 'trees'), lock.sets['compiler'] ?? [], (one) =>
    join(archiveFolder(cache, one.archive), one.path),
  );
}

/** The base `makeBase` has made. */
export async function testBase(host: Host): Promise<TestBase> {
  const ready = await readReady(testCache(host));
  if (ready === null) throw new Error('the base of the tests is missing: its set-up has not run');
  return {
    tree: ready.tree,
    boot: ready.boot,
    tools: namespaceTools(host, ready.tools.path, ready.tools.id),
    compiler: namespaceTools(host, ready.compiler.path, ready.compiler.id),
  };
}

/** The unpacked base layer. */
export async function baseTree(host: Host): Promise<string> {
  return (await testBase(host)).tree;
}
