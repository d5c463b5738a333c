import type { LocatedDiagnostic, ProfilePath } from './diagnostic.js';

/**
 * The family of errors that end a command with words instead of a stack trace.
 * Anything else that is thrown is a bug and is reported as one.
 */
export abstract class CommeshError extends Error {
  /** 1: the work failed. 2: the profile or the usage is wrong. */
  abstract readonly exitCode: 1 | 2;
  /** What to do. */
  readonly hint?: string;
  /** The place in the profile that asked for what failed, if one did. */
  readonly because?: ProfilePath;

  constructor(message: string, extra: { hint?: string; because?: ProfilePath; cause?: unknown } = {}) {
    super(message, extra.cause === undefined ? undefined : { cause: extra.cause });
    this.name = new.target.name;
    if (extra.hint !== undefined) this.hint = extra.hint;
    if (extra.because !== undefined) this.because = extra.because;
  }
}

/** The profile is wrong. */
export class ProfileError extends CommeshError {
  readonly exitCode = 2;
  constructor(
    readonly diagnostics: readonly LocatedDiagnostic[],
    /** The text of the files, by name, for the lines shown with a diagnostic; secrets are covered. */
    readonly sources: ReadonlyMap<string, string> = new Map(),
  ) {
    super(diagnostics[0]?.message ?? 'the profile is not valid');
  }
}

/** The command line is wrong. */
export class UsageError extends CommeshError {
  readonly exitCode = 2;
}

/** The work could not be done; message and hint say why and what helps. */
export class WorkError extends CommeshError {
  readonly exitCode = 1;
}

/** A program that was run failed. */
export class ToolError extends CommeshError {
  readonly exitCode = 1;
  constructor(
    readonly argv: readonly string[],
    /** Exit code, or the name of the signal that ended it. */
    readonly status: number | string,
    /** The last lines of its standard error. */
    readonly stderrTail: string,
    extra: { hint?: string; because?: ProfilePath; title?: string } = {},
  ) {
    super(
      `${extra.title ?? argv[0] ?? 'a program'} failed (${typeof status === 'number' ? `exit code ${status}` : status})`,
      extra,
    );
  }
}

/** A file the image needs is not in the offline cache, or is not the file the lock names. */
export class CacheMissError extends CommeshError {
  readonly exitCode = 1;
}

/** The person pressed Ctrl-C, or the process was asked to end. */
export class InterruptedError extends CommeshError {
  readonly exitCode = 1;
  constructor() {
    super('interrupted; everything that was half done has been removed');
  }
}
