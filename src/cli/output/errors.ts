import {
  CommeshError,
  InterruptedError,
  ProfileError,
  ToolError,
  UsageError,
  WorkError,
  CacheMissError,
} from '../../diagnostics/errors.js';
import type { LocatedDiagnostic } from '../../diagnostics/diagnostic.js';
import { renderDiagnostic, renderDiagnostics } from '../../diagnostics/render.js';
import type { Flags } from '../context.js';
import type { Theme } from './theme.js';

/** Where a bug is told. */
export const REPORT_TO = 'the issue list of the project you got commeshctl from';

/** 1: the work failed, or a bug. 2: the profile or the usage is wrong. */
export function errorExitCode(error: unknown): 1 | 2 {
  return error instanceof CommeshError ? error.exitCode : 1;
}

function family(error: CommeshError): string {
  if (error instanceof ProfileError) return 'profile';
  if (error instanceof UsageError) return 'usage';
  if (error instanceof ToolError) return 'tool';
  if (error instanceof CacheMissError) return 'cache';
  if (error instanceof InterruptedError) return 'interrupted';
  return error instanceof WorkError ? 'work' : 'error';
}

/** An error in words for a volunteer: what is wrong, where, what to do. A stack only for a bug, and only when asked. */
export async function errorText(
  error: unknown,
  flags: Pick<Flags, 'verbose'>,
  profile: string | undefined,
  theme: Theme,
): Promise<string> {
  if (error instanceof ProfileError && error.diagnostics.length > 0) {
    return renderDiagnostics(error.diagnostics, error.sources, { color: theme.colour });
  }
  if (error instanceof CommeshError) {
    const asked = await locate(error, profile);
    const lines = [
      asked
        ? renderDiagnostic(asked.at, asked.source, { color: theme.colour })
        : `${theme.red(theme.bold('error:'))} ${error.message}`,
    ];
    if (error instanceof ToolError) {
      if (error.argv.length > 0) lines.push(`  command: ${commandText(error.argv)}`);
      if (error.stderrTail !== '') {
        lines.push('  its last words:');
        lines.push(...error.stderrTail.split('\n').map((line) => `  ${theme.dim('|')} ${line}`));
      }
    }
    if (error.hint !== undefined && !asked) lines.push(`  ${theme.blue('hint:')} ${error.hint}`);
    return lines.join('\n');
  }
  const thrown = error instanceof Error ? error : new Error(String(error));
  const lines = [
    `${theme.red(theme.bold('error:'))} this is a bug in commeshctl: ${thrown.message || thrown.name}`,
    flags.verbose
      ? (thrown.stack ?? '')
      : `  ${theme.blue('hint:')} run the command again with --verbose and report all it says, with the command, to ${REPORT_TO}`,
  ];
  return lines.filter(Boolean).join('\n');
}

/** The same as data, one object. */
export async function errorJson(
  error: unknown,
  flags: Pick<Flags, 'verbose'>,
  profile: string | undefined,
): Promise<Record<string, unknown>> {
  if (error instanceof CommeshError) {
    const asked = await locate(error, profile);
    return {
      type: 'error',
      family: family(error),
      message: error.message,
      exitCode: error.exitCode,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      ...(error.because === undefined ? {} : { because: error.because }),
      ...(asked ? { file: asked.at.file, line: asked.at.line, column: asked.at.column } : {}),
      ...(error instanceof ProfileError ? { diagnostics: error.diagnostics } : {}),
      ...(error instanceof ToolError
        ? { argv: error.argv, status: error.status, stderr: error.stderrTail }
        : {}),
    };
  }
  const thrown = error instanceof Error ? error : new Error(String(error));
  return {
    type: 'error',
    family: 'bug',
    message: thrown.message,
    exitCode: 1,
    reportTo: REPORT_TO,
    ...(flags.verbose ? { stack: thrown.stack } : {}),
  };
}

/** The setting that asked for what failed, for an error that knows one. */
async function locate(
  error: CommeshError,
  profile: string | undefined,
): Promise<{ at: LocatedDiagnostic; source: string } | undefined> {
  if (error.because === undefined || profile === undefined) return undefined;
  const { readProfile } = await import('../../profile/read.js');
  const { document, shown } = await readProfile(profile);
  if (document === null) return undefined;
  const at: LocatedDiagnostic = {
    severity: 'error',
    code: family(error),
    message: error.message,
    path: error.because,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...document.locate(error.because, 'key'),
  };
  return { at, source: shown };
}

/** A command line as one would type it (POSIX shell quoting). */
export function commandText(argv: readonly string[]): string {
  return argv
    .map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(' ');
}
