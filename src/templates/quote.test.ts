import { execFileSync } from 'node:child_process';
import { parse } from 'yaml';
import { describe, expect, it } from 'vitest';
import * as quote from './quote.js';

const NASTY = [
  '',
  'plain',
  `both "double" and 'single'`,
  'back\\slash \\n \\" \\\\',
  'two\nlines\r\nand\ta tab',
  '$HOME `id` $(id) !! %s %% {{x}} ${y}',
  '</script><!-- & ]]> &amp;',
  'العربية עברית 漢字 🙂 \u00a0\u2028\u2029\u0085\ufeff',
  ' blanks around ',
  '# comment ; comment -- comment',
  '\u0001\u001b[31m\u007f',
  'null',
  '0755',
];

describe('quoting', () => {
  it.each(NASTY)('JSON, YAML and HOCON read back %j', (text) => {
    expect(JSON.parse(quote.json(text))).toBe(text);
    expect(JSON.parse(quote.hocon(text))).toBe(text);
    expect(parse(`key: ${quote.yaml(text)}\n`)).toEqual({ key: text });
    expect(quote.json(text)).not.toMatch(/[<>&\u2028\u2029\n]/);
  });
  it('writes lists and objects', () => {
    const value = { a: [1, true, null, 'x'], 'b"c': {} };
    expect(JSON.parse(quote.json(value))).toEqual(value);
    expect(parse(quote.yaml(value))).toEqual(value);
    expect(quote.lua(value)).toBe('{ ["a"] = { 1, true, nil, "x" }, ["b\\"c"] = {} }');
    expect(quote.lua([])).toBe('{}');
  });
  it.each(NASTY)('a shell reads back %j', (text) => {
    expect(execFileSync('/bin/sh', ['-c', `printf %s ${quote.shell(text)}`], { encoding: 'utf8' })).toBe(text);
  });
  it.each([
    ['plain', '"plain"'],
    ['say "hi"\\', '"say \\"hi\\"\\\\"'],
    ['a\nb\r\t', '"a\\nb\\013\\009"'],
    [']]--', '"]]--"'],
    ['\u0001' + '2', '"\\0012"'],
    ['é漢🙂', '"é漢🙂"'],
  ])('Lua: %j', (text, written) => {
    expect(quote.lua(text)).toBe(written);
  });
  it.each([
    [quote.lua, 3.5, '3.5'],
    [quote.lua, false, 'false'],
    [quote.lua, null, 'nil'],
    [quote.ini, 12, '12'],
    [quote.ini, 'a=b;c#d "e"', 'a=b;c#d "e"'],
    [quote.unit, '50% of %h', '50%% of %%h'],
    [quote.nginx, 'a "b" \\ ; { }', '"a \\"b\\" \\\\ ; { }"'],
    [quote.markup, `<a href="x" title='y'>&amp;`, '&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;&amp;amp;'],
    [quote.attribute, 'a"b\nc\t<', '"a&quot;b&#10;c&#9;&lt;"'],
    [quote.markup, 'ل\n', 'ل\n'],
    [quote.text, 'as "it" is $x', 'as "it" is $x'],
    [quote.number, 7, '7'],
  ] as const)('%o of %j is %j', (write, value, written) => {
    expect(write(value)).toBe(written);
  });
  it.each([
    ...[
      quote.text,
      quote.lua,
      quote.ini,
      quote.unit,
      quote.json,
      quote.yaml,
      quote.hocon,
      quote.shell,
      quote.nginx,
      quote.markup,
      quote.attribute,
    ].flatMap((write) => [[write, 'a\0b'] as const, [write, 'half \ud83d emoji'] as const]),
    [quote.text, 'a\nb'],
    [quote.ini, 'a\nb'],
    [quote.ini, ' a'],
    [quote.ini, 'a\\'],
    [quote.nginx, 'a\nb'],
    [quote.nginx, '$host'],
    [quote.markup, '\u0001'],
    [quote.attribute, '\u0008'],
    [quote.shell, ['a']],
    [quote.text, null],
    [quote.text, { a: 1 }],
    [quote.lua, Number.NaN],
    [quote.json, Number.POSITIVE_INFINITY],
    [quote.number, Number.NaN],
  ] as const)('%o refuses %j', (write, value) => {
    expect(() => write(value as never)).toThrow(RangeError);
  });
});
