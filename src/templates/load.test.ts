import { describe, expect, it } from 'vitest';
import { WorkError } from '../diagnostics/errors.js';
import { catalogue, renderFile, templatePath, type TemplateFile } from './load.js';

const FOLDERS = { templates: '/tool/templates', overrides: '/site/overrides' };
const reader = (files: Record<string, string | Uint8Array>) => (path: string) => {
  const found = files[path];
  return found === undefined ? null : typeof found === 'string' ? new TextEncoder().encode(found) : found;
};
const file: TemplateFile = { service: 'web', path: '/etc/a.conf', kind: 'template', data: { a: 'A' } };
const render = (wish: TemplateFile, files: Record<string, string | Uint8Array>): string =>
  new TextDecoder().decode(renderFile(wish, FOLDERS, reader(files), () => 's3cret'));

describe('renderFile', () => {
  it('takes the template of the service and the path', () => {
    expect(templatePath(file)).toBe('web/etc/a.conf.hbs');
    expect(render(file, { '/tool/templates/web/etc/a.conf.hbs': 'own {{a}}' })).toBe('own A');
  });
  it('lets a file in overrides win', () => {
    expect(
      render(file, {
        '/tool/templates/web/etc/a.conf.hbs': 'own {{a}}',
        '/site/overrides/web/etc/a.conf.hbs': 'other {{a}}',
      }),
    ).toBe('other A');
  });
  it('names the override in the message', () => {
    expect(() => render(file, { '/site/overrides/web/etc/a.conf.hbs': '\n{{b}}' })).toThrow(
      'overrides/web/etc/a.conf.hbs:2: nothing is known by the name "b"',
    );
  });
  it('takes another template when asked', () => {
    expect(render({ ...file, template: '/etc/b' }, { '/tool/templates/web/etc/b.hbs': 'b{{a}}' })).toBe('bA');
  });
  it('copies bytes as they are', () => {
    const bytes = new Uint8Array([0, 255, 123, 123]);
    const wish: TemplateFile = { service: 'web', path: '/logo.png', kind: 'copy' };
    expect(renderFile(wish, FOLDERS, reader({ '/tool/templates/web/logo.png': bytes }), () => '')).toEqual(bytes);
  });
  it('says which template is missing or not text', () => {
    expect(() => render(file, {})).toThrow(WorkError);
    expect(() => render(file, {})).toThrow('templates/web/etc/a.conf.hbs');
    expect(() => render(file, { '/tool/templates/web/etc/a.conf.hbs': new Uint8Array([0xff, 0xfe]) })).toThrow(
      'not UTF-8',
    );
  });
});

describe('catalogue', () => {
  const files = {
    '/tool/templates/web/i18n/en.json': '{"a":"one","deep":{"x":"X","y":"Y"}}',
    '/tool/templates/web/i18n/pt.json': '{"a":"um","deep":{"x":"xis"}}',
    '/site/overrides/web/i18n/pt-BR.json': '{"deep":{"y":"ípsilon"}}',
  };
  it('completes a region from its language and from English', () => {
    expect(catalogue('web', 'pt-BR', FOLDERS, reader(files))).toEqual({
      a: 'um',
      deep: { x: 'xis', y: 'ípsilon' },
    });
    expect(catalogue('web', 'zz', FOLDERS, reader(files))).toEqual({ a: 'one', deep: { x: 'X', y: 'Y' } });
  });
  it('is put in the place of { catalogue }', () => {
    const wish: TemplateFile = { ...file, data: { t: { catalogue: 'pt' } } };
    expect(render(wish, { ...files, '/tool/templates/web/etc/a.conf.hbs': '{{t.a}} {{t.deep.y}}' })).toBe('um Y');
  });
  it('says which catalogue is broken', () => {
    expect(() => catalogue('web', 'en', FOLDERS, reader({ '/tool/templates/web/i18n/en.json': '{' }))).toThrow(
      'templates/web/i18n/en.json: not valid JSON',
    );
  });
});
