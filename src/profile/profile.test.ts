import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { fault } from '../diagnostics/diagnostic.js';
import { ProfileError } from '../diagnostics/errors.js';
import { defineService, type Service, type Site } from '../services/contract.js';
import { checkProfileText, loadProfile } from './index.js';

/** A service as small as one can be, told what it gets. */
const chat = defineService<{ limit: number; domain: string }>({
  id: 'chat',
  title: 'Chat',
  summary: 'A service for tests.',
  always: false,
  schema: {
    type: 'object',
    additionalProperties: false,
    properties: {
      limit: { type: 'integer', minimum: 1, maximum: 10, description: 'a limit' },
      kind: { anyOf: [{ type: 'integer' }, { type: 'boolean' }], description: 'a number, or true' },
      tags: {
        type: 'array',
        items: { type: 'string', pattern: '^[a-z]+$', description: 'small letters' },
        minItems: 1,
        uniqueItems: true,
      },
    },
  },
  settings: (site, written) => ({ limit: Number(written['limit'] ?? 3), domain: site.domain }),
  rules: (_site, settings) =>
    settings.limit === 7 ? [fault('chat/seven', 'seven is taken', ['services', 'chat', 'limit'])] : [],
  declare: () => ({}),
}) as Service;
const clock = {
  ...chat,
  id: 'clock',
  always: true,
  settings: () => ({ tick: 1 }),
  rules: () => [],
} as Service;
const services: readonly Service[] = [chat, clock];

const SMALL =
  'site: {name: clinic, title: Clinic}\nboard: pi4\nnetwork:\n  mode: access-point\n  wifi:\n    country: KE\n';
const siteOf = (text: string): Site => {
  const { profile, diagnostics } = checkProfileText('p.yaml', text, services);
  if (!profile) throw new Error(JSON.stringify(diagnostics));
  return profile.site;
};
const codesOf = (text: string): string[] =>
  checkProfileText('p.yaml', text, services).diagnostics.map(
    (one) => `${one.line}:${one.column} ${one.code}`,
  );

describe('the site', () => {
  it('is complete', () => {
    expect(siteOf(SMALL)).toEqual({
      name: 'clinic',
      title: 'Clinic',
      domain: 'clinic.home.arpa',
      languages: ['en'],
      timezone: 'UTC',
      board: 'pi4',
      arch: 'arm64',
      base: 'debian',
      memoryMiB: 2048,
      storageGB: 16,
      mirror: 'auto',
      people: 8,
      network: {
        mode: 'access-point',
        address: '10.77.0.1',
        prefix: 24,
        network: '10.77.0.0',
        netmask: '255.255.255.0',
        broadcast: '10.77.0.255',
        dhcp: { enabled: true, from: '10.77.0.20', to: '10.77.0.250', leaseHours: 12 },
        wifi: { ssid: 'clinic', country: 'KE', channel: 6, passphrase: { secret: 'wifi-passphrase' } },
      },
      admin: { keys: [] },
      backup: { enabled: true, at: '02:30', keep: { daily: 7, weekly: 4, monthly: 6 } },
      federation: [],
      services: { clock: { tick: 1 } },
    });
  });

  it.each([
    ['zero2w', 512, 16, 'arm64', 'debian'],
    ['pi3', 1024, 16, 'arm64', 'debian'],
    ['pi4', 2048, 16, 'arm64', 'debian'],
    ['pi5', 4096, 16, 'arm64', 'raspberry-pi-os'],
    ['pc', 2048, 32, 'amd64', 'debian'],
  ])('has what fits a %s', (board, memoryMiB, storageGB, arch, base) => {
    expect(siteOf(SMALL.replace('pi4', board))).toMatchObject({ memoryMiB, storageGB, arch, base });
  });

  it('cannot be changed, at any depth', () => {
    const site = siteOf(`${SMALL}services: {chat: true}\n`) as unknown as {
      network: { wifi: { ssid: string } };
      services: Record<string, { limit: number }>;
    };
    expect(() => (site.network.wifi.ssid = 'x')).toThrow(TypeError);
    expect(() => (site.services['new'] = { limit: 1 })).toThrow(TypeError);
    expect(() => {
      if (site.services['chat']) site.services['chat'].limit = 4;
    }).toThrow(TypeError);
  });

  it('never holds the passphrase', () => {
    const { profile } = checkProfileText('p.yaml', `${SMALL}    passphrase: four plain words\n`, services);
    expect(profile?.given).toEqual({ 'wifi-passphrase': 'four plain words' });
    expect(JSON.stringify(profile?.site)).not.toContain('plain words');
    expect(profile?.document.shown).not.toContain('plain words');
  });

  it('switches services on, off and to settings', () => {
    expect(siteOf(`${SMALL}services: {chat: true}\n`).services).toEqual({
      chat: { limit: 3, domain: 'clinic.home.arpa' },
      clock: { tick: 1 },
    });
    expect(siteOf(`${SMALL}services: {chat: {limit: 5}}\n`).services).toMatchObject({ chat: { limit: 5 } });
    expect(siteOf(`${SMALL}services: {chat: false}\n`).services).toEqual({ clock: { tick: 1 } });
    expect(siteOf(`${SMALL}services: {chat: {}}\n`).services).toMatchObject({ chat: { limit: 3 } });
  });

  it('keeps the usual services on when another one is named', () => {
    const prosody = { ...chat, id: 'prosody' } as Service;
    const { profile } = checkProfileText('p.yaml', `${SMALL}services: {chat: true}\n`, [chat, prosody]);
    expect(Object.keys(profile?.site.services ?? {})).toEqual(['chat', 'prosody']);
  });

  it('makes languages and keys regular', () => {
    const text = SMALL.replace('title: Clinic', 'title: Clinic, languages: [EN-gb, sw]');
    expect(siteOf(text).languages).toEqual(['en-GB', 'sw']);
  });
});

describe("services' own schemas and rules", () => {
  it.each([
    ['{limit: 11}', ['8:17 profile/out-of-range']],
    ['{limit: three}', ['8:17 profile/wrong-type']],
    ['{limit: 7}', ['8:17 chat/seven']],
    ['{kind: text}', ['8:16 profile/wrong-form']],
    ['{tags: [ab, C]}', ['8:21 profile/wrong-form']],
    ['{tags: [ab, ab]}', ['8:21 profile/twice']],
    ['{tags: []}', ['8:10 profile/too-few']],
    ['{limits: 3}', ['8:10 profile/unknown-setting']],
    ['3', ['8:9 profile/wrong-type']],
    ['', ['8:3 profile/empty-setting']],
    ['{limit: }', ['8:10 profile/empty-setting']],
  ])('services: chat: %s', (written, expected) => {
    expect(codesOf(`${SMALL}services:\n  chat: ${written}\n`)).toEqual(expected);
  });
});

describe('places', () => {
  const loaded = checkProfileText('p.yaml', `# a comment\n${SMALL}`, services).profile;
  if (!loaded) throw new Error('the profile of this test is not good');

  it.each([
    [['board'], 'value', '3:8+3'],
    [['board'], 'key', '3:1+5'],
    [['site', 'name'], 'value', '2:14+6'],
    [['network', 'wifi', 'country'], 'value', '7:14+2'],
    // A section is told at its name.
    [['network', 'wifi'], 'value', '6:3+4'],
    // What is not there is told at the nearest thing that is.
    [['network', 'wifi', 'ssid'], 'value', '6:3+4'],
    [['network', 'dhcp', 'from'], 'value', '4:1+7'],
    [['services', 'chat', 'limit'], 'value', '2:1+4'],
    [[], 'value', '2:1+4'],
    [['board', 'below', 3], 'value', '3:1+5'],
    [['site', 7], 'value', '2:1+4'],
  ] as const)('%j (%s) stands at %s', (path, at, expected) => {
    const { file, line, column, length } = loaded.locate(path, at);
    expect([file, `${line}:${column}+${length}`]).toEqual(['p.yaml', expected]);
  });

  it('later faults get theirs, too', () => {
    const error = loaded.error([fault('plan/port', 'taken', ['network', 'wifi', 'country'])]);
    expect(error).toBeInstanceOf(ProfileError);
    expect(error.diagnostics[0]).toMatchObject({ file: 'p.yaml', line: 7, column: 14, code: 'plan/port' });
    expect(error.sources.get('p.yaml')).toContain('country: KE');
  });
});

describe('loadProfile', () => {
  const folder = mkdtempSync(join(tmpdir(), 'profile-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('gives the site, and throws everything that is wrong at once', async () => {
    const good = join(folder, 'good.yaml');
    writeFileSync(good, SMALL);
    await expect(loadProfile(good, services)).resolves.toMatchObject({
      site: { name: 'clinic' },
      warnings: [],
    });
    const bad = join(folder, 'bad.yaml');
    writeFileSync(bad, SMALL.replace('country: KE', 'country: XX').replace('name: clinic', 'name: Clinic'));
    const error: unknown = await loadProfile(bad, services).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ProfileError);
    expect((error as ProfileError).diagnostics.map((one) => one.code)).toEqual([
      'profile/site-name',
      'profile/country',
    ]);
    expect((error as ProfileError).exitCode).toBe(2);
  });

  // The superuser may read everything.
  it.skipIf(process.getuid?.() === 0)('says when a file may not be read', async () => {
    const file = join(folder, 'closed.yaml');
    writeFileSync(file, SMALL);
    chmodSync(file, 0o000);
    await expect(loadProfile(file, services)).rejects.toMatchObject({
      diagnostics: [{ code: 'profile/unreadable' }],
    });
  });
});

it('gives the same for the same text', () => {
  const once = checkProfileText('p.yaml', SMALL, services);
  const twice = checkProfileText('p.yaml', SMALL, services);
  expect(JSON.stringify(twice.profile?.site)).toBe(JSON.stringify(once.profile?.site));
});
