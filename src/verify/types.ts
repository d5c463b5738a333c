import type { ProfilePath } from '../diagnostics/diagnostic.js';

export type CheckState = 'pass' | 'warn' | 'fail' | 'skip';

export interface CheckResult {
  /** Stable id: `<kind>` or `<kind>/<what>`. */
  readonly id: string;
  readonly title: string;
  readonly state: CheckState;
  /** What was found, in words. */
  readonly reason: string;
  /** What to do, for warn and fail. */
  readonly hint?: string;
  readonly vantage: 'inside' | 'outside';
  readonly because: ProfilePath;
  readonly milliseconds: number;
}

/** What `verify` found; holds no secret. */
export interface Report {
  readonly format: 1;
  readonly site: string;
  readonly domain: string;
  readonly address: string;
  /** ISO 8601, laptop's clock. */
  readonly started: string;
  readonly milliseconds: number;
  readonly counts: Readonly<Record<CheckState, number>>;
  readonly results: readonly CheckResult[];
}

/** How the kit's ports are reached from here when it is not on this machine's network (QEMU user networking). */
export interface Forwards {
  /** Usually 127.0.0.1. */
  readonly address: string;
  /** Port on the kit → port at `address`. */
  readonly tcp: Readonly<Record<string, number>>;
  readonly udp: Readonly<Record<string, number>>;
}
