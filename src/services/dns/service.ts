import {
  DATA_ROOT,
  defineService,
  KIT_INTERFACE,
  type FileWish,
  type Gathered,
  type PortWish,
  type Site,
} from '../contract.js';

const LEASES = `${DATA_ROOT}/dns/leases`;
/** RFC 6120, section 14.7. */
const XMPP_SERVER = 5269;
const ROOT = { owner: 'root', group: 'root', mode: '0644' } as const;

/** `label` below the domain; '' is the domain itself. */
function below(label: string, domain: string): string {
  return label === '' ? domain : `${label}.${domain}`;
}

/** How many addresses the range holds, both ends included. */
export function rangeSize(from: string, to: string): number {
  const number = (address: string): number =>
    address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  return number(to) - number(from) + 1;
}

function configuration(site: Site, gathered: Gathered): FileWish {
  const { network, domain } = site;
  // The first name of an address is the one its reverse record gives.
  const labels = [
    ...new Set(['', ...gathered.names.map(({ label }) => label).sort()]),
    ...gathered.srv.map(({ targetLabel }) => targetLabel).sort(),
  ];
  return {
    path: '/etc/commesh/dnsmasq.conf',
    kind: 'template',
    ...ROOT,
    data: {
      interface: KIT_INTERFACE,
      domain,
      address: network.address,
      names: [...new Set(labels)].map((label) => below(label, domain)),
      // dnsmasq(8): --srv-host=<_service>.<_prot>.<domain>,<target>,<port>,<priority>,<weight>
      srv: gathered.srv
        .map((record) =>
          [
            `_${record.symbol}._${record.protocol}.${below(record.label, domain)}`,
            below(record.targetLabel, domain),
            record.port,
            record.priority,
            record.weight,
          ].join(','),
        )
        .sort(),
      // The whole of a sister's domain lies at its address; only what is looked up by SRV has records of its own.
      sisters: site.federation.map((sister) => ({
        domain: sister.domain,
        address: sister.address,
        srv: ['', 'groups', 'share'].map(
          (label) => `_xmpp-server._tcp.${below(label, sister.domain)},${sister.domain},${XMPP_SERVER},0,5`,
        ),
      })),
      dhcp: network.dhcp.enabled,
      from: network.dhcp.from,
      to: network.dhcp.to,
      netmask: network.netmask,
      leaseHours: network.dhcp.leaseHours,
      leaseMax: rangeSize(network.dhcp.from, network.dhcp.to),
      leases: LEASES,
    },
  };
}

function ports(site: Site): readonly PortWish[] {
  const common = { scope: 'kit', listening: true, process: 'dnsmasq' } as const;
  return [
    { ...common, protocol: 'udp', port: 53, purpose: 'names (DNS)' },
    { ...common, protocol: 'tcp', port: 53, purpose: 'names (DNS)' },
    ...(site.network.dhcp.enabled
      ? ([
          {
            ...common,
            protocol: 'udp',
            port: 67,
            purpose: 'addresses (DHCP)',
            because: ['network', 'dhcp'],
          },
        ] as const)
      : []),
  ];
}

export const service = defineService<Record<string, never>>({
  id: 'dns',
  title: 'Names and addresses',
  summary: "DNS for the kit's own names, and DHCP",
  always: true,
  schema: { type: 'object', additionalProperties: false, properties: {} },
  settings: () => ({}),
  declare: ({ site }) => ({
    packages: [{ name: 'dnsmasq-base' }],
    files: [
      { path: '/etc/systemd/system/commesh-dns.service', kind: 'copy', ...ROOT },
      { path: '/etc/resolv.conf', kind: 'copy', ...ROOT },
      {
        path: `${DATA_ROOT}/dns`,
        kind: 'directory',
        mode: '0750',
        owner: 'dnsmasq',
        group: 'root',
      },
    ],
    units: [{ name: 'commesh-dns.service', enabled: true, target: 'multi-user.target', active: true }],
    ports: ports(site),
    names: [{ label: '' }],
    backup: { none: 'the names come from the profile; phones ask again for their addresses' },
    memory: { idleMiB: 3, perPersonKiB: 1 },
    disk: { fixedMB: 1, perPersonMB: 0 },
    checks: [
      { kind: 'dns-zone', title: "the kit's names are answered, foreign ones refused at once", options: {} },
    ],
  }),
  collect: ({ site }, gathered) => ({ files: [configuration(site, gathered)] }),
});
