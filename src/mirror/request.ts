import { canonicalJson, sha256 } from '../host/files.js';
import type { PackageSet, PlanSource } from '../plan/types.js';
import type { LockPackage } from './types.js';
import type { Arch } from '../services/contract.js';
import { artifactsAsked, type ArtifactWishes } from './artifacts.js';

/** The part of a plan that decides which packages are fetched. */
export interface Request {
  readonly sources: readonly PlanSource[];
  readonly sets: readonly PackageSet[];
  /** Asked of other sources than apt archives. */
  readonly artifacts?: ArtifactWishes;
}

/** Only unpacked, never installed: no closure, no base packages. */
export function isExtractOnly(setId: string): boolean {
  return setId === 'boot' || setId.startsWith('boot-');
}

/**
 * Digest of what is asked for: sources in their order (it decides between equal versions), package names of each set with the
 * suite or archive they shall come from. Who asked (`because`, `service`) and where it is fetched (`mirror`) do not count.
 */
export function requestDigest(request: Request): string {
  const artifacts = artifactsAsked(request.artifacts);
  return sha256(
    canonicalJson({
      format: 1,
      ...(artifacts === null ? {} : { artifacts }),
      sources: request.sources.map(({ archive, suite, components, fingerprints, use }) => ({
        archive,
        suite,
        components,
        fingerprints,
        use,
      })),
      sets: Object.fromEntries(
        request.sets.map((set) => [
          set.id,
          {
            arch: set.arch,
            ...(set.within === undefined ? {} : { within: set.within }),
            packages: [
              ...new Set(
                set.packages.map(
                  ({ name, suite, archive }) =>
                    `${name}/${suite ?? ''}${archive === undefined ? '' : `@${archive}`}`,
                ),
              ),
            ].sort(),
          },
        ]),
      ),
    }),
  );
}

/**
 * The wishes of a set with `within`, spelled out: those names that `held` holds. Packages of every architecture are left out
 * where a name has a `*`: they hold nothing to run.
 * @param held the resolved packages of the set it looks into.
 */
export function wishesWithin(
  set: PackageSet,
  held: readonly Pick<LockPackage, 'name' | 'arch'>[],
): PackageSet {
  const packages = set.packages.flatMap((wish) => {
    if (!wish.name.includes('*')) return held.some(({ name }) => name === wish.name) ? [wish] : [];
    const [before = '', after = ''] = wish.name.split('*');
    return held
      .filter(({ name, arch }) => arch !== 'all' && name.startsWith(before) && name.endsWith(after))
      .map(({ name }) => ({ ...wish, name }));
  });
  const { within: _within, ...rest } = set;
  return { ...rest, packages };
}

/**
 * The sets of a lock or request that a machine needs: programs run on the build machine are there for both architectures, so
 * that a lock is the same wherever it is made, and only its own are fetched.
 */
export function setsForHost<T extends { readonly id: string }>(sets: readonly T[], hostArch: Arch): T[] {
  return sets.filter(({ id }) => !/^(?:tools|twins)-/.test(id) || id.endsWith(`-${hostArch}`));
}
