import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import type { Capabilities, Site } from '../contract.js';
import { CHAT_LANGUAGES, chatLanguages } from './languages.js';
import { IMPORTS_HASH, policy } from './policy.js';
import { service } from './service.js';

const TEMPLATES = new URL('../../../templates/webchat/', import.meta.url);
const PAGES = new URL('usr/share/commesh/webchat/', TEMPLATES);
const SITE = { title: 'Clinic', domain: 'clinic.home.arpa', languages: ['es-419', 'en'] } as unknown as Site;
const MATRIX: Capabilities['matrix'] = {
  server: 'clinic.home.arpa',
  baseUrl: 'https://matrix.clinic.home.arpa',
};
const declare = (
  written: Record<string, unknown> = {},
  matrix: Capabilities['matrix'] | undefined = MATRIX,
) =>
  service.declare({
    site: SITE,
    settings: service.settings(SITE, written),
    use: (name) => (name === 'matrix' ? matrix : undefined) as never,
  });
const locations = (client: string) => declare({ client }).web?.[0]?.locations ?? [];

describe('settings', () => {
  const accepts = new Ajv2020({ strict: true }).compile(service.schema);
  it.each([
    [{}, true],
    [{ client: 'element' }, true],
    [{ client: 'cinny' }, false],
    [{ klient: 'hydrogen' }, false],
  ])('%j: %s', (written, good) => expect(accepts(written)).toBe(good));
  it('is Hydrogen unless said otherwise', () =>
    expect(service.settings(SITE, {})).toEqual({ client: 'hydrogen' }));
});

describe('without a Matrix server', () => {
  it('says what it needs and serves nothing', () => {
    expect(service.needs?.(SITE, { client: 'hydrogen' })).toEqual(['matrix']);
    expect(service.declare({ site: SITE, settings: { client: 'hydrogen' }, use: () => undefined })).toEqual({
      backup: { none: expect.any(String) as string },
    });
  });
});

describe('policies', () => {
  it.each(['hydrogen', 'element'])('of %s name no host but the kit', (client) => {
    const policies = locations(client).flatMap((one) => one.policy ?? []);
    expect(policies.length).toBeGreaterThan(1);
    for (const one of policies) {
      const hosts = [...one.matchAll(/\w+:\/\/([^\s;]+)/g)].map(([, host]) => host);
      expect(hosts.filter((host) => !/(^|\.)clinic\.home\.arpa$/.test(host ?? ''))).toEqual([]);
      expect(one).not.toMatch(/\*|unsafe-eval'(?<!wasm-unsafe-eval')| https:[ ;]/);
    }
  });
  it('allow scripts in the HTML nowhere, but for the list of imports', () => {
    const html = readFileSync(new URL('index.html.hbs', PAGES), 'utf8');
    const inline = [...html.matchAll(/<script(?![^>]*src=)[^>]*>(.*?)<\/script>/gs)].map(
      ([, text]) => text ?? '',
    );
    expect(inline.map((text) => `sha256-${createHash('sha256').update(text).digest('base64')}`)).toEqual([
      IMPORTS_HASH,
    ]);
    const [main] = locations('hydrogen');
    expect(main?.policy).toContain(`script-src 'self' 'wasm-unsafe-eval' '${IMPORTS_HASH}'`);
  });
  it('is strict for plain pages', () => {
    expect(policy({ connect: ['https://a.b'] })).toBe(
      "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self' https://a.b; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    );
  });
});

describe('hydrogen', () => {
  it('is told of this server only', () => {
    const config = declare().files?.find(({ path }) => path.endsWith('/config.json'));
    expect(config?.data).toEqual({
      config: { defaultHomeServer: 'clinic.home.arpa', languages: ['es', 'en'] },
    });
  });
  it('gets every file its pages load', () => {
    const there = new Set([
      ...(declare().files ?? []).map(({ path }) => path),
      ...(declare().tarballs ?? []).flatMap(({ files }) => files.map(({ to }) => to)),
    ]);
    const texts = ['index.html.hbs', 'app.js', 'join/index.html.hbs'].map((name) =>
      readFileSync(new URL(name, PAGES), 'utf8'),
    );
    const loaded = texts.flatMap((text) => [
      ...text.matchAll(/["'](\/[a-z0-9./-]+\.(?:js|css|json|wasm))["']/g),
    ]);
    expect(loaded.length).toBeGreaterThan(12);
    const missing = loaded
      .map(([, path]) => `/usr/share/commesh/webchat${path}`)
      .filter((path) => !there.has(path) && !path.includes('/assets/') && !path.endsWith('/style.css'));
    expect(missing).toEqual([]);
  });
});

describe('element', () => {
  const config = () =>
    JSON.parse(locations('element').find(({ path }) => path === '/config.json')?.json ?? '') as Record<
      string,
      unknown
    >;
  it('comes from its publisher, by the key of its publisher', () => {
    const { packages, archives, tarballs } = declare({ client: 'element' });
    expect(packages).toEqual([{ name: 'element-web', archive: 'element-io' }]);
    expect(archives?.[0]?.fingerprints).toEqual(['12D4CD600C2240A9F4A82071D7B0B66941D01538']);
    expect(tarballs).toBeUndefined();
  });
  it('is told of this server only, and of nothing its makers run', () => {
    expect(config()).toMatchObject({
      default_server_config: {
        'm.homeserver': { base_url: 'https://matrix.clinic.home.arpa', server_name: 'clinic.home.arpa' },
      },
      disable_custom_urls: true,
      disable_guests: true,
      room_directory: { servers: ['clinic.home.arpa'] },
      permalink_prefix: 'https://chat.clinic.home.arpa',
    });
    const keys = Object.keys(config());
    const unwanted = /identity|integrations|posthog|sentry|bug_report|map_style|jitsi|terms/;
    expect(config()).toMatchObject({ element_call: { disable: true } });
    expect(keys.filter((key) => unwanted.test(key))).toEqual([]);
    const hosts = [...JSON.stringify(config()).matchAll(/https?:\/\/([^/"]+)/g)].map(([, host]) => host);
    expect(hosts.filter((host) => !host?.endsWith('clinic.home.arpa'))).toEqual([]);
  });
});

describe('languages', () => {
  const load = (tag: string): unknown =>
    JSON.parse(readFileSync(new URL(`i18n/${tag}.json`, TEMPLATES), 'utf8'));
  const shape = (value: unknown, key = ''): unknown =>
    value !== null && typeof value === 'object'
      ? Object.fromEntries(
          Object.entries(value)
            .filter(() => key !== 'client')
            .map(([inner, one]) => [inner, shape(one, inner)]),
        )
      : (String(value).match(/\{\w+\}/g) ?? []).sort();
  it('are those that have a catalogue', () => {
    const files = readdirSync(new URL('i18n/', TEMPLATES)).map((name) => name.replace('.json', ''));
    expect(files.sort()).toEqual([...CHAT_LANGUAGES].sort());
  });
  it.each(CHAT_LANGUAGES)('%s has every text of English, with the same placeholders', (tag) => {
    expect(shape(load(tag))).toEqual(shape(load('en')));
    expect(load(tag)).toMatchObject({ lang: tag, app: { lang: tag } });
  });
  it.each(CHAT_LANGUAGES)('%s keeps the gaps of the texts of the client', (tag) => {
    const { client } = (load(tag) as { app: { client: Record<string, string> } }).app;
    const gaps = (text: string): readonly string[] => (text.match(/\{\d+\}/g) ?? []).sort();
    for (const [key, text] of Object.entries(client)) expect(gaps(text), key).toEqual(gaps(key));
  });
  it('keep the order of the site, English when none is there', () => {
    expect(chatLanguages(['fr-CD', 'sw', 'fr', 'en'])).toEqual(['fr', 'en']);
    expect(chatLanguages(['sw'])).toEqual(['en']);
  });
});
