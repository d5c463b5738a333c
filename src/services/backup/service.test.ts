import { describe, expect, it } from 'vitest';
import type { Gathered, Site } from '../contract.js';
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

describe('backup', () => {
  it('lists what services declared, each once, sorted', () => {
    const files = service.collect?.(context(SITE), {
      ...NOTHING,
      backups: [
        { paths: ['/b', '/a'], sqlite: ['/c.sqlite'], postgres: ['d'], units: ['x.service'] },
        { paths: ['/a'], sqlite: [], units: ['x.service'] },
      ],
    }).files;
    expect(files?.map(({ path, data }) => [path, data?.['entries']])).toEqual([
      ['/etc/commesh/backup/paths', ['/a', '/b']],
      ['/etc/commesh/backup/databases', ['/c.sqlite']],
      ['/etc/commesh/backup/postgres', ['d']],
      ['/etc/commesh/backup/units', ['x.service']],
    ]);
  });
  it.each([true, false])('runs by itself: %s', (enabled) => {
    const declared = service.declare(context({ ...SITE, backup: { ...SITE.backup, enabled } }));
    expect(declared.units?.find(({ name }) => name === 'commesh-backup.timer')?.enabled).toBe(enabled);
    expect(declared.files?.some(({ path }) => path.endsWith('.rules'))).toBe(enabled);
    // By hand it always can.
    expect(declared.files?.some(({ path }) => path === '/usr/libexec/commesh/backup')).toBe(true);
  });
  it('keeps its key from everybody else', () => {
    const key = service.declare(context(SITE)).files?.find(({ path }) => path === '/etc/commesh/backup/key');
    expect(key).toMatchObject({ mode: '0600', owner: 'root', sensitive: true });
  });
});
