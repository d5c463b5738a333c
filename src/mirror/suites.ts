import type { ProfilePath } from '../diagnostics/diagnostic.js';
import type { PackageSet, PlanSource } from '../plan/types.js';
import type { Request } from './request.js';

type Wish = Pick<PackageSet['packages'][number], 'suite' | 'archive'>;

/** A flat repository: its suite is a folder with the index and the packages, and it has no components (sources.list(5)). */
export function isFlat(suite: string): boolean {
  return suite.endsWith('/');
}

/** Folder of a suite's index below the archive's root, with a slash at its end; '' is the root itself. */
export function suiteFolder(suite: string): string {
  if (!isFlat(suite)) return `dists/${suite}/`;
  return suite.replace(/^(?:\.?\/)+/, '');
}

/** An archive of another publisher: it has an address of its own, and no mirror of Debian carries it. */
export function isForeign(source: Pick<PlanSource, 'uri'>): boolean {
  return source.uri !== undefined;
}

/** The wish names this very source. */
export function comesFrom(wish: Wish, source: PlanSource): boolean {
  if (wish.archive !== undefined) return source.archive === wish.archive;
  return wish.suite !== undefined && wish.suite === source.suite && !isForeign(source);
}

/** Where a wish wants its package from, in words; null: from wherever the newest is. */
export function originOf(wish: Wish): string | null {
  return wish.archive === undefined ? (wish.suite ?? null) : `the archive "${wish.archive}"`;
}

/** The setting to look at when something is wrong with an archive. */
export function becauseOfArchive(request: Pick<Request, 'sources'>, archive: string): ProfilePath {
  return request.sources.find((source) => source.archive === archive)?.because ?? ['mirror'];
}
