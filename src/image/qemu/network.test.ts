import { describe, expect, it } from 'vitest';
import { kitPorts, userNetwork } from './network.js';

const forwards = { address: '127.0.0.1', tcp: { '22': 20022 }, udp: { '53': 20053 } };
const ports = [
  { protocol: 'tcp', port: 22 },
  { protocol: 'udp', port: 53 },
] as const;
const network = { address: '10.77.0.1', network: '10.77.0.0', broadcast: '10.77.0.255', prefix: 24 };

describe('kitPorts', () => {
  it('takes what people reach, each port once', () => {
    expect(
      kitPorts([
        { protocol: 'udp', port: 67, scope: 'kit' },
        { protocol: 'tcp', port: 443, scope: 'kit' },
        { protocol: 'tcp', port: 443, scope: 'kit' },
        { protocol: 'tcp', port: 5280, scope: 'loopback' },
        { protocol: 'udp', port: 53, scope: 'kit' },
        { protocol: 'tcp', port: 22, to: 24, scope: 'kit' },
        { protocol: 'udp', port: 49152, to: 65535, scope: 'kit' },
      ]),
    ).toEqual([
      { protocol: 'tcp', port: 22 },
      { protocol: 'tcp', port: 23 },
      { protocol: 'tcp', port: 24 },
      { protocol: 'tcp', port: 443 },
      { protocol: 'udp', port: 53 },
    ]);
  });
});

describe('userNetwork', () => {
  it("puts the laptop at the end of the kit's network and cuts everything else off", () => {
    expect(userNetwork(network, ports, forwards)).toEqual({
      user:
        'user,id=tcp,restrict=on,ipv6=off,net=10.77.0.0/24,host=10.77.0.254,dns=10.77.0.252,dhcpstart=10.77.0.251,' +
        'hostfwd=tcp:127.0.0.1:20022-10.77.0.1:22',
      relay: '10.77.0.253',
    });
  });
  it("keeps out of the kit's way", () => {
    expect(userNetwork({ ...network, address: '10.77.0.254' }, [], forwards).user).toContain(
      'host=10.77.0.253,dns=10.77.0.251,',
    );
  });
  it('finds room in the smallest network', () => {
    expect(
      userNetwork(
        { address: '192.168.1.5', network: '192.168.1.4', broadcast: '192.168.1.7', prefix: 30 },
        [],
        forwards,
      ),
    ).toEqual({
      user: 'user,id=tcp,restrict=on,ipv6=off,net=192.168.1.0/28,host=192.168.1.6,dns=192.168.1.1,dhcpstart=192.168.1.2',
      relay: null,
    });
  });
});
