import { describe, expect, it } from 'vitest';
import { fault, located, warning } from './diagnostic.js';
import { diagnosticJson, ordered, renderDiagnostic, renderDiagnostics, summary } from './render.js';

const at = (line: number, column: number, length = 1) => ({
  file: 'profiles/clinic.yaml',
  line,
  column,
  length,
});
const render = (source: string, line: number, column: number, length: number, width?: number): string =>
  renderDiagnostic(located(fault('profile/x', 'message', []), at(line, column, length)), source, {
    ...(width === undefined ? {} : { width }),
  });

describe('renderDiagnostic', () => {
  it('looks as the design says', () => {
    const source = 'a: 1\nb:\n  c:\n    domain: chat.mesh\n    registraton: invite\n';
    const diagnostic = fault(
      'profile/unknown-setting',
      'unknown setting "registraton"',
      ['b', 'c', 'registraton'],
      'did you mean "registration"?',
    );
    expect(renderDiagnostic(located(diagnostic, at(5, 5, 11)), source)).toBe(
      [
        'profiles/clinic.yaml:5:5 error[profile/unknown-setting] unknown setting "registraton"',
        ' 4 |     domain: chat.mesh',
        ' 5 |     registraton: invite',
        '   |     ^^^^^^^^^^^',
        '   hint: did you mean "registration"?',
      ].join('\n'),
    );
  });

  it('keeps the numbers straight from line 9 to line 10', () => {
    const source = Array.from({ length: 12 }, (_, index) => `line${index + 1}: x`).join('\n');
    expect(render(source, 10, 1, 6).split('\n').slice(1)).toEqual([
      '  9 | line9: x',
      ' 10 | line10: x',
      '    | ^^^^^^',
    ]);
  });

  it('shows no line above the first one and no source when there is none', () => {
    expect(render('site: 1\n', 1, 7, 1).split('\n').slice(1)).toEqual([' 1 | site: 1', '   |       ^']);
    expect(render('', 1, 1, 1).split('\n')).toHaveLength(1);
    expect(render('a: 1\n', 7, 1, 1).split('\n')).toHaveLength(1);
  });

  it('points at the right cell after tabs, wide and combining characters', () => {
    expect(render('a:\n\tb: 1', 2, 2, 1).split('\n').slice(2)).toEqual([' 2 | →   b: 1', '   |     ^']);
    expect(render('t: 日本 x', 1, 7, 1).split('\n').slice(2)).toEqual(['   |         ^']);
    expect(render('t: e\u0301 x', 1, 7, 1).split('\n').slice(2)).toEqual(['   |      ^']);
  });

  it('cuts long lines around the fault', () => {
    const source = `k: ${'a'.repeat(300)}FAULT${'b'.repeat(300)}`;
    const [, line, carets] = render(source, 1, 304, 5, 60).split('\n');
    expect([...(line ?? '')].length).toBeLessThanOrEqual(60 + 5);
    expect(line?.slice(carets?.indexOf('^'), (carets?.indexOf('^') ?? 0) + 5)).toBe('FAULT');
    expect(line).toMatch(/ … ?a+FAULTb+…$|…a+FAULTb+…$/);
  });

  it('never lets a fault run past its line', () => {
    expect(render('ab', 1, 1, 500).split('\n').slice(2)).toEqual(['   | ^^']);
    expect(render('ab', 1, 90, 5).split('\n').slice(2)).toEqual(['   |   ^']);
  });

  it('lets nothing through that steers a terminal', () => {
    const bad = 'x\u001b[31m\u0007\u202e\r';
    const text = renderDiagnostic(
      { ...located(fault('profile/x', bad, [], bad), at(1, 1)), file: bad },
      `${bad}y`,
    );
    expect(text).not.toMatch(/[\u202e\r]/);
    // eslint-disable-next-line no-control-regex -- the very characters that must not come through
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
  });

  it('colours only when asked', () => {
    const diagnostic = located(warning('profile/x', 'message', []), at(1, 1));
    expect(renderDiagnostic(diagnostic, 'a', { color: true })).toContain(
      '\u001b[1;33mwarning[profile/x]\u001b[0m',
    );
    expect(renderDiagnostic(diagnostic, 'a', { color: false })).not.toContain('\u001b');
  });
});

describe('lists of diagnostics', () => {
  const one = located(fault('profile/x', 'first', ['a']), at(2, 1));
  const two = located(warning('profile/y', 'second', ['b'], 'help'), at(1, 5));

  it('are ordered by place, each once', () => {
    expect(ordered([one, two, one])).toEqual([two, one]);
  });

  it('are counted', () => {
    expect(summary([])).toBe('');
    expect(summary([one, two])).toBe('1 error, 1 warning');
    expect(summary([one, one])).toBe('2 errors');
  });

  it('are separated by a blank line', () => {
    expect(renderDiagnostics([one, two], new Map()).split('\n\n')).toHaveLength(2);
  });

  it('are data, too', () => {
    expect(diagnosticJson(two)).toEqual({
      file: 'profiles/clinic.yaml',
      line: 1,
      column: 5,
      length: 1,
      severity: 'warning',
      code: 'profile/y',
      message: 'second',
      hint: 'help',
      path: ['b'],
    });
  });
});
