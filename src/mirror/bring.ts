/** Wheels and npm packages: which, and from where. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { WorkError } from '../diagnostics/errors.js';
import { writeAtomic } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import type { Tools } from '../host/tools.js';
import {
  artifactPath,
  artifactsOf,
  becauseOfArtifact,
  sourceOf,
  type ArtifactSource,
  type ArtifactWishes,
} from './artifacts.js';
import { NPM_SET, wheelsSet } from '../services/contract.js';
import type { Cache } from './cache.js';
import type { HttpClient } from './http.js';
import { each } from './parallel.js';
import type { MirrorSettings, ArchivePlace } from './sources/apt.js';
import { findTarball, locateNpm, resolveTarball, type NpmPlace } from './sources/npm.js';
import {
  findWheels,
  locateWheels,
  readPipSettings,
  resolveWheels,
  usualIndex,
  type PipConnection,
  type WheelPlace,
} from './sources/pip.js';
import type { NetworkSettings } from './sources/proxy.js';
import type { Item } from './transfer.js';
import type { Lock, LockArtifact } from './types.js';

/** How the other sources are reached. */
export interface Reach {
  readonly client: HttpClient;
  readonly network: NetworkSettings;
  readonly settings: MirrorSettings;
  readonly backoffMs: number;
  /** The tools tree of a lock whose packages are in the cache. */
  readonly tools: () => Promise<Tools>;
}

/** Places that are looked up only when something is wanted from them. */
class Places {
  #wheels: Promise<WheelPlace> | null = null;
  #npm: Promise<NpmPlace> | null = null;
  #pip: Promise<PipConnection> | null = null;

  constructor(
    private readonly host: Host,
    private readonly reach: Reach,
  ) {}

  pip(): Promise<PipConnection> {
    return (this.#pip ??= readPipSettings(this.host).then((pip) => ({ ...this.reach, pip })));
  }

  wheels(): Promise<WheelPlace> {
    return (this.#wheels ??= this.pip().then(({ pip }) =>
      locateWheels(this.reach.settings, pip, async () => usualIndex(await this.reach.tools())),
    ));
  }

  npm(): Promise<NpmPlace> {
    return (this.#npm ??= locateNpm(this.host, this.reach.settings));
  }

  /** As a message names it. */
  async shown(source: ArtifactSource): Promise<string> {
    const place = await (source === 'npm' ? this.npm() : this.wheels());
    if ('folder' in place) return `file:${place.folder}`;
    return 'index' in place ? place.index : place.registry;
  }
}

/**
 * The lock's entries of everything that is asked of other sources.
 * @throws WorkError with the profile path that asked when something cannot be had.
 */
export async function resolveArtifacts(
  host: Host,
  wishes: ArtifactWishes,
  cache: Cache,
  reach: Reach,
): Promise<Readonly<Record<string, readonly LockArtifact[]>>> {
  const places = new Places(host, reach);
  const sets: Record<string, readonly LockArtifact[]> = {};
  for (const wish of wishes.wheels) {
    sets[wheelsSet(wish.id)] = await timed(
      host,
      `resolve-${wheelsSet(wish.id)}`,
      `Work out which Python wheels ${wish.id} needs`,
      async () =>
        resolveWheels(
          host,
          await reach.tools(),
          wish,
          wishes.arch,
          await places.wheels(),
          await places.pip(),
        ),
      (list) => ({ note: `${list.length} wheels` }),
    );
  }
  if (wishes.tarballs.length > 0) {
    const locked: LockArtifact[] = [];
    for (const wish of wishes.tarballs) {
      const { locked: one, bytes } = await resolveTarball(host, wish, await places.npm(), reach);
      const path = artifactPath(cache.folder, NPM_SET, one);
      await mkdir(dirname(path), { recursive: true });
      await writeAtomic(path, bytes);
      await cache.note(path, one.sha256);
      locked.push(one);
    }
    sets[NPM_SET] = locked.sort((a, b) => (a.name < b.name ? -1 : 1));
  }
  return sets;
}

/** What the cache lacks of them, and the places it is to be fetched from. */
export interface MissingArtifacts {
  readonly items: readonly Item[];
  readonly places: readonly ArchivePlace[];
}

/** Every file of other sources the lock names. */
export function artifactFiles(lock: Lock): readonly LockArtifact[] {
  return artifactsOf(lock).map(({ one }) => one);
}

/**
 * Looks for what is missing of them.
 * @param reach is asked for only when something is.
 * @throws WorkError when a source does not have a file of the lock.
 */
export async function missingArtifacts(
  host: Host,
  lock: Lock,
  wishes: ArtifactWishes | undefined,
  cache: Cache,
  reach: () => Promise<Reach>,
): Promise<MissingArtifacts> {
  const missing: { set: string; one: LockArtifact }[] = [];
  await each(artifactsOf(lock), 8, host.signal, async (entry) => {
    const state = await cache.check(artifactPath(cache.folder, entry.set, entry.one), entry.one, false);
    if (state !== 'good') missing.push(entry);
  });
  if (missing.length === 0) return { items: [], places: [] };
  const way = await reach();
  const places = new Places(host, way);
  const because = ({ set, one }: (typeof missing)[number]): Item['because'] =>
    becauseOfArtifact(wishes, set, one);
  const items: Item[] = [];
  const add = (entry: (typeof missing)[number], urls: readonly URL[]): void => {
    const { set, one } = entry;
    items.push({
      title: `${one.name} ${one.version}`,
      kind: 'package',
      archive: sourceOf(set),
      path: one.file,
      size: one.size,
      sha256: one.sha256,
      because: because(entry),
      target: artifactPath(cache.folder, set, one),
      urls,
    });
  };
  const told = (entry: (typeof missing)[number]) => (error: unknown) => {
    throw error instanceof WorkError && error.because === undefined
      ? new WorkError(error.message, {
          ...(error.hint === undefined ? {} : { hint: error.hint }),
          because: because(entry),
          cause: error,
        })
      : error;
  };
  const wheels = missing.filter(({ set }) => sourceOf(set) === 'pypi');
  await each(wheels, 8, host.signal, async (entry) => {
    const [found] = await findWheels(host, [entry.one], await places.wheels(), await places.pip()).catch(
      told(entry),
    );
    add(entry, found?.urls ?? []);
  });
  for (const entry of missing.filter(({ set }) => sourceOf(set) === 'npm'))
    add(entry, await findTarball(host, entry.one, await places.npm(), way).catch(told(entry)));
  const sources = [...new Set(items.map(({ archive }) => archive as ArtifactSource))];
  return {
    items,
    places: await Promise.all(
      sources.map(async (archive) => ({
        archive,
        uri: await places.shown(archive),
        keyring: '',
        foreign: true,
        because: items.find((one) => one.archive === archive)?.because ?? ['services'],
      })),
    ),
  };
}
