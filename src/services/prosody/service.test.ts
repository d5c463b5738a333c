import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import type { Capabilities, Site } from '../contract.js';
import { service } from './service.js';
import { SCHEMA, settingsOf } from './settings.js';

const site = (over: Partial<Site> = {}): Site =>
  ({
    title: 'Clinic',
    domain: 'clinic.home.arpa',
    storageGB: 16,
    people: 8,
    network: { address: '10.77.0.1' },
    federation: [],
    ...over,
  }) as Site;
const TURN: Capabilities['turn'] = {
  host: 'turn.x',
  port: 3478,
  tlsPort: 5349,
  secret: { secret: 'turn-secret' },
};
const declare = (
  turn: Capabilities['turn'] | undefined,
  written: Record<string, unknown> = {},
  over: Partial<Site> = {},
) =>
  service.declare({
    site: site(over),
    settings: service.settings(site(over), written),
    use: (name) => (name === 'turn' ? turn : undefined) as never,
  });

describe('settings', () => {
  it.each([
    // storage GB, people, total, maximum, daily
    [8, 4, 1500, 37, 93],
    [16, 8, 3500, 87, 100],
    [32, 8, 7500, 100, 230],
    [128, 30, 31_000, 100, 250],
    [4, 50, 500, 12, 12],
    [1, 1, 250, 10, 62],
  ])('of %d GB for %d people', (storageGB, people, totalMB, maximumMB, dailyMB) => {
    const { upload } = settingsOf(site({ storageGB, people }), {});
    expect(upload).toEqual({ totalMB, maximumMB, dailyMB, keepDays: 30 });
    expect(service.rules?.(site(), settingsOf(site({ storageGB, people }), {}))).toEqual([]);
  });
  it('takes what was written', () => {
    expect(
      settingsOf(site(), {
        history: 'forever',
        upload: { maximum: '1 GB', daily: '2 GB', total: '4 GB', keep: '2w' },
        groups: 'open',
        invites: { from: 'everyone', valid: '3d' },
      }),
    ).toEqual({
      historyDays: 0,
      upload: { maximumMB: 1000, dailyMB: 2000, totalMB: 4000, keepDays: 14 },
      groups: 'open',
      invites: { from: 'everyone', validDays: 3 },
    });
    expect(settingsOf(site(), { history: 'forever' }).upload.keepDays).toBe(365);
  });
  it.each([
    [{ upload: { maximum: '1 GB', daily: '500 MB' } }, 'prosody/upload-above-daily', 'error'],
    [{ upload: { daily: '9 GB', maximum: '1 MB' } }, 'prosody/upload-above-total', 'error'],
    [{ history: '7d', upload: { keep: '30d' } }, 'prosody/files-outlive-messages', 'warning'],
    [{ history: '7d', upload: { keep: 'forever' } }, 'prosody/files-outlive-messages', 'warning'],
  ])('complains about %j', (written, code, severity) => {
    const found = service.rules?.(site(), settingsOf(site(), written)) ?? [];
    expect(found.map((one) => [one.code, one.severity])).toEqual([[code, severity]]);
  });
  const check = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(SCHEMA);
  it.each([
    [{}, true],
    [{ history: '30d', upload: { maximum: '5 MB' }, groups: 'members' }, true],
    [{ history: 'forever' }, true],
    [{ history: 'for ever' }, false],
    [{ history: 30 }, false],
    [{ history: '0d' }, false],
    [{ upload: { maximum: '100' } }, false],
    [{ upload: { maxmum: '100 MB' } }, false],
    [{ groups: 'closed' }, false],
    [{ invites: { valid: 'forever' } }, false],
  ])('schema: %j is %s', (written, valid) => {
    expect(check(written)).toBe(valid);
  });
});

describe('declaration', () => {
  it('hands out TURN credentials only when the kit has a relay', () => {
    const configuration = (turn: Capabilities['turn'] | undefined) =>
      declare(turn).files?.find((file) => file.path === '/etc/prosody/prosody.cfg.lua')?.data?.['turn'];
    expect(configuration(undefined)).toBeNull();
    expect(configuration(TURN)).toEqual({ ...TURN });
  });
  it('names the folder of the files as Prosody does', () => {
    const { backup } = declare(undefined, {}, { domain: 'a-b.home.arpa' });
    expect(backup).toMatchObject({ paths: ['/srv/commesh/prosody/share%2ea%2db%2ehome%2earpa'] });
  });
  it('lets the web server take files of the allowed size, and a little more', () => {
    const share = declare(undefined, { upload: { maximum: '50 MB', daily: '50 MB' } }).web?.find(
      (one) => one.label === 'share',
    );
    expect(share?.locations.map((location) => location.bodyMiB)).toEqual([51]);
  });
});

describe('sister sites', () => {
  const sister = (domain: string) => ({ domain, address: '10.77.0.2', ca: '' });
  const of = (...domains: string[]) => declare(undefined, {}, { federation: domains.map(sister) });

  it('are spoken to at a port of their own, which is not there without them', () => {
    const open = (declaration: ReturnType<typeof declare>) =>
      declaration.ports?.filter(({ port }) => port === 5269).map(({ scope }) => scope);
    expect(open(of())).toEqual([]);
    expect(open(of('school.home.arpa'))).toEqual(['sisters']);
  });

  it('are the only ones spoken to, with groups and files', () => {
    const data = of('school.home.arpa').files?.find(({ path }) => path.endsWith('prosody.cfg.lua'))?.data;
    expect(data?.['sisters']).toEqual([
      'school.home.arpa',
      'groups.school.home.arpa',
      'share.school.home.arpa',
    ]);
    expect(data?.['zone']).toBe('home.arpa');
  });

  it('need names the resolver can be told of', () => {
    const rules = (...domains: string[]) =>
      service
        .rules?.(site({ federation: domains.map(sister) }), settingsOf(site(), {}))
        .map(({ code }) => code);
    expect(rules('school.home.arpa', 'market.example.org')).toEqual([]);
    expect(rules('school.test')).toEqual(['prosody/sister-zones']);
  });
});
