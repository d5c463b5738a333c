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

const packages = (site: Partial<Site>): readonly string[] =>
  (service.declare(context({ ...SITE, ...site })).packages ?? []).map(({ name }) => name);
const files = (site: Partial<Site>) => service.declare(context({ ...SITE, ...site })).files ?? [];

describe('packages', () => {
  it.each([
    ['pc', 'debian', ['linux-image-amd64']],
    ['pi4', 'debian', ['linux-image-arm64']],
    ['zero2w', 'raspberry-pi-os', ['linux-image-rpi-v8']],
    ['pi5', 'raspberry-pi-os', ['linux-image-rpi-2712', 'linux-image-rpi-v8']],
  ] as const)('%s on %s has its kernel', (board, base, kernels) => {
    expect(
      packages({ board, base })
        .filter((name) => name.startsWith('linux-image'))
        .sort(),
    ).toEqual(kernels);
  });
  it('leaves out D-Bus and logind where there is no power button to press', () => {
    const masked = (board: Site['board']): boolean =>
      files({ board }).some(
        ({ path, target }) => path.endsWith('/systemd-logind.service') && target === '/dev/null',
      );
    expect([packages({ board: 'pi4' }).includes('dbus'), masked('pi4')]).toEqual([false, true]);
    expect([packages({ board: 'pc' }).includes('dbus'), masked('pc')]).toEqual([true, false]);
  });
});

describe('files', () => {
  it('point the clock at the time zone of the place', () => {
    expect(files({}).find(({ path }) => path === '/etc/localtime')?.target).toBe(
      '/usr/share/zoneinfo/Africa/Nairobi',
    );
  });
  it('keep agetty from reading escapes in the title', () => {
    const issue = files({ title: 'a\\n b' }).find(({ path }) => path === '/etc/issue');
    expect(issue?.data?.['title']).toBe('a\\\\n b');
  });
});

describe('after all have declared', () => {
  it('ties every unit that keeps state to the data partition, once', () => {
    const backup = { paths: [], sqlite: [], units: ['chat.service'] };
    const declared = service.collect?.(context(SITE), { ...NOTHING, backups: [backup, backup] }).files ?? [];
    expect(declared.map(({ path }) => path)).toEqual([
      '/etc/systemd/system/chat.service.d/10-commesh-data.conf',
      '/etc/tmpfiles.d/commesh-log.conf',
    ]);
  });
  it('makes the folders services want below /var/log at every start', () => {
    const folder = (path: string) =>
      ({ path, kind: 'directory', mode: '0750', owner: 'chat', group: 'adm' }) as const;
    const declared = service.collect?.(context(SITE), {
      ...NOTHING,
      files: [folder('/var/log/web'), folder('/var/lib/x'), folder('/var/log/chat')],
    });
    expect(declared?.files?.at(-1)?.data?.['folders']).toMatchObject([
      { path: '/var/log/chat' },
      { path: '/var/log/web' },
    ]);
  });
});
