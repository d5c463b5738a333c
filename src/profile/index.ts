import { located, type Diagnostic, type LocatedDiagnostic } from '../diagnostics/diagnostic.js';
import { ProfileError } from '../diagnostics/errors.js';
import { ordered } from '../diagnostics/render.js';
import type { Service, Site } from '../services/contract.js';
import type { Locator } from './locate.js';
import {
  decodeProfile,
  NOTHING_BESIDE,
  readProfile,
  type Beside,
  type ProfileDocument,
  type ReadResult,
} from './read.js';
import { RULES } from './rules/index.js';
import { readSisters } from './sisters.js';
import { checkSchema } from './schema.js';
import { buildSite } from './site.js';
import type { Written } from './written.js';

/** A profile that holds together. */
export interface LoadedProfile {
  readonly site: Site;
  /** Secret values the person wrote, by secret id. Never print, store in plans or log. */
  readonly given: Readonly<Record<string, string>>;
  readonly document: ProfileDocument;
  readonly warnings: readonly LocatedDiagnostic[];
  /** Where a setting stands: for faults found later (plan, cache, verify). */
  readonly locate: Locator;
  /** Gives later diagnostics their places, in the order of the file. */
  tell(diagnostics: readonly Diagnostic[]): LocatedDiagnostic[];
  /** The error that ends a command with these diagnostics. */
  error(diagnostics: readonly Diagnostic[]): ProfileError;
}

/** Everything there is to say about a profile. */
export interface CheckedProfile {
  readonly diagnostics: readonly LocatedDiagnostic[];
  /** null when there is an error. */
  readonly profile: LoadedProfile | null;
  /** The profile's text by file name, secrets covered, to show beside diagnostics. */
  readonly sources: ReadonlyMap<string, string>;
}

function check(read: ReadResult, file: string, services: readonly Service[]): CheckedProfile {
  const sources = new Map([[file, read.shown]]);
  const { document } = read;
  if (document === null) return { diagnostics: ordered(read.faults), profile: null, sources };
  const tell = (diagnostics: readonly Diagnostic[]): LocatedDiagnostic[] =>
    ordered(diagnostics.map((one) => located(one, document.locate(one.path, one.at ?? 'value'))));

  const misfits = checkSchema(document.data, services);
  if (misfits.length > 0) return { diagnostics: tell(misfits), profile: null, sources };

  const written = document.data as unknown as Written;
  const { sisters, faults } = readSisters(written, document.beside);
  const { site, given } = buildSite(written, services, sisters);
  const own = [...RULES.flatMap((rule) => rule(written, site)), ...faults];
  // What the profile's own rules refuse needs no second opinion from a service.
  const refused = new Set(own.filter((one) => one.severity === 'error').map((one) => one.path.join('\n')));
  const further = services
    .filter((service) => service.id in site.services)
    .flatMap((service) => service.rules?.(site, site.services[service.id]) ?? [])
    .filter((one) => !refused.has(one.path.join('\n')));
  const diagnostics = tell([...own, ...further]);
  if (diagnostics.some((one) => one.severity === 'error')) return { diagnostics, profile: null, sources };
  return {
    diagnostics,
    sources,
    profile: {
      site,
      given,
      document,
      warnings: diagnostics,
      locate: document.locate,
      tell,
      error: (more) => new ProfileError(tell(more), sources),
    },
  };
}

/** Reads a profile and says everything about it. Throws nothing for a person's mistake. */
export async function checkProfile(
  path: string,
  services: readonly Service[],
  now: number | null = null,
): Promise<CheckedProfile> {
  return check(await readProfile(path, now), path, services);
}

/** The same for text that is not in a file yet (`init` tries what it is about to write). Pure. */
export function checkProfileText(
  file: string,
  text: string,
  services: readonly Service[],
  beside: Beside = NOTHING_BESIDE,
): CheckedProfile {
  const read = decodeProfile(file, new TextEncoder().encode(text));
  const document = read.document === null ? null : { ...read.document, beside };
  return check({ ...read, document }, file, services);
}

/** Reads a profile. Throws ProfileError with every diagnostic when there is an error in it. */
export async function loadProfile(
  path: string,
  services: readonly Service[],
  now: number | null = null,
): Promise<LoadedProfile> {
  const { profile, diagnostics, sources } = await checkProfile(path, services, now);
  if (profile === null) throw new ProfileError(diagnostics, sources);
  return profile;
}

export type { Locator } from './locate.js';
export type { ProfileDocument } from './read.js';
