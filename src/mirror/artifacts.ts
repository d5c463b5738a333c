import { join } from 'node:path';
import type { ProfilePath } from '../diagnostics/diagnostic.js';
import type { Planned } from '../plan/types.js';
import { NPM_SET, wheelsSet, type Arch, type TarballWish, type WheelsWish } from '../services/contract.js';
import type { Lock, LockArtifact } from './types.js';

/** What a plan asks of other sources than apt archives. */
export interface ArtifactWishes {
  readonly arch: Arch;
  readonly wheels: readonly Planned<WheelsWish>[];
  readonly tarballs: readonly Planned<TarballWish>[];
}

/** Short names of the two kinds of source, as in `--archive NAME=URL`. */
export type ArtifactSource = 'pypi' | 'npm';

/** Where the files of a set come from. */
export function sourceOf(setId: string): ArtifactSource {
  return setId === NPM_SET ? 'npm' : 'pypi';
}

/** The same project under any of its spellings (PyPA "Names and normalization"). */
export function normalised(project: string): string {
  return project.replace(/[-_.]+/g, '-').toLowerCase();
}

/** Folder of a source in the cache. Below it: `<project>/<file>`. */
export function artifactsFolder(cache: string, source: ArtifactSource): string {
  return join(cache, source === 'npm' ? 'npm' : 'wheels');
}

/** Where a file lies in the cache. */
export function artifactPath(cache: string, setId: string, one: Pick<LockArtifact, 'name' | 'file'>): string {
  return join(artifactsFolder(cache, sourceOf(setId)), one.name, one.file);
}

/** Every file of the lock, with its set. */
export function artifactsOf(lock: Lock): readonly { readonly set: string; readonly one: LockArtifact }[] {
  return Object.entries(lock.artifacts ?? {}).flatMap(([set, list]) => list.map((one) => ({ set, one })));
}

/** The profile path that asked for a file of the lock. */
export function becauseOfArtifact(
  wishes: ArtifactWishes | undefined,
  setId: string,
  one: Pick<LockArtifact, 'name'>,
): ProfilePath {
  const wish =
    setId === NPM_SET
      ? wishes?.tarballs.find(({ name }) => name === one.name)
      : wishes?.wheels.find(({ id }) => wheelsSet(id) === setId);
  return wish?.because ?? ['services'];
}

/** The part of the request's digest that is about these; null when nothing is asked for. */
export function artifactsAsked(wishes: ArtifactWishes | undefined): object | null {
  if (wishes === undefined || wishes.wheels.length + wishes.tarballs.length === 0) return null;
  return {
    arch: wishes.arch,
    wheels: wishes.wheels.map(({ id, requirements, provided }) => ({
      id,
      requirements: [...requirements].sort(),
      provided: [...provided].sort(),
    })),
    tarballs: wishes.tarballs.map(({ name, version }) => `${name}@${version}`).sort(),
  };
}
