import { describe, expect, it } from 'vitest';
import type { Site } from '../contract.js';
import { stableMac, service } from './service.js';

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

const WIFI: Site = {
  ...SITE,
  board: 'pi4',
  network: {
    ...SITE.network,
    mode: 'access-point',
    wifi: { ssid: 'café', country: 'KE', channel: 6, passphrase: { secret: 'wifi-passphrase' } },
  },
};
const hostapd = (site: Site) =>
  service.declare(context(site)).files?.find(({ path }) => path === '/etc/commesh/access-point/hostapd.conf');

describe('the address of the bridge', () => {
  it('is the same for every card of a site, another for another site, and locally administered', () => {
    expect(stableMac('clinic.home.arpa')).toBe(stableMac('clinic.home.arpa'));
    expect(stableMac('clinic.home.arpa')).not.toBe(stableMac('camp.home.arpa'));
    expect(stableMac('clinic.home.arpa')).toMatch(/^02:c0(:[0-9a-f]{2}){4}$/);
  });
});

describe('on a LAN', () => {
  it('has nothing of Wi-Fi', () => {
    const declared = service.declare(context(SITE));
    expect(declared.packages).toEqual([]);
    expect(declared.secrets).toEqual([]);
    expect(JSON.stringify(declared)).not.toContain('access-point');
  });
});

describe('as an access point', () => {
  it('writes the name of the Wi-Fi so that any language goes', () => {
    expect(hostapd(WIFI)?.data?.['ssid']).toBe('636166c3a9');
  });
  it('keeps the passphrase from everybody else', () => {
    expect(hostapd(WIFI)).toMatchObject({ mode: '0600', sensitive: true });
    expect(service.declare(context(WIFI)).secrets).toMatchObject([{ id: 'wifi-passphrase', kind: 'words' }]);
  });
  it.each([
    [6, false],
    [14, false],
    [36, true],
  ])('channel %i is in the 5 GHz band: %s', (channel, five) => {
    const wifi = { ...WIFI.network.wifi!, channel };
    expect(hostapd({ ...WIFI, network: { ...WIFI.network, wifi } })?.data?.['five']).toBe(five);
  });
  it.each([
    ['pi4', 'firmware-brcm80211'],
    ['pc', 'firmware-iwlwifi'],
  ] as const)('on %s brings %s', (board, firmware) => {
    expect(service.declare(context({ ...WIFI, board })).packages?.map(({ name }) => name)).toContain(
      firmware,
    );
  });
});
