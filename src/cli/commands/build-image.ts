import { join, resolve } from 'node:path';
import { writeAtomic } from '../../host/files.js';
import { timed, type Host } from '../../host/host.js';
import { beginImage, DamagedBlankError, finishImage } from '../../image/assemble.js';
import type { BuiltImage, Compression } from '../../image/types.js';
import type { Lock, LockPackage } from '../../mirror/types.js';
import { ensureIdentity } from '../../pki/identity.js';
import { mobileconfig } from '../../pki/mobileconfig.js';
import type { SiteIdentity } from '../../pki/types.js';
import { readIndex } from '../../stages/base.js';
import { renderSiteLayer, type SiteLayer } from '../../stages/site.js';
import type { IndexEntry } from '../../stages/tar-index.js';
import type { Manifest } from '../../stages/types.js';
import { ensureDisk, lockOf, manifestOf, type Clock, type SiteBase } from './base.js';
import { pairs } from './fetch.js';
import { loadProject, type Project } from './project.js';

export interface BuildOptions {
  /** Folder of the offline cache. */
  readonly cache: string;
  /** The image to write; default `images/<name>.img`. */
  readonly output?: string;
  readonly compress: Compression;
  /** `--keyring NAME=FILE`: the keys of single archives. */
  readonly keyrings?: readonly string[];
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
  const clock: Clock = async (name, work) => {
    const start = host.now();
    try {
      return await work();
    } finally {
      timings[name] = host.now() - start;
    }
  };
  const project = await loadProject(profilePath);
  const { plan, profile } = project;
  if (options.printManifest)
    return { manifest: await manifestOf(project, await lockOf(project)), result: null };

  const output = resolve(options.output ?? join('images', `${plan.site.name}.img`));
  let identityMade: Promise<SiteIdentity> | undefined;
  // The identity needs no package, so keys are made beside everything else. A failure is told where it is waited for.
  const makeIdentity = (): Promise<SiteIdentity> => {
    identityMade ??= clock('identity', () =>
      ensureIdentity(host, {
        profilePath,
        site: plan.site,
        certificates: plan.certificates,
        secrets: plan.secrets,
        given: profile.given,
      }),
    );
    identityMade.catch(() => {});
    return identityMade;
  };
  const disk = (anew: boolean): Promise<SiteBase> =>
    ensureDisk(host, project, {
      cache: resolve(options.cache),
      keyrings: pairs('--keyring', options.keyrings ?? []),
      clock,
      verified: () => void makeIdentity(),
      anew,
    });
  let base = await disk(false);
  let copying = beginImage(host, base.blank, output);
  copying = copying.catch(async (error: unknown) => {
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
