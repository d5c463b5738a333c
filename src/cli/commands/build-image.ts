import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { WorkError } from '../../diagnostics/errors.js';
import { canonicalJson, sha256, writeAtomic } from '../../host/files.js';
import { timed, type Host } from '../../host/host.js';
import { namespaceTools } from '../../host/namespace.js';
import { besideProfile, packageRoot } from '../../host/paths.js';
import { assembleImage } from '../../image/assemble.js';
import { initramfsConfig } from '../../image/boot/initramfs.js';
import type { BuiltImage, Compression } from '../../image/types.js';
import { archiveFolder, verifyCache } from '../../mirror/cache.js';
import { readLock } from '../../mirror/lock.js';
import { keyringsOf } from '../../mirror/sources/apt.js';
import { requestDigest } from '../../mirror/request.js';
import type { Lock, LockPackage } from '../../mirror/types.js';
import { ensureIdentity } from '../../pki/identity.js';
import { mobileconfig } from '../../pki/mobileconfig.js';
import { ensureBaseLayer, readIndex } from '../../stages/base.js';
import { planEmulation } from '../../stages/emulation.js';
import { makeManifest, stageOf } from '../../stages/manifest.js';
import { renderSiteLayer } from '../../stages/site.js';
import { ensureToolsTree } from '../../stages/tools.js';
import type { Manifest } from '../../stages/types.js';
import { findTemplate, templatePath } from '../../templates/load.js';
import { hostArch, loadProject, requestOf, type Project } from './project.js';

export interface BuildOptions {
  /** Folder of the offline cache. */
  readonly cache: string;
  /** The image to write; default `images/<name>.img`. */
  readonly output?: string;
  readonly compress: Compression;
  /** Print the stages and build nothing. */
  readonly printManifest: boolean;
}

/** What lies beside the image: everything in it, by name and digest; no secret. */
export interface BuildReport {
  readonly format: 1;
  readonly site: string;
  readonly board: string;
  readonly manifest: string;
  readonly epoch: number;
  readonly image: Omit<BuiltImage, 'timings'>;
  readonly packages: readonly Omit<LockPackage, 'for'>[];
  readonly bootPackages: readonly Omit<LockPackage, 'for'>[];
  readonly files: readonly string[];
  /** Milliseconds. */
  readonly timings: Readonly<Record<string, number>>;
}

export interface BuildResult {
  readonly image: BuiltImage;
  readonly reportPath: string;
  readonly report: BuildReport;
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
    layout: '1',
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
 * Builds the image of a profile from its lock and the offline cache. Touches no network: every program runs where only
 * a loopback device exists.
 */
export async function runBuildImage(
  host: Host,
  profilePath: string,
  options: BuildOptions,
): Promise<{ manifest: Manifest; result: BuildResult | null }> {
  const begin = host.now();
  const timings: Record<string, number> = {};
  const clock = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const start = host.now();
    try {
      return await work();
    } finally {
      timings[name] = host.now() - start;
    }
  };
  const project = await loadProject(profilePath);
  const { plan, profile } = project;
  const lock = await lockOf(project);
  const manifest = await manifestOf(project, lock);
  if (options.printManifest) return { manifest, result: null };

  const cache = resolve(options.cache);
  const output = resolve(options.output ?? join('images', `${plan.site.name}.img`));
  const setIds = [...plan.sets.map((set) => set.id), `tools-${hostArch()}`];
  await clock('verify-cache', async () =>
    verifyCache(host, lock, cache, setIds, {
      full: true,
      keyrings: await keyringsOf(plan.sources),
      request: requestOf(plan),
    }),
  );
  const debPath = (one: LockPackage): string => join(archiveFolder(cache, one.archive), one.path);
  const set = (id: string): readonly LockPackage[] => lock.sets[id] ?? [];

  // The identity needs no package, so keys are made while the base layer is installed.
  const identityMade = clock('identity', () =>
    ensureIdentity(host, {
      profilePath,
      site: plan.site,
      certificates: plan.certificates,
      secrets: plan.secrets,
      given: profile.given,
    }),
  );
  // Told below; without this an early failure would be one nobody waits for yet.
  identityMade.catch(() => {});

  const tree = await clock('tools', () =>
    ensureToolsTree(host, join(cache, 'trees'), set(`tools-${hostArch()}`), debPath),
  );
  const emulation = await planEmulation(host, plan.site.arch, tree.path);
  const tools = namespaceTools(host, tree.path, tree.id, emulation);
  const base = await clock('base', () =>
    ensureBaseLayer(host, stageOf(manifest, 'base'), {
      tools,
      layersFolder: join(cache, 'layers'),
      packages: set('system'),
      boot: set('boot'),
      debPath,
    }),
  );
  const identity = await identityMade;
  const index = await readIndex(base);
  const layer = await clock('site', () =>
    timed(host, 'site', 'render the site', () =>
      renderSiteLayer({
        plan,
        identity,
        mobileconfig: mobileconfig(plan.site, identity),
        folders: project.folders,
        base,
        index,
        epoch: lock.epoch,
      }),
    ),
  );

  await mkdir(resolve(output, '..'), { recursive: true });
  // Holds the site's keys until the image is made: readable by nobody else, removed at the end.
  const work = await host.temporary('.commeshctl-site', resolve(output, '..'));
  const [rootTar, dataTar] = [join(work, 'root.tar'), join(work, 'data.tar')];
  await writeFile(rootTar, layer.root, { mode: 0o600 });
  await writeFile(dataTar, layer.data, { mode: 0o600 });
  const image = await clock('image', () =>
    assembleImage(host, tools, {
      output,
      id: manifest.id,
      epoch: lock.epoch,
      board: plan.site.board,
      base: plan.site.base,
      boot: base.boot,
      root: [
        { tar: base.tar, members: index },
        { tar: rootTar, members: layer.rootMembers },
      ],
      data: [{ tar: dataTar, members: layer.dataMembers }],
      compress: options.compress,
    }),
  );
  timings['total'] = host.now() - begin;
  const report = reportOf(plan, manifest, image, lock, layer.paths, timings);
  const reportPath = output.replace(/\.img$/, '') + '.json';
  await writeAtomic(reportPath, `${JSON.stringify(report, null, 2)}\n`);
  return { manifest, result: { image, reportPath, report } };
}

function reportOf(
  plan: Project['plan'],
  manifest: Manifest,
  image: BuiltImage,
  lock: Lock,
  files: readonly string[],
  timings: Readonly<Record<string, number>>,
): BuildReport {
  const plain = (id: string): Omit<LockPackage, 'for'>[] =>
    (lock.sets[id] ?? []).map((one) => {
      const { for: _for, ...rest } = one;
      return rest;
    });
  const { timings: steps, ...rest } = image;
  return {
    format: 1,
    site: plan.site.name,
    board: plan.site.board,
    manifest: manifest.id,
    epoch: lock.epoch,
    image: rest,
    packages: plain('system'),
    bootPackages: plain('boot'),
    files,
    timings: {
      ...timings,
      ...Object.fromEntries(Object.entries(steps).map(([name, ms]) => [`image/${name}`, ms])),
    },
  };
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
