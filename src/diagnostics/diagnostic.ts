/** Where in a profile something stands: keys and list positions from the root, e.g. `['network', 'wifi', 'ssid']`. */
export type ProfilePath = readonly (string | number)[];

/** note: nothing is wrong, but a person should know before they hand the kit over. */
export type Severity = 'error' | 'warning' | 'note';

/** One thing to say about a profile. `path` is located (file:line:col) by the profile module, never by the author. */
export interface Diagnostic {
  readonly severity: Severity;
  /** Stable, kebab-case, grouped by part: `profile/unknown-setting`, `plan/port-conflict`. */
  readonly code: string;
  /** A sentence a volunteer understands. */
  readonly message: string;
  /** What to do about it. */
  readonly hint?: string;
  readonly path: ProfilePath;
  /** Point at the key rather than at its value. */
  readonly at?: 'key' | 'value';
}

/** A diagnostic that knows its place in a file. Lines and columns start at 1. */
export interface LocatedDiagnostic extends Diagnostic {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Length of the underlined text, at least 1. */
  readonly length: number;
}

/** An error diagnostic. */
export function fault(code: string, message: string, path: ProfilePath, hint?: string): Diagnostic {
  return { severity: 'error', code, message, path, ...(hint === undefined ? {} : { hint }) };
}

/** A warning diagnostic. */
export function warning(code: string, message: string, path: ProfilePath, hint?: string): Diagnostic {
  return { severity: 'warning', code, message, path, ...(hint === undefined ? {} : { hint }) };
}

/** A note diagnostic. */
export function note(code: string, message: string, path: ProfilePath, hint?: string): Diagnostic {
  return { severity: 'note', code, message, path, ...(hint === undefined ? {} : { hint }) };
}

/** A place in a file. Lines and columns start at 1, counted in characters. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly length: number;
}

/** Tells where in the profile a diagnostic stands. */
export function located(diagnostic: Diagnostic, place: Place): LocatedDiagnostic {
  return { ...diagnostic, ...place };
}
