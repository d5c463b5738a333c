import { resolve } from 'node:path';
import { writeAtomic } from '../../host/files.js';
import { timed, type Host } from '../../host/host.js';
import { beginImage, DamagedBlankError, finishImage } from '../../image/assemble.js';
import type { BuiltImage, Compression } from '../../image/types.js';
import { artifactFiles } from '../../mirror/bring.js';
import type { Lock, LockArtifact, LockPackage } from '../../mirror/types.js';
import { ensureIdentity } from '../../pki/identity.js';
import { mobileconfig } from '../../pki/mobileconfig.js';
import type { SiteIdentity } from '../../pki/types.js';
import { readIndex } from '../../stages/base.js';
import { renderSiteLayer, type SiteLayer } from '../../stages/site.js';
import type { IndexEntry } from '../../stages/tar-index.js';
import type { Manifest } from '../../stages/types.js';
import { ensureDisk, lockOf, manifestOf, type Clock, type DiskOptions, type SiteBase } from './base.js';
import { pairs } from './fetch.js';
import { defaultImage, loadProject, type Project } from './project.js';

export interface SiteOptions {
  /** Folder of the offline cache. */
  readonly cache: string;
  readonly compress: Compression;
  /** `--keyring NAME=FILE`: the keys of single archives. */
  readonly keyrings?: readonly string[];
  /** False: programs of another architecture are emulated, none is run as its native twin. */
  readonly twins: boolean;
}

export interface BuildOptions extends SiteOptions {
  /** The image to write; default `images/<name>.img`. */
  readonly output?: string;
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
  /** Python wheels and npm packages, when there are any. */
  readonly artifacts?: readonly LockArtifact[];
  readonly files: readonly string[];
  /** Milliseconds. */
  readonly timings: Readonly<Record<string, number>>;
}

export interface BuildResult {
  readonly image: BuiltImage;
  readonly reportPath: string;
  readonly report: BuildReport;
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
  const project = await loadProject(profilePath);
  if (options.printManifest)
    return { manifest: await manifestOf(project, await lockOf(project)), result: null };
  return buildSite(host, project, {
    ...options,
    output: resolve(options.output ?? defaultImage(project.plan)),
  });
}

/** The site's identity, from the folder beside its profile, or made. */
export function identityOf(host: Host, { plan, profile, profilePath }: Project): Promise<SiteIdentity> {
  return ensureIdentity(host, {
    profilePath,
    site: plan.site,
    certificates: plan.certificates,
    secrets: plan.secrets,
    given: profile.given,
  });
}

/**
 * Builds the image of a site.
 * @throws WorkError, CacheMissError, ToolError, InterruptedError. Nothing half made is left then.
 */
export async function buildSite(
  host: Host,
  project: Project,
  options: SiteOptions & { readonly output: string },
): Promise<{ manifest: Manifest; result: BuildResult }> {
  const begin = host.now();
  const { plan } = project;
  const { output } = options;
  const timings: Record<string, number> = {};
  const clock: Clock = async (name, work) => {
    const start = host.now();
    try {
      return await work();
    } finally {
      timings[name] = host.now() - start;
    }
  };
  let identityMade: Promise<SiteIdentity> | undefined;
  // The identity needs no package, so keys are made beside everything else. A failure is told where it is waited for.
  const makeIdentity = (): Promise<SiteIdentity> => {
    identityMade ??= clock('identity', () => identityOf(host, project));
    identityMade.catch(() => {});
    return identityMade;
  };
  const disk = (anew: boolean): Promise<SiteBase> =>
    ensureDisk(host, project, { ...diskOptions(options), clock, verified: () => void makeIdentity(), anew });
  let base = await disk(false);
  const copying = beginImage(host, base.blank, output).catch(async (error: unknown) => {
    if (!(error instanceof DamagedBlankError)) throw error;
    host.emit({ type: 'log', level: 'warn', text: `${error.message}; it is made again` });
    base = await disk(true);
    return beginImage(host, base.blank, output);
  });
  copying.catch(() => {});
  let layer: SiteLayer;
  let existing: readonly IndexEntry[];
  try {
    const { blank, lock } = base;
    existing = await readIndex({ index: blank.companion('index.jsonl') });
    const identity = await makeIdentity();
    layer = await clock('site', () =>
      timed(host, 'site', 'render the site', () =>
        renderSiteLayer({
          plan,
          identity,
          mobileconfig: mobileconfig(plan.site, identity),
          folders: project.folders,
          base: { passwd: blank.companion('passwd'), group: blank.companion('group') },
          index: existing,
          epoch: lock.epoch,
        }),
      ),
    );
  } catch (error) {
    await copying.then(
      (begun) => begun.discard(),
      () => {},
    );
    throw error;
  }
  const begun = await copying;
  const { lock, manifest, tools } = base;
  const image = await clock('image', () =>
    finishImage(host, tools, begun, {
      id: manifest.id,
      epoch: lock.epoch,
      existing,
      root: layer.root,
      data: layer.data,
      compress: options.compress,
    }),
  );
  timings['total'] = host.now() - begin;
  const report = reportOf(plan, manifest, image, lock, layer.paths, timings);
  const reportPath = reportPathOf(output);
  await writeAtomic(reportPath, `${JSON.stringify(report, null, 2)}\n`);
  return { manifest, result: { image, reportPath, report } };
}

/** What looking for a disk needs of the options of a build. */
export function diskOptions(options: SiteOptions): Pick<DiskOptions, 'cache' | 'keyrings' | 'twins'> {
  return {
    cache: resolve(options.cache),
    keyrings: pairs('--keyring', options.keyrings ?? []),
    twins: options.twins,
  };
}

/** Where the report of an image lies. */
export function reportPathOf(image: string): string {
  return image.replace(/\.img$/, '') + '.json';
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
    ...(lock.artifacts === undefined ? {} : { artifacts: artifactFiles(lock) }),
    files,
    timings: {
      ...timings,
      ...Object.fromEntries(Object.entries(steps).map(([name, ms]) => [`image/${name}`, ms])),
    },
  };
}
