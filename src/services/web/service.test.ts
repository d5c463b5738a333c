import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Gathered, Site, TemplateData, WebLocation } from '../contract.js';
import { JOIN_LANGUAGES, joinLanguage, joinLanguages } from './languages.js';
import { service } from './service.js';

const CATALOGUES = new URL('../../../templates/web/i18n/', import.meta.url);
const site = (languages: readonly string[]): Site =>
  ({
    title: 'Clinic',
    domain: 'clinic.home.arpa',
    languages,
    network: { address: '10.77.0.1', wifi: null },
  }) as unknown as Site;
const place = (path: string): WebLocation => ({
  path,
  proxy: 'http://127.0.0.1:1',
  proxyHost: '',
  websocket: false,
  bodyMiB: 0,
  root: '',
});
const collect = (where: Site, gathered: Partial<Gathered>) =>
  service.collect?.({ site: where, settings: {}, use: () => undefined }, {
    web: [],
    join: [],
    ...gathered,
  } as Gathered);

describe('languages', () => {
  it('are those that have a catalogue', () => {
    const files = readdirSync(CATALOGUES).map((name) => name.replace('.json', ''));
    expect(files.sort()).toEqual([...JOIN_LANGUAGES].sort());
  });
  const shape = (value: unknown): unknown =>
    Array.isArray(value)
      ? value.map(shape)
      : value !== null && typeof value === 'object'
        ? Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shape(inner)]))
        : typeof value === 'string'
          ? (value.match(/\{\w+\}/g) ?? []).sort()
          : typeof value;
  const load = (tag: string): unknown => JSON.parse(readFileSync(new URL(`${tag}.json`, CATALOGUES), 'utf8'));
  it.each(JOIN_LANGUAGES)('%s has every text of English, with the same placeholders', (tag) => {
    expect(shape(load(tag))).toEqual(shape(load('en')));
    expect(load(tag)).toMatchObject({ lang: tag });
  });
  it.each([
    ['es', 'es'],
    ['es-419', 'es'],
    ['ar-EG', 'ar'],
    ['sw', null],
  ])('%s is shown in %s', (tag, expected) => {
    expect(joinLanguage(tag)).toBe(expected);
  });
  it('falls back to English and keeps the order of the site', () => {
    expect(joinLanguages(['sw'])).toEqual(['en']);
    expect(joinLanguages(['fr-CD', 'sw', 'fr', 'en'])).toEqual(['fr', 'en']);
  });
  it('warns about one that is not translated', () => {
    expect(service.rules?.(site(['en', 'sw']), {})).toMatchObject([
      { severity: 'warning', code: 'web/language-not-translated', path: ['site', 'languages', 1] },
    ]);
  });
});

describe('collect', () => {
  const data = (gathered: Partial<Gathered>): { readonly [key: string]: TemplateData } =>
    collect(site(['en', 'es']), gathered)?.files?.find((file) => file.path === '/etc/nginx/nginx.conf')
      ?.data ?? {};
  it('joins what several services put behind one name', () => {
    const web = [
      { label: 'share', locations: [place('/')] },
      { label: '', locations: [place('/a')] },
      { label: '', locations: [place('/b')] },
    ];
    expect(data({ web })['sites']).toMatchObject([
      { main: true, name: 'clinic.home.arpa', catchAll: false, locations: [{ path: '/a' }, { path: '/b' }] },
      { main: false, name: 'share.clinic.home.arpa', catchAll: true, locations: [{ path: '/' }] },
    ]);
    expect(collect(site(['en']), { web })?.certificates?.map((one) => one.labels)).toEqual([['', 'share']]);
  });
  it('has the domain itself even when nobody asks for it', () => {
    expect(data({})['sites']).toMatchObject([{ main: true, locations: [] }]);
  });
  it('makes a page for each language, with links between them only when there are several', () => {
    const pages = (languages: readonly string[]) =>
      collect(site(languages), {})?.files?.filter((file) => file.path.endsWith('/index.html')) ?? [];
    expect(pages(['ar', 'en']).map((file) => file.path.split('/').at(-2))).toEqual(['ar', 'en']);
    expect(pages(['ar', 'en'])[0]?.data?.['languages']).toHaveLength(2);
    expect(pages(['en'])[0]?.data?.['languages']).toEqual([]);
  });
});
