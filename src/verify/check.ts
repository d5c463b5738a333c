import type { ProfilePath } from '../diagnostics/diagnostic.js';
import type { Host } from '../host/host.js';
import type { Ssh } from '../host/ssh.js';
import type { Plan } from '../plan/types.js';
import type { TemplateData } from '../services/contract.js';
import type { Dialer } from './dialer.js';
import type { Facts } from './facts.js';
import type { CheckState } from './types.js';

/** One thing a check found. The runner adds where it was seen from, who asked for it, and the time it took. */
export interface Finding {
  /** Part of the id after the kind; empty for the check as a whole. */
  readonly what: string;
  readonly title: string;
  readonly state: CheckState;
  /** What was found, in words. */
  readonly reason: string;
  /** What to do, for warn and fail. */
  readonly hint?: string;
  /** The setting that asked for it, when it is not the one that asked for the check. */
  readonly because?: ProfilePath;
}

/** The secrets of the site that a check may need. Never part of a finding. */
export interface SecretValues {
  /** The value, or undefined when the site has no such secret. */
  value(id: string): string | undefined;
}

export interface CheckOptions {
  readonly [key: string]: TemplateData;
}

/** What a check may see and use. */
export interface CheckContext {
  readonly host: Host;
  readonly plan: Plan;
  readonly secrets: SecretValues;
  /** The site CA's certificate, PEM. */
  readonly caPem: string;
  readonly dialer: Dialer;
  /** Aborted by Ctrl-C or when the check has run too long. */
  readonly signal: AbortSignal;
  /** Aborted by Ctrl-C only: for what outlives one check. */
  readonly interrupted: AbortSignal;
  /** The shared connection, made on first use. */
  ssh(): Promise<Ssh>;
  /** What one script saw on the kit, gathered once for all checks. */
  facts(): Promise<Facts>;
  /** A value several checks share, made by whichever comes first. */
  once<T>(key: string, make: () => Promise<T>): Promise<T>;
  /** Undoes what a check made on the kit; run after all checks, also when they fail or are interrupted. */
  cleanup(action: (undo: Undo) => Promise<void>): void;
}

/** What cleaning up may use after Ctrl-C, when the shared connection is gone. */
export interface Undo {
  readonly signal: AbortSignal;
  /** The person pressed Ctrl-C: be quick, other connections may be half dead. */
  readonly interrupted: boolean;
  ssh(): Promise<Ssh>;
}

export interface Check {
  /** The name a service asks for it by; the file below `checks/` has the same name. */
  readonly kind: string;
  readonly vantage: 'inside' | 'outside';
  /** Run on every kit, without a service asking. */
  readonly always: boolean;
  /** In words, for the progress line. */
  readonly title: string;
  /** Shell lines whose output `context.facts()` holds; the runner sends the probes of all checks as one script. */
  probe?(plan: Plan, options: CheckOptions): string;
  run(context: CheckContext, options: CheckOptions): Promise<readonly Finding[]>;
}

type Extra = { hint?: string; because?: ProfilePath };

const finding =
  (state: CheckState) =>
  (what: string, title: string, reason: string, extra: Extra = {}): Finding => ({
    what,
    title,
    state,
    reason,
    ...extra,
  });

export const pass = finding('pass');
export const warn = finding('warn');
export const fail = finding('fail');
export const skip = finding('skip');

/** The message of anything thrown. */
export function words(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return words(error.errors[0]);
  return error instanceof Error ? error.message || error.name : String(error);
}

/** A list in words: "a", "a and b", "a, b and c"; at most `most` of them are named. */
export function list(items: readonly string[], most = 5): string {
  const shown = items.slice(0, most);
  const more = items.length - shown.length;
  if (more > 0) return `${shown.join(', ')} and ${more} more`;
  return shown.length < 2 ? (shown[0] ?? '') : `${shown.slice(0, -1).join(', ')} and ${shown.at(-1)}`;
}

/** `1 file`, `3 files`. */
export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}
