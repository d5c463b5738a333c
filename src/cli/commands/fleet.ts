import { existsSync, statSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { counted } from '../../diagnostics/text.js';
import { CommeshError, InterruptedError, ProfileError, UsageError } from '../../diagnostics/errors.js';
import type { LocatedDiagnostic } from '../../diagnostics/diagnostic.js';
import type { HostEvent } from '../../host/events.js';
import { readTextIfThere } from '../../host/files.js';
import { hostFor, timed, type Host } from '../../host/host.js';
import { secretsFolder } from '../../pki/folder.js';
import { stageOf } from '../../stages/manifest.js';
import type { Manifest } from '../../stages/types.js';
import { ensureDisk, lockOf, manifestOf } from './base.js';
import {
  buildSite,
  diskOptions,
  identityOf,
  reportPathOf,
  type BuildReport,
  type SiteOptions,
} from './build-image.js';
import { defaultImage, loadProject, type Project } from './project.js';

export interface FleetOptions extends SiteOptions {
  /** Folder of the images; default `images`. */
  readonly folder?: string;
  /** Build also what is there and still true. */
  readonly rebuild: boolean;
  /** Sites at a time; default as many as processors. */
  readonly parallel?: number;
}

/** What became of one site. */
export interface FleetSite {
  readonly profile: string;
  readonly site: string;
  readonly image: string;
  readonly state: 'built' | 'there' | 'failed';
  readonly milliseconds: number;
  /** Of a site that failed. */
  readonly error?: unknown;
}

type Prepare = (project: Project, manifest: Manifest) => Promise<void>;

interface Job {
  readonly profile: string;
  readonly site: string;
  readonly image: string;
}

/**
 * Builds the images of many profiles: what sites share is made once, then as many sites at a time as there are processors. Images
 * that are complete and still true are left alone. A site that fails does not stop the others.
 * @throws ProfileError with the faults of all profiles, UsageError; both before anything is made. InterruptedError.
 */
export async function runFleet(
  host: Host,
  profiles: readonly string[],
  options: FleetOptions,
): Promise<readonly FleetSite[]> {
  const { folder } = options;
  if (folder !== undefined && existsSync(folder) && !statSync(folder).isDirectory()) {
    throw new UsageError(`--output ${folder} is not a folder`, {
      hint: 'of several sites it is the folder of the images',
    });
  }
  const jobs = await timed(host, 'check', `check ${counted(profiles.length, 'profile')}`, () =>
    checkAll(host, profiles, folder),
  );
  const results = new Map<Job, FleetSite>();
  const begin = host.now();
  host.emit({ type: 'begin', id: 'fleet', title: `build ${counted(jobs.length, 'image')}` });
  const settle = (job: Job, result: Omit<FleetSite, keyof Job>): void => {
    results.set(job, { ...job, ...result });
    host.emit({ type: 'progress', id: 'fleet', done: results.size, total: jobs.length, unit: 'items' });
  };
  // Disks that several sites begin with: each is made, or looked for, by the first that needs it; its progress is everybody's.
  const disks = new Map<string, Promise<unknown>>();
  const prepare: Prepare = async (project, manifest) => {
    const { id } = stageOf(manifest, 'disk');
    const ready = disks.get(id) ?? ensureDisk(host, project, diskOptions(options));
    disks.set(id, ready);
    await ready;
  };
  const queue = [...jobs];
  const worker = async (): Promise<void> => {
    for (let job = queue.shift(); job !== undefined; job = queue.shift()) {
      if (host.signal.aborted) return;
      const start = host.now();
      const own = hostFor(host, eventsOf(host, job));
      host.emit({ type: 'begin', id: `site/${job.site}`, title: job.site, parent: 'fleet' });
      let result: Omit<FleetSite, keyof Job | 'milliseconds'>;
      try {
        result = { state: await buildOne(own, job, options, prepare) };
      } catch (error) {
        result = { state: 'failed', error };
      } finally {
        await own.close();
      }
      const milliseconds = host.now() - start;
      const state = ({ built: 'done', there: 'cached', failed: 'failed' } as const)[result.state];
      host.emit({ type: 'end', id: `site/${job.site}`, state, milliseconds });
      if (!(result.error instanceof InterruptedError)) settle(job, { ...result, milliseconds });
    }
  };
  const parallel = Math.min(options.parallel ?? availableParallelism(), jobs.length);
  await Promise.all(Array.from({ length: parallel }, worker));
  const failed = [...results.values()].filter((one) => one.state === 'failed').length;
  const stopped = host.signal.aborted;
  host.emit({
    type: 'end',
    id: 'fleet',
    state: stopped || failed > 0 ? 'failed' : 'done',
    milliseconds: host.now() - begin,
    note: `${results.size - failed} of ${jobs.length}`,
  });
  if (stopped) {
    const text = `${results.size - failed} of ${jobs.length} images are there; the same command goes on with the rest`;
    host.emit({ type: 'log', level: 'info', text });
    throw new InterruptedError();
  }
  return jobs.flatMap((job) => results.get(job) ?? []);
}

/** Reads every profile once; of each only names are kept, for there may be a thousand. */
async function checkAll(
  host: Host,
  profiles: readonly string[],
  folder: string | undefined,
): Promise<readonly Job[]> {
  const faults: LocatedDiagnostic[] = [];
  const sources = new Map<string, string>();
  const jobs: Job[] = [];
  const byImage = new Map<string, string>();
  for (const [done, profile] of profiles.entries()) {
    if (host.signal.aborted) throw new InterruptedError();
    host.emit({ type: 'progress', id: 'check', done, total: profiles.length, unit: 'items' });
    try {
      const { plan } = await loadProject(profile);
      const image = defaultImage(plan, folder);
      const other = byImage.get(image);
      if (other !== undefined) {
        throw new UsageError(`${other} and ${profile} would both make ${image}`, {
          hint: 'give each site a name of its own, and name each profile once',
        });
      }
      byImage.set(image, profile);
      jobs.push({ profile, site: plan.site.name, image });
    } catch (error) {
      if (!(error instanceof ProfileError)) throw error;
      faults.push(...error.diagnostics);
      for (const [file, text] of error.sources) sources.set(file, text);
    }
  }
  if (faults.length > 0) throw new ProfileError(faults, sources);
  return jobs;
}

async function buildOne(
  host: Host,
  job: Job,
  options: FleetOptions,
  prepare: Prepare,
): Promise<'built' | 'there'> {
  const project = await loadProject(job.profile);
  const manifest = await manifestOf(project, await lockOf(project));
  if (!options.rebuild && (await isThere(job.image, manifest.id, options.compress))) {
    // A certificate that is soon to end is made anew now, and the image is then older than it.
    await identityOf(host, project);
    if (await newerThanSecrets(job)) return 'there';
  }
  await prepare(project, manifest);
  await buildSite(host, project, { ...options, output: job.image });
  return 'built';
}

/** Whether an image, its map, checksum and report are complete and made of this manifest. */
async function isThere(image: string, manifest: string, compress: SiteOptions['compress']): Promise<boolean> {
  const text = await readTextIfThere(reportPathOf(image));
  if (text === null) return false;
  try {
    const report = JSON.parse(text) as BuildReport;
    const size = async (path: string): Promise<number> => (await stat(path)).size;
    const packed = compress === 'none' ? null : report.image.compressed;
    return (
      report.manifest === manifest &&
      (await size(image)) === report.image.size &&
      (await size(`${image}.bmap`)) > 0 &&
      (await readTextIfThere(`${image}.sha256`))?.split(' ')[0] === report.image.sha256 &&
      (compress === 'none' || (packed !== null && (await size(`${image}.${compress}`)) === packed.size))
    );
  } catch {
    return false;
  }
}

async function newerThanSecrets(job: Job): Promise<boolean> {
  const made = (await stat(job.image)).mtimeMs;
  const folder = secretsFolder(job.profile);
  for (const name of await readdir(folder, { recursive: true })) {
    if ((await stat(join(folder, name))).mtimeMs > made) return false;
  }
  return true;
}

/** Of what one of many sites says, only warnings and what was asked for with --verbose are passed on, with its name. */
function eventsOf(host: Host, job: Job): (event: HostEvent) => void {
  return (event) => {
    if (event.type === 'log' && event.level !== 'info')
      host.emit({ ...event, text: `${job.site}: ${event.text}` });
  };
}

/** The message of a site that failed. */
export function failureText(error: unknown): string {
  if (!(error instanceof CommeshError)) return `this is a bug in commeshctl: ${String(error)}`;
  return error.hint === undefined ? error.message : `${error.message}; ${error.hint}`;
}
