import { describe, expect, it } from 'vitest';
import type { Gathered, PortWish, Site } from '../contract.js';
import { openPorts, service } from './service.js';

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

const port = (more: Partial<PortWish>): PortWish => ({
  protocol: 'tcp',
  port: 1,
  scope: 'kit',
  purpose: '',
  listening: true,
  process: '',
  ...more,
});

describe('openPorts', () => {
  it('sorts, joins doubles, knows ranges, and leaves out what is for the kit itself', () => {
    const ports = [
      port({ port: 443 }),
      port({ port: 22 }),
      port({ port: 443 }),
      port({ port: 5280, scope: 'loopback' }),
      port({ port: 53, protocol: 'udp' }),
      port({ port: 49160, to: 49259, protocol: 'udp' }),
    ];
    expect(openPorts(ports, 'tcp')).toEqual(['22', '443']);
    expect(openPorts(ports, 'udp')).toEqual(['53', '49160-49259']);
  });
  it('has DHCP in a rule of its own', () => {
    const dhcp = port({ port: 67, protocol: 'udp' });
    expect(openPorts([dhcp], 'udp')).toEqual([]);
    const data = (ports: readonly PortWish[]) =>
      service.collect?.(context(SITE), { ...NOTHING, ports }).files?.[0]?.data;
    expect(data([dhcp])?.['dhcp']).toBe(true);
    expect(data([])?.['dhcp']).toBe(false);
  });
});
