import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { writeAtomic } from '../../host/files.js';
import { timed, type Host } from '../../host/host.js';
import { assembleImage } from '../../image/assemble.js';
import type { BuiltImage, Compression } from '../../image/types.js';
import type { Lock, LockPackage } from '../../mirror/types.js';
import { ensureIdentity } from '../../pki/identity.js';
import { mobileconfig } from '../../pki/mobileconfig.js';
import type { SiteIdentity } from '../../pki/types.js';
import { readIndex } from '../../stages/base.js';
import { renderSiteLayer } from '../../stages/site.js';
import type { Manifest } from '../../stages/types.js';
import { ensureBase, lockOf, manifestOf, type Clock } from './base.js';
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
  /** False: programs of another architecture are emulated, none is run as its native twin. */
  readonly twins: boolean;
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

  const keyrings = pairs('--keyring', options.keyrings ?? []);
  const cache = resolve(options.cache);
  const output = resolve(options.output ?? join('images', `${plan.site.name}.img`));
  let identityMade: Promise<SiteIdentity> | undefined;
  const makeIdentity = (): Promise<SiteIdentity> =>
    (identityMade ??= clock('identity', () =>
      ensureIdentity(host, {
        profilePath,
        site: plan.site,
        certificates: plan.certificates,
        secrets: plan.secrets,
        given: profile.given,
      }),
    ));
  // The identity needs no package, so keys are made while the base layer is installed. An early failure is told below.
  const {
    lock,
    manifest,
    tools,
    layer: base,
  } = await ensureBase(host, project, cache, {
    keyrings,
    clock,
    verified: () => void makeIdentity().catch(() => {}),
    twins: options.twins,
  });
  const identity = await makeIdentity();
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
