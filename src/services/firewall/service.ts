import {
  defineService,
  KIT_INTERFACE,
  type FileWish,
  type Gathered,
  type PortWish,
  type Site,
} from '../contract.js';

const ROOT = { owner: 'root', group: 'root', mode: '0644' } as const;
/** Where servers call one another: XMPP (RFC 6120) and Matrix through the web server. Nobody else is called there. */
const SERVER_PORTS = ['443', '5269'] as const;
const DHCP_SERVER = 67;

/** Ports of a scope, as nftables writes them: `53`, `49160-49259`. Sorted, each once. */
export function openPorts(
  ports: readonly PortWish[],
  protocol: 'tcp' | 'udp',
  scope: PortWish['scope'] = 'kit',
): readonly string[] {
  const ranges = ports
    .filter((port) => port.protocol === protocol && port.scope === scope)
    // Requests for an address come from nobody's address; they have a rule of their own.
    .filter((port) => !(protocol === 'udp' && port.port === DHCP_SERVER))
    .map((port) => ({ from: port.port, to: port.to ?? port.port }))
    .toSorted((a, b) => a.from - b.from || a.to - b.to);
  return [...new Set(ranges.map(({ from, to }) => (from === to ? String(from) : `${from}-${to}`)))];
}

function rules(site: Site, gathered: Gathered): FileWish {
  return {
    path: '/etc/nftables.conf',
    kind: 'template',
    ...ROOT,
    mode: '0755',
    data: {
      interface: KIT_INTERFACE,
      network: `${site.network.network}/${site.network.prefix}`,
      dhcp: gathered.ports.some((port) => port.protocol === 'udp' && port.port === DHCP_SERVER),
      tcp: openPorts(gathered.ports, 'tcp'),
      udp: openPorts(gathered.ports, 'udp'),
      sisters: site.federation.map(({ address }) => address),
      sisterPorts: openPorts(gathered.ports, 'tcp', 'sisters'),
      serverPorts: SERVER_PORTS,
    },
  };
}

export const service = defineService<Record<string, never>>({
  id: 'firewall',
  title: 'Firewall',
  summary: "In: what the plan declares, from the kit's network. Out: nothing but the kit's network.",
  always: true,
  schema: { type: 'object', additionalProperties: false, properties: {} },
  settings: () => ({}),
  declare: () => ({
    packages: [{ name: 'nftables' }],
    files: [{ path: '/etc/nftables.d', kind: 'directory', ...ROOT, mode: '0755' }],
    units: [{ name: 'nftables.service', enabled: true, target: 'sysinit.target', active: true }],
    backup: { none: 'the rules follow from the plan' },
    memory: { idleMiB: 1, perPersonKiB: 0 },
  }),
  collect: ({ site }, gathered) => ({ files: [rules(site, gathered)] }),
});
