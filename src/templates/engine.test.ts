import { describe, expect, it } from 'vitest';
import { namesUsed, renderTemplate, secretsIn, TemplateError, type TemplateValues } from './engine.js';

const render = (source: string, data: TemplateValues = {}): string =>
  renderTemplate(source, 'templates/x/etc/x.conf.hbs', data, (id) => `value-of-${id}`);

function problem(source: string, data: TemplateValues = {}): string {
  try {
    render(source, data);
  } catch (error) {
    expect(error).toBeInstanceOf(TemplateError);
    return (error as Error).message;
  }
  throw new Error('this should have been refused');
}

describe('renderTemplate', () => {
  it('writes values as they are, and quoted per format', () => {
    expect(render('a={{a}} {{lua a}} {{shell b}} {{json c}}', { a: '<&"', b: "it's", c: [1] })).toBe(
      `a=<&" "<&\\"" 'it'\\''s' [1]`,
    );
  });
  it('replaces secrets however deep', () => {
    expect(
      render('{{lua x.y}} {{#each list}}{{pass}};{{/each}}', {
        x: { y: { secret: 'one' } },
        list: [{ pass: { secret: 'two' } }, { pass: 'plain' }],
      }),
    ).toBe('"value-of-one" value-of-two;plain;');
  });
  it('has conditions, comparisons, lists and whole numbers', () => {
    const source = [
      '{{#if (eq mode "a")}}A{{else}}B{{/if}}',
      '{{#unless (and on (not off))}}no{{/unless}}',
      '{{#if (or off on)}}yes{{/if}}',
      '{{join names ", "}}',
      '{{lines names prefix="- "}}',
      '{{integer port min=1 max=65535}}',
      '{{#each names as |n i|}}{{i}}{{n}}{{../mode}}{{@root.mode}}{{#unless @last}},{{/unless}}{{/each}}',
      '{{get texts "k" "none"}} {{get texts "z" "none"}} {{html (fill texts.k who=mode)}}',
    ].join('\n');
    expect(
      render(source, { mode: 'a', on: true, off: false, names: ['x', 'y'], port: 80, texts: { k: '<{who}>' } }),
    ).toBe('A\n\nyes\nx, y\n- x\n- y\n80\n0xaa,1yaa\n<{who}> none &lt;a&gt;');
  });
  it.each([
    ['a\nb {{missing}}', {}, '.hbs:2: nothing is known by the name "missing"'],
    ['a\n\n{{#if missing}}x{{/if}}', {}, '.hbs:3: nothing is known by the name "missing"'],
    ['{{#each a}}\n{{lua b.c}}\n{{/each}}', { a: [{ b: {} }] }, '.hbs:2: nothing is known by the name "b.c"'],
    ['{{#each a}}\n{{c}}\n{{/each}}', { a: [{}] }, '.hbs:2: nothing is known by the name "c"'],
    ['{{#if a.b}}x{{/if}}', { a: {} }, '.hbs:1: nothing is known by the name "a.b"'],
    ['{{toString}}', {}, 'nothing is known by the name "toString"'],
    ['{{a.constructor}}', { a: {} }, 'nothing is known by the name "a.constructor"'],
    ['\n{{a}}', { a: 'x\ny' }, '.hbs:2: "a": line breaks'],
    ['{{a}}', { a: null }, 'not a list, an object or nothing'],
    ['{{a}}', { a: ['x'] }, 'not a list'],
    ['{{lua a}}', { a: 'x\0' }, 'NUL'],
    ['{{integer a max=9}}', { a: 10 }, 'more than 9'],
    ['{{integer a}}', { a: 1.5 }, 'whole number'],
    ['{{join a}}', { a: 'x' }, 'a list'],
    ['{{fill a}}', { a: '{b}' }, 'nothing was given for "{b}"'],
    ['{{get a "b"}}', { a: {} }, 'there is no "b"'],
    ['{{nosuch a}}', { a: 1 }, 'no helper called "nosuch"'],
    ['{{#lua a}}{{/lua}}', { a: 1 }, 'not for blocks'],
    ['{{> part}}', {}, 'partials'],
    ['{{lookup a "b"}}', { a: {} }, 'no helper called "lookup"'],
    ['x\n{{#if a}}', { a: 1 }, 'not a valid template'],
  ])('refuses %j', (source, data, message) => {
    expect(problem(source, data as TemplateValues)).toContain(message);
  });
  it('splits text into groups', () => {
    expect(render('{{join (split a ":" 2) " "}}', { a: '1:2:3:4:5' })).toBe('1:2 3:4 5');
  });
  it('does not show values in messages', () => {
    expect(problem('{{a}}', { a: { secret: 'k\n' } })).not.toContain('value-of');
  });
});

describe('namesUsed', () => {
  it('finds top-level names in every branch and none of a loop or a helper', () => {
    const source =
      '{{a}}{{#if b.c}}{{lua d}}{{else}}{{e}}{{/if}}{{#each f}}{{g}}{{../h}}{{@root.i}}{{@index}}{{this}}{{else}}{{j}}{{/each}}' +
      '{{#each k as |m|}}{{m.n}}{{/each}}{{#with o}}{{p}}{{/with}}{{join (get q "r" s) t}}';
    expect([...namesUsed(source, 'x')].sort()).toEqual([...'abdefhijkoqst']);
  });
});

describe('secretsIn', () => {
  it('lists each once', () => {
    expect(secretsIn({ a: { secret: 'z' }, b: [{ secret: 'y' }, { c: { secret: 'z' } }], d: { secret: 5 } })).toEqual(
      ['y', 'z'],
    );
  });
});
