import { describe, expect, it } from 'vitest';
import type { Site } from '../contract.js';
import { service } from './service.js';

const site = (people: number, network: Partial<Site['network']> = {}): Site =>
  ({
    domain: 'clinic.home.arpa',
    people,
    network: { address: '10.77.0.1', prefix: 24, network: '10.77.0.0', broadcast: '10.77.0.255', ...network },
  }) as Site;
const declare = (where: Site, written: Record<string, unknown> = {}) =>
  service.declare({ site: where, settings: service.settings(where, written), use: () => undefined });
const configuration = (where: Site, written: Record<string, unknown> = {}) =>
  declare(where, written).files?.find((file) => file.path === '/etc/turnserver.conf')?.data ?? {};

describe('coturn', () => {
  it.each([
    // people, callers written, last relay port
    [8, undefined, 61_070],
    [1, undefined, 61_017],
    [100, undefined, 61_879],
    [100, 10, 61_087],
    [5000, undefined, 65_531],
  ])('sizes the relay range for %s people, %s of them in calls', (people, callers, last) => {
    const data = configuration(site(people), callers === undefined ? {} : { callers });
    expect([data['relayFrom'], data['relayTo']]).toEqual([61_000, last]);
  });
  it.each([
    ['10.77.0.0', '10.77.0.255', 24, '10.77.0.1', '10.77.0.254'],
    ['192.168.4.0', '192.168.7.255', 22, '192.168.4.1', '192.168.7.254'],
    ['172.16.0.4', '172.16.0.7', 30, '172.16.0.5', '172.16.0.6'],
  ])('allows the hosts of %s', (network, broadcast, prefix, first, last) => {
    const data = configuration(site(8, { network, broadcast, prefix }));
    expect([data['firstPeer'], data['lastPeer']]).toEqual([first, last]);
  });
  it('says in one place what the firewall opens and what nftables guards', () => {
    const { ports = [], files = [] } = declare(site(8));
    const range = ports.find((port) => !port.listening);
    const rules = files.find((file) => file.path === '/etc/nftables.d/50-coturn.nft')?.data;
    expect([range?.port, range?.to]).toEqual([rules?.['relayFrom'], rules?.['relayTo']]);
  });
  it('does not take more callers than people', () => {
    const where = site(8);
    expect(service.rules?.(where, service.settings(where, { callers: 9 }))).toMatchObject([
      { code: 'coturn/more-callers-than-people', path: ['services', 'coturn', 'callers'] },
    ]);
    expect(service.rules?.(where, service.settings(where, {}))).toEqual([]);
    expect(service.rules?.(site(1), service.settings(site(1), {}))).toEqual([]);
  });
});
