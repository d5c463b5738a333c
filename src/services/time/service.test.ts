import { describe, expect, it } from 'vitest';
import type { Site } from '../contract.js';
import { service } from './service.js';

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

describe('time', () => {
  it.each([
    ['pc', true],
    ['pi5', true],
    ['pi4', false],
  ] as const)('%s sets a clock of its own: %s', (board, own) => {
    const names = service.declare(context({ ...SITE, board })).packages?.map(({ name }) => name);
    expect(names?.includes('util-linux-extra')).toBe(own);
  });
  it('is given to the network of the kit only', () => {
    const conf = service.declare(context(SITE)).files?.find(({ path }) => path === '/etc/chrony/chrony.conf');
    expect(conf?.data).toMatchObject({ network: '10.77.0.0', prefix: 24 });
  });
});
