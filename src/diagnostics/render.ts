import type { LocatedDiagnostic } from './diagnostic.js';
import { cells, counted, printable } from './text.js';

export interface RenderOptions {
  readonly color?: boolean;
  /** Widest line of source shown, terminal cells. */
  readonly width?: number;
}

/** Source texts by file name as shown to the person (secrets already covered). */
export type Sources = ReadonlyMap<string, string>;

const TAB = '→   ';
const DEFAULT_WIDTH = 100;

interface Paint {
  error(text: string): string;
  warning(text: string): string;
  note(text: string): string;
  dim(text: string): string;
  bold(text: string): string;
}

function paints(color: boolean): Paint {
  const paint =
    (code: string) =>
    (text: string): string =>
      color ? `\u001b[${code}m${text}\u001b[0m` : text;
  return {
    error: paint('1;31'),
    warning: paint('1;33'),
    note: paint('1;36'),
    dim: paint('2'),
    bold: paint('1'),
  };
}

/** One character as it is drawn, and the cells it takes. */
interface Glyph {
  readonly text: string;
  readonly width: number;
}

function glyphs(line: string): Glyph[] {
  return [...line].map((character) => {
    if (character === '\t') return { text: TAB, width: TAB.length };
    const text = printable(character);
    return { text, width: cells(text) };
  });
}

const widthOf = (run: readonly Glyph[]): number => run.reduce((sum, glyph) => sum + glyph.width, 0);

/** The part of a line around `from` that fits into `width` cells, with `…` where something was cut off. */
function clip(line: readonly Glyph[], from: number, width: number): { first: number; last: number } {
  if (widthOf(line) <= width) return { first: 0, last: line.length };
  let first = Math.min(from, line.length);
  let used = 0;
  const before = Math.floor(width / 3);
  while (first > 0 && used + (line[first - 1]?.width ?? 0) <= before) {
    first -= 1;
    used += line[first]?.width ?? 0;
  }
  let last = Math.min(from, line.length);
  while (last < line.length && used + (line[last]?.width ?? 0) <= width - 2) {
    used += line[last]?.width ?? 0;
    last += 1;
  }
  return { first, last };
}

function draw(line: readonly Glyph[], first: number, last: number): string {
  const body = line.slice(first, last).map((glyph) => glyph.text);
  return `${first > 0 ? '…' : ''}${body.join('')}${last < line.length ? '…' : ''}`;
}

/** The lines of source around a diagnostic with the faulty part underlined; empty when the source is not known. */
function frame(
  diagnostic: LocatedDiagnostic,
  source: string | undefined,
  paint: Paint,
  width: number,
): string[] {
  if (source === undefined || source === '') return [];
  const lines = source.split('\n').map((line) => line.replace(/\r$/, ''));
  const faulty = lines[diagnostic.line - 1];
  if (faulty === undefined) return [];
  const gutter = String(diagnostic.line).length;
  const row = (number: number | '', text: string): string =>
    `${paint.dim(` ${String(number).padStart(gutter)} |`)} ${text}`.trimEnd();
  const out: string[] = [];
  const above = lines[diagnostic.line - 2];
  if (above !== undefined) {
    const drawn = glyphs(above);
    const { first, last } = clip(drawn, 0, width);
    out.push(row(diagnostic.line - 1, draw(drawn, first, last)));
  }
  const drawn = glyphs(faulty);
  const begin = Math.min(diagnostic.column - 1, drawn.length);
  const { first, last } = clip(drawn, begin, width);
  const end = Math.min(begin + diagnostic.length, last);
  const indent = widthOf(drawn.slice(first, begin)) + (first > 0 ? 1 : 0);
  const carets = '^'.repeat(Math.max(1, widthOf(drawn.slice(begin, end))));
  out.push(row(diagnostic.line, draw(drawn, first, last)));
  const tint = paint[diagnostic.severity];
  out.push(row('', ' '.repeat(indent) + tint(carets)));
  return out;
}

/** One diagnostic as a person reads it: place, sentence, lines of source, hint. No newline at the end. */
export function renderDiagnostic(
  diagnostic: LocatedDiagnostic,
  source: string | undefined,
  options: RenderOptions = {},
): string {
  const paint = paints(options.color ?? false);
  const tint = paint[diagnostic.severity];
  const place = `${printable(diagnostic.file)}:${diagnostic.line}:${diagnostic.column}`;
  const code = tint(`${diagnostic.severity}[${diagnostic.code}]`);
  const lines = [
    `${paint.bold(place)} ${code} ${printable(diagnostic.message)}`,
    ...frame(diagnostic, source, paint, options.width ?? DEFAULT_WIDTH),
  ];
  if (diagnostic.hint !== undefined) {
    const indent = ' '.repeat(String(diagnostic.line).length + 2);
    lines.push(`${indent}${paint.bold('hint:')} ${printable(diagnostic.hint)}`);
  }
  return lines.join('\n');
}

/** All diagnostics, a blank line between them. No newline at the end. */
export function renderDiagnostics(
  diagnostics: readonly LocatedDiagnostic[],
  sources: Sources,
  options: RenderOptions = {},
): string {
  return diagnostics
    .map((diagnostic) => renderDiagnostic(diagnostic, sources.get(diagnostic.file), options))
    .join('\n\n');
}

/** `2 errors, 1 warning, 1 note`; empty when there is nothing to say. */
export function summary(diagnostics: readonly LocatedDiagnostic[]): string {
  const errors = diagnostics.filter((diagnostic) => diagnostic.severity === 'error').length;
  const warnings = diagnostics.filter((diagnostic) => diagnostic.severity === 'warning').length;
  const notes = diagnostics.length - errors - warnings;
  return [
    ...(errors > 0 ? [counted(errors, 'error')] : []),
    ...(warnings > 0 ? [counted(warnings, 'warning')] : []),
    ...(notes > 0 ? [counted(notes, 'note')] : []),
  ].join(', ');
}

/** In the order of the file, each thing said once. */
export function ordered(diagnostics: readonly LocatedDiagnostic[]): LocatedDiagnostic[] {
  const seen = new Set<string>();
  return diagnostics
    .filter((diagnostic) => {
      const key = JSON.stringify([
        diagnostic.file,
        diagnostic.line,
        diagnostic.column,
        diagnostic.code,
        diagnostic.message,
      ]);
      if (seen.has(key)) return false;
      seen.add(key);
      return true;
    })
    .sort((a, b) => (a.file === b.file ? a.line - b.line || a.column - b.column : a.file < b.file ? -1 : 1));
}

/** A diagnostic as plain data for `--json`, keys in a fixed order. */
export function diagnosticJson(diagnostic: LocatedDiagnostic): Record<string, unknown> {
  return {
    file: diagnostic.file,
    line: diagnostic.line,
    column: diagnostic.column,
    length: diagnostic.length,
    severity: diagnostic.severity,
    code: diagnostic.code,
    message: diagnostic.message,
    ...(diagnostic.hint === undefined ? {} : { hint: diagnostic.hint }),
    path: diagnostic.path,
  };
}
