import { Ajv2020 } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import type { BackupWish, Capabilities, Site } from '../contract.js';
import { tuning } from './database.js';
import { service } from './service.js';
import { SCHEMA, settingsOf, shareMB } from './settings.js';

const site = (over: Partial<Site> = {}): Site =>
  ({
    title: 'Clinic',
    domain: 'clinic.home.arpa',
    board: 'pi4',
    memoryMiB: 4096,
    storageGB: 64,
    people: 25,
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
const SISTER = { domain: 'north.home.arpa', address: '10.78.0.1', ca: 'PEM' };
const declare = (
  over: Partial<Site> = {},
  written: Record<string, unknown> = {},
  turn: Capabilities['turn'] | undefined = undefined,
) =>
  service.declare({
    site: site(over),
    settings: service.settings(site(over), written),
    use: (name) => (name === 'turn' ? turn : undefined) as never,
  });
const configuration = (...arguments_: Parameters<typeof declare>) =>
  declare(...arguments_).files?.find((file) => file.path.endsWith('/homeserver.yaml'))?.data ?? {};

describe('settings', () => {
  it.each([
    // board, memory, people, database, presence
    ['pi4', 4096, 25, 'postgres', false],
    ['pi4', 2048, 20, 'sqlite', false],
    ['pi4', 2048, 21, 'postgres', false],
    ['pi4', 4096, 5, 'postgres', false],
    ['pi5', 4096, 25, 'postgres', true],
    ['pc', 1024, 10, 'sqlite', false],
    ['pc', 8192, 120, 'postgres', true],
  ] as const)('of a %s with %d MiB for %d people', (board, memoryMiB, people, database, presence) => {
    expect(settingsOf(site({ board, memoryMiB, people }), {})).toMatchObject({ database, presence });
  });
  it.each([
    // storage GB, people, total, maximum, daily, share
    [16, 8, 3500, 87, 100, 437],
    [64, 25, 15_000, 100, 150, 600],
    [64, 120, 15_000, 100, 100, 125],
    [4, 50, 500, 10, 10, 10],
    [1, 200, 250, 1, 1, 1],
  ])('of %d GB for %d people: files', (storageGB, people, totalMB, maximumMB, dailyMB, share) => {
    const over = { storageGB, people };
    const settings = settingsOf(site(over), {});
    expect(settings.upload).toEqual({ totalMB, maximumMB, dailyMB, keepDays: 30 });
    expect(shareMB(site(over), totalMB)).toBe(share);
    expect(service.rules?.(site(over), settings)).toEqual([]);
  });
  it('takes what was written', () => {
    expect(
      settingsOf(site(), {
        database: 'sqlite',
        history: 'forever',
        upload: { maximum: '1 GB', daily: '2 GB', total: '60 GB', keep: '2w' },
        encryption: 'all',
        presence: true,
      }),
    ).toEqual({
      database: 'sqlite',
      historyDays: 0,
      upload: { maximumMB: 1000, dailyMB: 2000, totalMB: 60_000, keepDays: 14 },
      encryption: 'all',
      presence: true,
    });
  });
  it.each([
    [{ board: 'zero2w', people: 4 }, {}, 'synapse/board-too-small', 'error'],
    [{ board: 'pi3', people: 4 }, {}, 'synapse/board-too-small', 'error'],
    [{ people: 21 }, { database: 'sqlite' }, 'synapse/sqlite-people', 'error'],
    [{}, { upload: { maximum: '200 MB', daily: '100 MB' } }, 'synapse/upload-above-daily', 'error'],
    [{}, { upload: { daily: '700 MB' } }, 'synapse/upload-above-share', 'error'],
    [{}, { history: '7d', upload: { keep: '30d' } }, 'synapse/files-outlive-messages', 'warning'],
  ] as const)('complains about %j with %j', (over, written, code, severity) => {
    const found = service.rules?.(site(over), settingsOf(site(over), written)) ?? [];
    expect(found.map((one) => [one.code, one.severity])).toEqual([[code, severity]]);
  });
  const check = new Ajv2020({ strict: true }).compile(SCHEMA);
  it.each([
    [{}, true],
    [{ database: 'postgres', history: 'forever', presence: false, encryption: 'none' }, true],
    [{ database: 'mysql' }, false],
    [{ presence: 'off' }, false],
    [{ upload: { maxmum: '100 MB' } }, false],
  ])('schema: %j is %s', (written, valid) => {
    expect(check(written)).toBe(valid);
  });
});

describe('PostgreSQL', () => {
  it.each([
    [1024, 32, 256],
    [2048, 64, 512],
    [4096, 128, 1024],
    [32_768, 512, 8192],
  ])('with %d MiB keeps %d MiB to itself and counts on %d', (memory, sharedBuffers, effectiveCache) => {
    expect(tuning(memory)).toMatchObject({ sharedBuffers, effectiveCache });
  });
  it('is there only when it is used', () => {
    const of = (database: string) => {
      const { packages, files, units, backup } = declare({ people: 8 }, { database });
      return {
        server: packages?.some(({ name }) => name === 'postgresql-17'),
        files: files?.filter(({ path }) => path.includes('postgresql')).length,
        units: units?.map(({ name }) => name),
        backup: (({ sqlite, postgres }) => ({ sqlite, postgres }))(backup as BackupWish),
      };
    };
    expect(of('postgres')).toEqual({
      server: true,
      files: 7,
      units: ['synapse.service', 'postgresql.service', 'commesh-postgresql-cluster.service'],
      backup: { sqlite: [], postgres: ['synapse'] },
    });
    expect(of('sqlite')).toEqual({
      server: false,
      files: 0,
      units: ['synapse.service'],
      backup: { sqlite: ['/srv/commesh/synapse/homeserver.db'], postgres: [] },
    });
  });
});

describe('declaration', () => {
  it('speaks to no other server', () => {
    expect(configuration()).toMatchObject({ sisterDomains: [], sisterAddresses: [], federated: false });
    expect(declare().ports?.map(({ port }) => port)).toEqual([8008]);
    expect(JSON.stringify(declare().web)).not.toContain('federation');
  });
  it('speaks to its sisters and no others', () => {
    const federation = [SISTER];
    expect(configuration({ federation })).toMatchObject({
      sisterDomains: ['north.home.arpa'],
      sisterAddresses: ['10.78.0.1/32'],
      sisterCas: ['/etc/commesh/federation/north.home.arpa.crt'],
      federated: true,
    });
    const { ports, web, files } = declare({ federation });
    expect(ports?.map(({ port }) => port)).toEqual([8008, 8009]);
    expect(web?.[0]?.locations.map(({ path, json }) => [path, JSON.parse(json ?? '')])).toEqual([
      ['/.well-known/matrix/client', { 'm.homeserver': { base_url: 'https://matrix.clinic.home.arpa' } }],
      ['/.well-known/matrix/server', { 'm.server': 'matrix.clinic.home.arpa:443' }],
    ]);
    expect(files?.find(({ path }) => path.endsWith('/synapse.service'))?.data?.['sisters']).toEqual([
      '10.78.0.1',
    ]);
  });
  it('never passes the admin API on', () => {
    const paths = declare({ federation: [SISTER] }).web?.flatMap(({ locations }) =>
      locations.map(({ path }) => path),
    );
    expect(paths?.filter((path) => '/_synapse/admin/'.startsWith(path))).toEqual([]);
  });
  it('hands out TURN credentials only when the kit has a relay, and says who can call', () => {
    expect(configuration()['turn']).toBeNull();
    expect(declare().join?.map(({ id }) => id)).toEqual(['matrix', 'matrix-no-calls']);
    expect(declare().notes?.map(({ code }) => code)).toEqual(['synapse/no-calls']);
    expect(declare({}, {}, TURN).notes?.map(({ code }) => code)).toEqual(['synapse/calls']);
    expect(configuration({}, {}, TURN)['turn']).toEqual({
      uris: ['turn:turn.x:3478?transport=udp', 'turn:turn.x:3478?transport=tcp'],
    });
    expect(declare({}, {}, TURN).join?.map(({ id }) => id)).toEqual(['matrix', 'matrix-calls']);
  });
  it('keeps no secret in the configuration', () => {
    expect(JSON.stringify(configuration({}, {}, TURN))).not.toContain('"secret"');
  });
});
