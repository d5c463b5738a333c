import { existsSync, readFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WorkError } from '../../diagnostics/errors.js';
import { canonicalJson, sha256 } from '../../host/files.js';
import { timed, type Host } from '../../host/host.js';
import { namespaceTools, type NamespaceTools } from '../../host/namespace.js';
import { besideProfile, packageRoot } from '../../host/paths.js';
import { findBlank, makeBlank, type Blank } from '../../image/blank.js';
import { initramfsConfig } from '../../image/boot/initramfs.js';
import { bootTextDigest } from '../../image/boot/plan.js';
import { LAYOUT_VERSION } from '../../image/layout.js';
import { artifactPath } from '../../mirror/artifacts.js';
import { archiveFolder, verifyCache } from '../../mirror/cache.js';
import { readLock } from '../../mirror/lock.js';
import { requestDigest, setsForHost } from '../../mirror/request.js';
import { keyringsOf } from '../../mirror/sources/apt.js';
import type { Lock, LockPackage } from '../../mirror/types.js';
import { ensureBaseLayer, readIndex } from '../../stages/base.js';
import { planEmulation } from '../../stages/emulation.js';
import { makeManifest, stageOf } from '../../stages/manifest.js';
import { emulatorIn, ensureToolsTree, findToolsTree } from '../../stages/tools.js';
import type { BaseLayer, Manifest } from '../../stages/types.js';
import { findTemplate, templatePath } from '../../templates/load.js';
import { expectPure } from '../../twins/purity.js';
import { ensureTwins, type Twins } from '../../twins/twins.js';
import { aloneIn } from './alone.js';
import { hostArch, requestOf, type Project } from './project.js';

/** What every site with the same packages and board begins with. */
export interface SiteBase {
  readonly lock: Lock;
  readonly manifest: Manifest;
  readonly tools: NamespaceTools;
  readonly blank: Blank;
}

/** The packages of a lock, installed. */
export interface Base {
  readonly lock: Lock;
  readonly manifest: Manifest;
  readonly tools: NamespaceTools;
  readonly layer: BaseLayer;
}

/** Runs one step of the work and measures it under a name. */
export type Clock = <T>(name: string, work: () => Promise<T>) => Promise<T>;

export interface BaseOptions {
  /** Keyring file of single archives, where it is not the host's. */
  readonly keyrings?: Readonly<Record<string, string>>;
  readonly clock?: Clock;
  /** Called once, when the cache is known to be good. */
  readonly verified?: () => void;
  /** False: programs of another architecture are emulated throughout. The layer is the same, after ten times as long. */
  readonly twins?: boolean;
}

/** The manifest of a project: plan + lock, every byte named by digest. */
export async function manifestOf(project: Project, lock: Lock): Promise<Manifest> {
  return makeManifest({
    plan: project.plan,
    lock,
    toolsSet: `tools-${hostArch()}`,
    recipe: await recipeDigest(),
    initramfs: initramfsConfig(project.plan.site.board),
    templates: templatesDigest(project),
    layout: LAYOUT_VERSION,
    boot: bootTextDigest(project.plan.site.board, project.plan.site.base),
  });
}

/**
 * The lock of a project.
 * @throws WorkError when there is none, or when it was made for other packages than the profile asks for now.
 */
export async function lockOf(project: Project): Promise<Lock> {
  const path = besideProfile(project.profilePath, '.lock.json');
  const lock = await readLock(path);
  const fetch = `run "commeshctl fetch ${project.profilePath}" where there is a network`;
  if (lock === null)
    throw new WorkError(`${path} is missing: nothing has been fetched for this profile`, { hint: fetch });
  if (lock.request !== requestDigest(requestOf(project.plan))) {
    throw new WorkError(`${path} was made for other packages than the profile asks for now`, { hint: fetch });
  }
  return lock;
}

/**
 * The first half of a build, in which nothing of a site is made: checks the whole offline cache against the lock, then makes
 * the tools tree and the base layer, or finds them in the cache.
 * @param cache folder of the offline cache.
 * @throws WorkError without a lock that fits, CacheMissError for a cache that does not fit the lock.
 */
export async function ensureBase(
  host: Host,
  project: Project,
  cache: string,
  options: BaseOptions = {},
): Promise<Base> {
  return await aloneIn(host, cache, () => installBase(host, project, cache, options));
}

async function installBase(host: Host, project: Project, cache: string, options: BaseOptions): Promise<Base> {
  const { keyrings = {}, clock = (_name, work) => work(), verified = () => {} } = options;
  const { plan } = project;
  const lock = await lockOf(project);
  const manifest = await manifestOf(project, lock);
  const toolsId = `tools-${hostArch()}`;
  const setIds = setsForHost(requestOf(plan).sets, hostArch()).map((set) => set.id);
  const stanzas = await clock('verify-cache', async () =>
    verifyCache(host, lock, cache, setIds, {
      full: true,
      keyrings: await keyringsOf(plan.sources, { keyrings }),
      request: requestOf(plan),
    }),
  );
  verified();
  const debPath = (one: LockPackage): string => join(archiveFolder(cache, one.archive), one.path);
  const set = (id: string): readonly LockPackage[] => lock.sets[id] ?? [];
  const tree = await clock('tools', () => ensureToolsTree(host, join(cache, 'trees'), set(toolsId), debPath));
  const { tools, twins } = await clock('twins', () =>
    targetTools(host, project, cache, lock, tree, debPath, options.twins ?? true),
  );
  const layer = await clock('base', () =>
    ensureBaseLayer(host, stageOf(manifest, 'base'), {
      tools,
      twins: twins?.path ?? null,
      layersFolder: join(cache, 'layers'),
      packages: set('system'),
      boot: set('boot'),
      debPath,
      artifactPath: (id, name) => {
        const one = lock.artifacts?.[id]?.find((candidate) => candidate.name === name);
        if (one === undefined) throw new Error(`the lock has no ${name} in ${id}`);
        return artifactPath(cache, id, one);
      },
      inspect: (tar) => expectPure(host, tar, plan.site.arch),
      stanza: (one) => stanzas.get(one.sha256) ?? '',
    }),
  );
  return { lock, manifest, tools, layer };
}

/** The programs of the build, able to run those of the target, too: natively, by twins, or emulated. */
async function targetTools(
  host: Host,
  { plan }: Project,
  cache: string,
  lock: Lock,
  tree: { readonly path: string; readonly id: string },
  debPath: (one: LockPackage) => string,
  withTwins: boolean,
): Promise<{ tools: NamespaceTools; twins: Twins | null }> {
  const way = await planEmulation(host, plan.site.arch, tree.path);
  const emulator = way === 'private' ? await emulatorIn(tree.path) : null;
  if (emulator === null) return { tools: namespaceTools(host, tree.path, tree.id), twins: null };
  const file = join(tree.path, emulator);
  const natives = lock.sets[`twins-${hostArch()}`];
  if (!withTwins || natives === undefined)
    return { tools: namespaceTools(host, tree.path, tree.id, { file, flags: 'OCPF' }), twins: null };
  const twins = await ensureTwins(host, {
    tools: namespaceTools(host, tree.path, tree.id),
    folder: join(cache, 'trees'),
    system: lock.sets['system'] ?? [],
    natives,
    debPath,
    emulator: file,
  });
  return { tools: namespaceTools(host, tree.path, tree.id, { file: twins.dispatcher, flags: 'PF' }), twins };
}

/** How a disk is looked for and made. */
export interface DiskOptions extends BaseOptions {
  /** Folder of the offline cache. */
  readonly cache: string;
  /** Make the disk again, for the one in the cache is damaged. */
  readonly anew?: boolean;
}

/**
 * The blank disk of a project from the cache, or made. When it is there no package enters the image, so none is read: the disk
 * itself is checked when it is copied. When it has to be made, everything it is made of is checked first (`ensureBase`).
 * @throws as `ensureBase`.
 */
export async function ensureDisk(host: Host, project: Project, options: DiskOptions): Promise<SiteBase> {
  const { cache, clock = (_name, work) => work(), verified = () => {} } = options;
  const { plan } = project;
  const lock = await lockOf(project);
  const manifest = await manifestOf(project, lock);
  const stage = stageOf(manifest, 'disk');
  const folder = join(cache, 'layers', stage.id.slice(0, 32));
  const find = async (): Promise<SiteBase | null> => {
    const tree = findToolsTree(join(cache, 'trees'), lock.sets[`tools-${hostArch()}`] ?? []);
    const blank = tree === null || options.anew ? null : await findBlank(folder);
    if (tree === null || blank === null) return null;
    verified();
    host.emit({ type: 'begin', id: 'disk', title: `disk of the packages ${stage.id.slice(0, 12)}` });
    host.emit({ type: 'end', id: 'disk', state: 'cached', milliseconds: 0 });
    return { lock, manifest, tools: namespaceTools(host, tree.path, tree.id), blank };
  };
  const known = await find();
  if (known !== null) return known;
  return await aloneIn(host, cache, async () => {
    // Whoever was waited for may have made it.
    const theirs = await find();
    if (theirs !== null) return theirs;
    const { tools, layer } = await installBase(host, project, cache, options);
    const blank = await clock('disk', () =>
      timed(host, 'disk', 'disk of the packages', async () =>
        makeBlank(
          host,
          tools,
          {
            id: stage.id,
            epoch: lock.epoch,
            board: plan.site.board,
            base: plan.site.base,
            boot: layer.boot,
            root: [{ tar: layer.tar, members: await readIndex(layer) }],
            companions: { passwd: layer.passwd, group: layer.group, 'index.jsonl': layer.index },
          },
          folder,
        ),
      ),
    );
    return { lock, manifest, tools, blank };
  });
}

/** Digest of the hooks that make the base layer. */
async function recipeDigest(): Promise<string> {
  const folder = join(packageRoot(), 'templates/base');
  const names = (await readdir(folder)).sort();
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  return sha256(canonicalJson(names.map((name, at) => [name, texts[at]])));
}

/** Digest of the templates a plan uses, overrides included. */
function templatesDigest(project: Project): string {
  const read = (path: string): Uint8Array | null => (existsSync(path) ? readFileSync(path) : null);
  const digests = project.plan.files
    .filter((file) => file.kind === 'template' || file.kind === 'copy')
    .map((file) => {
      const found = findTemplate(templatePath(file), project.folders, read);
      return [file.path, found === null ? '' : sha256(found.bytes)];
    });
  return sha256(canonicalJson(digests));
}
