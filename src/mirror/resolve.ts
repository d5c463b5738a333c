import type { ProfilePath } from '../diagnostics/diagnostic.js';
import { WorkError, type CommeshError } from '../diagnostics/errors.js';
import type { Host } from '../host/host.js';
import type { Tools } from '../host/tools.js';
import type { PackageSet, PlanSource } from '../plan/types.js';
import type { Arch } from '../services/contract.js';
import { isLibrary } from '../host/deb.js';
import type { CheckedSource } from './indexes.js';
import { isLockPath } from './lock.js';
import { toRecord, type PackageRecord, type PackagesIndex } from './packages.js';
import { isExtractOnly, requestDigest, wishesWithin, type Request } from './request.js';
import { askApt, type Question } from './solver.js';
import { becauseOfArchive, comesFrom, isForeign, originOf } from './suites.js';
import type { Lock, LockPackage } from './types.js';
import { compareVersions } from './version.js';

/**
 * Resolves every set of the request with apt itself, which runs in a tools tree, against indexes that are checked.
 * @throws WorkError, with the profile path of the package wish or of the mirror, when something cannot be had.
 */
export async function resolveSets(
  host: Host,
  request: Request,
  checked: readonly CheckedSource[],
  tools: Tools,
): Promise<Lock> {
  const sets: Record<string, readonly LockPackage[]> = {};
  const resolve = async (wanted: readonly PackageSet[]): Promise<void> => {
    const questions = wanted.map((set) => questionOf(request, set, checked));
    const asked = questions.filter(({ names }) => names.length > 0);
    const answers = await askApt(host, tools, checked, asked);
    for (const question of questions) {
      const answer = answers[asked.indexOf(question)];
      if (answer !== undefined && 'complaint' in answer)
        throw await refusal(host, tools, question, checked, answer.complaint);
      sets[question.set.id] = lockSet(request, question, checked, answer?.found ?? []);
    }
  };
  await resolve(request.sets.filter((set) => set.within === undefined));
  const later = request.sets.flatMap((set) =>
    set.within === undefined ? [] : [wishesWithin(set, sets[set.within] ?? [])],
  );
  if (later.length > 0) await resolve(later);
  const indexes = checked.map(({ index }) => index);
  return {
    format: 1,
    request: requestDigest(request),
    epoch: Math.max(...indexes.map((index) => index.date)),
    indexes,
    sets,
  };
}

/**
 * The newest version of some packages and of the libraries they need, the first alternative that there is: for a tree that is
 * only unpacked, to run these programs and no maintainer script. apt is not there yet to tell.
 * @throws WorkError when one of the names is in no list.
 */
export function firstPackages(
  names: readonly string[],
  arch: Arch,
  checked: readonly CheckedSource[],
): LockPackage[] {
  const main = checked[0]?.source.archive;
  const usual = checked.filter(
    ({ source }) =>
      source.use === 'all' && (source.archive === main || source.archive === `${main}-security`),
  );
  const newest = (name: string): LockPackage | null => {
    let best: { record: PackageRecord; source: PlanSource } | null = null;
    for (const { source, packages } of usual) {
      for (const stanza of packages.get(arch)?.stanzas(name) ?? []) {
        const record = toRecord(stanza);
        if (best === null || compareVersions(record.version, best.record.version) > 0)
          best = { record, source };
      }
    }
    return best && toLockPackage(best.record, best.source, undefined);
  };
  const found = new Map<string, LockPackage>();
  const queue: (readonly string[])[] = names.map((name) => [name]);
  for (let choices = queue.shift(); choices !== undefined; choices = queue.shift()) {
    const providers = choices.flatMap((name) =>
      usual.flatMap(({ packages }) => packages.get(arch)?.providers(name) ?? []),
    );
    const candidates = [...choices, ...providers];
    if (candidates.some((name) => found.has(name))) continue;
    const one = candidates.map(newest).find((candidate) => candidate !== null);
    if (one === undefined || one === null) {
      if (names.includes(choices[0] ?? ''))
        throw new WorkError(`there is no package "${choices[0]}" for ${arch} in the archives of this kit`, {
          hint: 'is it a mirror of a current Debian?',
          because: ['mirror'],
        });
      continue;
    }
    found.set(one.name, one);
    for (const { packages } of usual) {
      const stanza = packages
        .get(arch)
        ?.stanzas(one.name)
        .find((text) => toRecord(text).sha256 === one.sha256);
      if (stanza !== undefined)
        queue.push(...toRecord(stanza).alternatives.filter((choices) => choices.some(isLibrary)));
    }
  }
  return [...found.values()].sort((a, b) => compare(a.name, b.name));
}

/** Code-unit order, the same on every host. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function packagesOf(
  checked: readonly CheckedSource[],
  source: PlanSource,
  arch: Arch,
): PackagesIndex | undefined {
  return checked.find((candidate) => candidate.source === source)?.packages.get(arch);
}

/** @throws WorkError for a wish no list can fulfil. */
function questionOf(
  request: Request,
  set: PackageSet,
  checked: readonly CheckedSource[],
): Question & { base: ReadonlySet<string>; wishes: readonly string[] } {
  for (const wish of set.packages) checkWish(wish, set.arch, request, checked);
  const wishes = [...new Set(set.packages.map((wish) => wish.name))];
  const extract = isExtractOnly(set.id);
  const main = request.sources[0];
  // What mmdebstrap would install in any case, from the base's own archive only.
  const base = new Set<string>();
  if (!extract) {
    for (const source of request.sources) {
      if (source.use === 'only' || source.archive !== main?.archive) continue;
      for (const name of packagesOf(checked, source, set.arch)?.base ?? []) base.add(name);
    }
  }
  const names = [...new Set([...wishes, ...base])].sort(compare);
  return { verb: extract ? 'download' : 'install', arch: set.arch, names, set, base, wishes };
}

/** The lock's entries for what apt answered. */
function lockSet(
  request: Request,
  { set, base, wishes }: ReturnType<typeof questionOf>,
  checked: readonly CheckedSource[],
  found: readonly { archive: string; path: string; name: string }[],
): LockPackage[] {
  const records = found.map(({ archive, path, name }) => {
    // The same file may stand in several suites of an archive; the first one of the plan counts.
    const homes = request.sources.filter(
      (source) => source.archive === archive && packagesOf(checked, source, set.arch)?.record(name, path),
    );
    const home = homes[0];
    const record = home && packagesOf(checked, home, set.arch)?.record(name, path);
    if (!home || !record) throw new Error(`apt named ${path}, which no index of ${archive} lists`);
    return { record, homes, home };
  });
  for (const wish of set.packages) {
    const origin = originOf(wish);
    if (origin === null) continue;
    const got = records.find(({ record }) => record.name === wish.name);
    if (got !== undefined && !got.homes.some((home) => comesFrom(wish, home))) {
      throw new WorkError(
        `the package "${wish.name}" is to come from ${origin}, but apt takes it from ${got.home.suite}`,
        {
          hint: `is it in ${origin} for ${set.arch}?`,
          because: wish.because,
        },
      );
    }
  }
  const reasons = attribute(
    records.map(({ record }) => record),
    base,
    wishes,
  );
  return records
    .map(({ record, home }) => toLockPackage(record, home, reasons.get(record.name)))
    .sort((a, b) => compare(a.name, b.name) || compare(a.arch, b.arch));
}

function toLockPackage(record: PackageRecord, home: PlanSource, reason: string | undefined): LockPackage {
  if (!/^[0-9a-f]{64}$/.test(record.sha256) || !Number.isSafeInteger(record.size)) {
    throw new WorkError(`the index of "${home.archive}" gives no SHA-256 for ${record.name}`, {
      hint: 'only archives with SHA-256 digests can be used',
      because: becauseOfArchive({ sources: [home] }, home.archive),
    });
  }
  if (!isLockPath(record.filename)) {
    throw new WorkError(`the index of "${home.archive}" gives ${record.name} a path that cannot be used`, {
      hint: `it is ${JSON.stringify(record.filename)}; a path of plain characters that stays below the archive is needed`,
      because: becauseOfArchive({ sources: [home] }, home.archive),
    });
  }
  return {
    name: record.name,
    version: record.version,
    arch: record.arch,
    path: record.filename,
    size: record.size,
    sha256: record.sha256,
    source: record.source,
    sourceVersion: record.sourceVersion,
    archive: home.archive,
    suite: home.suite,
    installedKiB: record.installedKiB,
    ...(reason === undefined ? {} : { for: reason }),
  };
}

/** A suite or archive the plan has no source for, or a package it does not have. */
function checkWish(
  wish: PackageSet['packages'][number],
  arch: Arch,
  request: Request,
  checked: readonly CheckedSource[],
): void {
  const origin = originOf(wish);
  if (origin === null) return;
  const homes = request.sources.filter((source) => comesFrom(wish, source));
  if (homes.length === 0) {
    throw new WorkError(
      `the package "${wish.name}" is to come from ${origin}, which is no source of this kit`,
      {
        because: wish.because,
      },
    );
  }
  if (!homes.some((source) => packagesOf(checked, source, arch)?.has(wish.name))) {
    const foreign = homes.some(isForeign);
    throw new WorkError(`there is no package "${wish.name}" in ${origin}${foreign ? ` for ${arch}` : ''}`, {
      hint: foreign
        ? `its publisher may have renamed or withdrawn it: a newer commeshctl may know, or take out what asks for it (${wish.because.join('.')})`
        : 'check its spelling; a package may have been renamed or removed',
      because: wish.because,
    });
  }
}

/** For each package the wish that leads to it; the base and what it needs have none. */
function attribute(
  records: readonly PackageRecord[],
  base: ReadonlySet<string>,
  wishes: readonly string[],
): Map<string, string | undefined> {
  const providers = new Map<string, PackageRecord[]>();
  for (const record of records) {
    for (const name of [record.name, ...record.provides]) {
      const list = providers.get(name) ?? [];
      list.push(record);
      providers.set(name, list);
    }
  }
  const reasons = new Map<string, string | undefined>();
  const reach = (start: Iterable<string>, reason: string | undefined): void => {
    const queue = [...start];
    for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
      for (const record of providers.get(name) ?? []) {
        if (reasons.has(record.name)) continue;
        reasons.set(record.name, reason);
        queue.push(...record.depends);
      }
    }
  };
  // A wish is told for itself, even when another one needs it, too.
  for (const wish of wishes) {
    const record = records.find((candidate) => candidate.name === wish);
    if (record !== undefined && !base.has(wish)) reasons.set(wish, wish);
  }
  reach(base, undefined);
  for (const wish of wishes) {
    const record = records.find((candidate) => candidate.name === wish);
    reach(record === undefined ? [wish] : record.depends, wish);
  }
  return reasons;
}

/** apt's refusal, told with the wish it is about. */
async function refusal(
  host: Host,
  tools: Tools,
  question: Question,
  checked: readonly CheckedSource[],
  complaint: string,
): Promise<CommeshError> {
  const { set } = question;
  const unknown =
    /Unable to locate package (\S+)/.exec(complaint)?.[1] ??
    /Package '?([^'\s]+)'? has no installation candidate/.exec(complaint)?.[1];
  if (unknown !== undefined) {
    const name = unknown.replace(/:.*$/, '');
    return new WorkError(`there is no package "${name}" for ${set.arch} in the archives of this kit`, {
      hint: 'check its spelling; a package may have been renamed or removed',
      ...because(set, name),
    });
  }
  // Which wish is it? The first one that cannot be had alone.
  const alone = set.packages.map((wish): Question => ({ ...question, verb: 'install', names: [wish.name] }));
  const answers = await askApt(host, tools, checked, alone);
  for (const [at, wish] of set.packages.entries()) {
    const answer = answers[at];
    if (answer !== undefined && 'complaint' in answer) {
      return new WorkError(`the package "${wish.name}" cannot be installed: ${unmet(answer.complaint)}`, {
        hint:
          originOf(wish) === null
            ? 'the mirror may be in the middle of an update; try again in some minutes'
            : `it comes from ${originOf(wish)}; what it needs from there must be named with ${wish.archive === undefined ? 'that suite' : 'that archive'}, too`,
        because: wish.because,
      });
    }
  }
  return new WorkError(
    `the packages of the set "${set.id}" cannot be installed together: ${unmet(complaint)}`,
    {
      because: set.packages[0]?.because ?? ['services'],
    },
  );
}

function because(set: PackageSet, name: string): { because: ProfilePath } {
  const wish = set.packages.find((candidate) => candidate.name === name);
  return { because: wish?.because ?? ['base'] };
}

/** The lines of apt that say what is missing; its errors where none does. */
function unmet(complaint: string): string {
  const lines = complaint.split('\n').map((line) => line.trim());
  // Numbered ones are of the solver of apt 3.
  const reasons = lines.filter((line) => / : |Depends:|Conflicts:|Breaks:|^\d+\. /.test(line));
  const told = reasons.length > 0 ? reasons : lines.filter((line) => line.startsWith('E: '));
  return told.slice(0, 6).join('\n') || complaint.slice(0, 400);
}
