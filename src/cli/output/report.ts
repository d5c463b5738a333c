import type { Place, ProfilePath } from '../../diagnostics/diagnostic.js';
import { counted, printable } from '../../diagnostics/text.js';
import type { CheckResult, CheckState, Report } from '../../verify/types.js';
import { durationText, type Theme } from './theme.js';

/** Where in the profile a setting stands. */
export type PlaceOf = (path: ProfilePath) => Place;

/** Words, not signs: they must be understood on paper and without colour. */
const MARKS: Readonly<Record<CheckState, string>> = { pass: 'ok', warn: 'WARN', fail: 'FAIL', skip: 'skip' };

const GROUPS: readonly (readonly [CheckResult['vantage'], string])[] = [
  ['inside', 'Seen from inside the kit'],
  ['outside', "Seen from a user's device"],
];

const INDENT = '       ';

function painted(state: CheckState, theme: Theme): string {
  const mark = MARKS[state].padEnd(4);
  switch (state) {
    case 'pass':
      return theme.green(mark);
    case 'warn':
      return theme.yellow(mark);
    case 'fail':
      return theme.red(theme.bold(mark));
    case 'skip':
      return theme.dim(mark);
  }
}

/** One result: a line, and for what is not well the setting behind it and what to do. */
export function resultText(result: CheckResult, theme: Theme, place: PlaceOf): string {
  const { state, title, reason, hint, because } = result;
  // What programs of the kit say may have several lines.
  const said = printable(reason.trim().replace(/\s*\n\s*/g, '; '));
  const lines = [`  ${painted(state, theme)} ${printable(title)}: ${said}`];
  if (state === 'warn' || state === 'fail') {
    if (hint !== undefined) lines.push(`${INDENT}hint: ${printable(hint)}`);
    if (because.length > 0) {
      const { file, line, column } = place(because);
      lines.push(theme.dim(`${INDENT}asked for at ${file}:${line}:${column} (${because.join('.')})`));
    }
  }
  return lines.join('\n');
}

/** What the results mean for the person who is about to hand the kit over. */
export function verdict({ counts }: Report): string {
  if (counts.fail > 0)
    return `Do not hand the kit over yet: ${counted(counts.fail, 'check has', 'checks have')} failed.`;
  if (counts.warn > 0)
    return `The kit works. Look at ${counted(counts.warn, 'warning')} before you hand it over.`;
  if (counts.pass === 0) return 'Nothing was checked.';
  return 'The kit works and can be handed over.';
}

/** The report in plain words, grouped, worst first within what is seen from one place. */
export function reportText(report: Report, theme: Theme, place: PlaceOf): string {
  const blocks = [
    `Kit "${report.site}" (${report.domain}, ${report.address}), checked ${report.started.slice(0, 16).replace('T', ' ')} UTC`,
  ];
  const rank: Readonly<Record<CheckState, number>> = { fail: 0, warn: 1, skip: 3, pass: 2 };
  for (const [vantage, heading] of GROUPS) {
    const results = report.results.filter((result) => result.vantage === vantage);
    if (results.length === 0) continue;
    const ordered = results.toSorted((a, b) => rank[a.state] - rank[b.state]);
    blocks.push(
      [theme.bold(heading), ...ordered.map((result) => resultText(result, theme, place))].join('\n'),
    );
  }
  const { pass, warn, fail, skip } = report.counts;
  blocks.push(
    `${pass} passed, ${counted(warn, 'warning')}, ${fail} failed, ${skip} skipped, in ${durationText(report.milliseconds)}.\n${theme.bold(verdict(report))}`,
  );
  return blocks.join('\n\n');
}

/** The report as data, with the place of each setting. */
export function reportJson(report: Report, place: PlaceOf): string {
  const results = report.results.map((result) => {
    if (result.because.length === 0) return result;
    const { file, line, column } = place(result.because);
    return { ...result, place: { file, line, column } };
  });
  return `${JSON.stringify({ ...report, verdict: verdict(report), results }, null, 2)}\n`;
}
