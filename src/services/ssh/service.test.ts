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

const files = service.declare(context({ ...SITE, admin: { keys: ['ssh-ed25519 AAAA me'] } })).files ?? [];

describe('keys', () => {
  it("are the operator's and those of the profile", () => {
    const authorized = files.find(({ path }) => path === '/etc/ssh/authorized_keys.d/kit');
    expect(authorized?.data).toEqual({
      keys: ['ssh-ed25519 AAAA me'],
      operator: { secret: 'ssh-operator.pub' },
    });
  });
  it('leave the private half of the operator off the kit', () => {
    expect(JSON.stringify(files)).not.toContain('"ssh-operator"');
  });
  it('of the kit are readable by root only', () => {
    expect(files.find(({ path }) => path === '/etc/ssh/ssh_host_ed25519_key')).toMatchObject({
      mode: '0600',
      owner: 'root',
      sensitive: true,
    });
  });
});
