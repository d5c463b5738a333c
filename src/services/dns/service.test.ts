import { describe, expect, it } from 'vitest';
import type { Gathered, Site } from '../contract.js';
import { rangeSize, service } from './service.js';

/** A LAN kit; single settings are changed by the tests. */
const SITE: Site = {
  name: 'clinic',
  title: 'Clinic',
  domain: 'clinic.home.arpa',
  languages: ['en'],
  timezone: 'Africa/Nairobi',
  board: 'pc',
  arch: 'amd64',
  base: 'debian',
  memoryMiB: 2048,
  storageGB: 32,
  mirror: 'auto',
  people: 8,
  network: {
    mode: 'lan',
    address: '10.77.0.1',
    prefix: 24,
    network: '10.77.0.0',
    netmask: '255.255.255.0',
    broadcast: '10.77.0.255',
    dhcp: { enabled: true, from: '10.77.0.20', to: '10.77.0.250', leaseHours: 12 },
    wifi: null,
  },
  admin: { keys: [] },
  backup: { enabled: true, at: '02:30', keep: { daily: 7, weekly: 4, monthly: 6 } },
  federation: [],
  services: {},
};
const context = (site: Site) => ({ site, settings: {}, use: () => undefined });

const NOTHING: Gathered = {
  packages: [],
  files: [],
  units: [],
  ports: [],
  names: [],
  srv: [],
  web: [],
  join: [],
  certificates: [],
  backups: [],
};

const data = (site: Site, gathered: Partial<Gathered> = {}) =>
  service.collect?.(context(site), { ...NOTHING, ...gathered }).files?.[0]?.data;

describe('rangeSize', () => {
  it.each([
    ['10.77.0.20', '10.77.0.250', 231],
    ['10.0.0.255', '10.0.1.0', 2],
    ['10.0.0.1', '10.0.0.1', 1],
  ])('%s to %s holds %i', (from, to, size) => {
    expect(rangeSize(from, to)).toBe(size);
  });
});

describe('names', () => {
  it('has the domain first, for the reverse record, and each name once', () => {
    expect(
      data(SITE, { names: [{ label: 'share' }, { label: '' }, { label: 'groups' }, { label: 'share' }] })?.[
        'names'
      ],
    ).toEqual(['clinic.home.arpa', 'groups.clinic.home.arpa', 'share.clinic.home.arpa']);
  });
  it('answers the targets of SRV records too', () => {
    const record = {
      symbol: 'turn',
      protocol: 'udp',
      label: '',
      targetLabel: 'turn',
      port: 3478,
      priority: 0,
      weight: 5,
    } as const;
    expect(data(SITE, { srv: [record, { ...record, symbol: 'stun' }] })).toMatchObject({
      names: ['clinic.home.arpa', 'turn.clinic.home.arpa'],
      srv: [
        '_stun._udp.clinic.home.arpa,turn.clinic.home.arpa,3478,0,5',
        '_turn._udp.clinic.home.arpa,turn.clinic.home.arpa,3478,0,5',
      ],
    });
  });
});

describe('DHCP', () => {
  it.each([
    [true, [53, 53, 67]],
    [false, [53, 53]],
  ])('on: %s opens %j', (enabled, ports) => {
    const site = { ...SITE, network: { ...SITE.network, dhcp: { ...SITE.network.dhcp, enabled } } };
    expect(service.declare(context(site)).ports?.map(({ port }) => port)).toEqual(ports);
    expect(data(site)?.['dhcp']).toBe(enabled);
  });
});
