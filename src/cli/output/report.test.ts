import { expect, test } from 'vitest';
import type { CheckResult, Report } from '../../verify/types.js';
import { reportJson, reportText, verdict } from './report.js';
import { createTheme } from './theme.js';

const result = (more: Partial<CheckResult>): CheckResult => ({
  id: 'disks',
  title: 'disks have room',
  state: 'pass',
  reason: '9.1 GB free',
  vantage: 'inside',
  because: [],
  milliseconds: 12,
  ...more,
});

function report(results: readonly CheckResult[]): Report {
  const counts = { pass: 0, warn: 0, fail: 0, skip: 0 };
  for (const { state } of results) counts[state] += 1;
  return {
    format: 1,
    site: 'clinic',
    domain: 'clinic.home.arpa',
    address: '10.77.0.1',
    started: '2026-11-20T08:15:30.000Z',
    milliseconds: 23_400,
    counts,
    results,
  };
}
const place = (): { file: string; line: number; column: number; length: number } => ({
  file: 'profiles/clinic.yaml',
  line: 12,
  column: 3,
  length: 7,
});

test('plain words, grouped, failures first with their place and hint', () => {
  const text = reportText(
    report([
      result({}),
      result({ id: 'board', title: 'power', state: 'skip', reason: 'a PC does not tell' }),
      result({
        id: 'units/prosody.service',
        title: 'services run as planned',
        state: 'fail',
        reason: 'prosody.service does not run',
        hint: 'switch the kit off and on',
        because: ['services', 'prosody'],
      }),
      result({ id: 'ntp', title: 'time', reason: 'stratum 8', vantage: 'outside' }),
    ]),
    createTheme(false),
    place,
  );
  expect(text).toBe(`Kit "clinic" (clinic.home.arpa, 10.77.0.1), checked 2026-11-20 08:15 UTC

Seen from inside the kit
  FAIL services run as planned: prosody.service does not run
       hint: switch the kit off and on
       asked for at profiles/clinic.yaml:12:3 (services.prosody)
  ok   disks have room: 9.1 GB free
  skip power: a PC does not tell

Seen from a user's device
  ok   time: stratum 8

2 passed, 0 warnings, 1 failed, 1 skipped, in 23 s.
Do not hand the kit over yet: 1 check has failed.`);
});

test('the verdict follows the worst result', () => {
  expect(verdict(report([result({})]))).toBe('The kit works and can be handed over.');
  expect(verdict(report([result({}), result({ state: 'warn' })]))).toContain('Look at 1 warning');
  expect(verdict(report([result({ state: 'warn' }), result({ state: 'fail' })]))).toContain('Do not hand');
  expect(verdict(report([result({ state: 'skip' })]))).toBe('Nothing was checked.');
});

test('what the kit says cannot take over the terminal', () => {
  const text = reportText(report([result({ reason: 'a\u001b[2Jb' })]), createTheme(false), place);
  expect(text).not.toContain('\u001b');
});

test('as data, each setting has its place', () => {
  const data = JSON.parse(reportJson(report([result({ because: ['network'] }), result({})]), place)) as {
    verdict: string;
    results: { place?: unknown }[];
  };
  expect(data.verdict).toBe('The kit works and can be handed over.');
  expect(data.results.map(({ place: at }) => at)).toEqual([
    { file: 'profiles/clinic.yaml', line: 12, column: 3 },
    undefined,
  ]);
});
