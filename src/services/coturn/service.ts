import { fault, type Diagnostic } from '../../diagnostics/diagnostic.js';
import {
  defineService,
  KIT_INTERFACE,
  TLS_ROOT,
  type Capabilities,
  type Declaration,
  type JsonSchema,
  type ServiceContext,
  type Site,
} from '../contract.js';

const PORT = 3478;
const TLS_PORT = 5349;
/** Linux picks ports by itself from 32768-60999 (net.ipv4.ip_local_port_range); relays begin above. */
const RELAY_FROM = 61_000;
const LAST_PORT = 65_535;
/** A person in a call holds up to four: audio and video, each with a spare while the connection is chosen. */
const PORTS_PER_CALLER = 4;
/** Tenths: a tenth more, and twice all of it, since a phone that walks out of reach holds its ports for up to ten minutes. */
const SPARE_TENTHS = 11 * 2;
const MOST_CALLERS = Math.floor(((LAST_PORT - RELAY_FROM + 1) * 10) / (PORTS_PER_CALLER * SPARE_TENTHS));
const SECRET = { secret: 'turn-secret' };

export interface CoturnSettings {
  /** People who may be in calls at the same time. */
  readonly callers: number;
}

const SCHEMA: JsonSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    callers: {
      type: 'integer',
      minimum: 2,
      maximum: MOST_CALLERS,
      description: 'how many people may be in calls at the same time (default: all)',
    },
  },
};

/** Number of relay ports. */
function relayPorts(callers: number): number {
  return Math.ceil((callers * PORTS_PER_CALLER * SPARE_TENTHS) / 10);
}

function settingsOf(site: Site, written: Readonly<Record<string, unknown>>): CoturnSettings {
  return {
    callers: Math.min((written['callers'] as number | undefined) ?? Math.max(site.people, 2), MOST_CALLERS),
  };
}

function rulesOf(site: Site, settings: CoturnSettings): readonly Diagnostic[] {
  if (settings.callers <= Math.max(site.people, 2)) return [];
  return [
    fault(
      'coturn/more-callers-than-people',
      `${settings.callers} people cannot be in calls when ${site.people} are expected`,
      ['services', 'coturn', 'callers'],
      'leave "callers" out, or raise "people"',
    ),
  ];
}

function turnOf(site: Site): Capabilities['turn'] {
  return { host: `turn.${site.domain}`, port: PORT, tlsPort: TLS_PORT, secret: SECRET };
}

/** The address `offset` away from an IPv4 address. */
function shifted(address: string, offset: number): string {
  const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0) + offset;
  return [24, 16, 8, 0].map((bits) => Math.floor(number / 2 ** bits) % 256).join('.');
}

function declare({ site, settings }: ServiceContext<CoturnSettings>): Declaration {
  const { address, network, prefix, broadcast } = site.network;
  const relayTo = RELAY_FROM + relayPorts(settings.callers) - 1;
  const port = (protocol: 'tcp' | 'udp', number: number, purpose: string) => ({
    protocol,
    port: number,
    scope: 'kit' as const,
    purpose,
    listening: true,
    process: 'turnserver',
  });
  const srv = (symbol: string, protocol: 'tcp' | 'udp', number: number) => ({
    symbol,
    protocol,
    label: '',
    targetLabel: 'turn',
    port: number,
    priority: 0,
    weight: 5,
  });
  return {
    // Debian 13's own has known faults an unauthenticated person can use; see README.md.
    packages: [{ name: 'coturn', suite: 'forky' }],
    files: [
      {
        path: '/etc/turnserver.conf',
        kind: 'template',
        mode: '0640',
        owner: 'root',
        group: 'turnserver',
        sensitive: true,
        data: {
          address,
          port: PORT,
          tlsPort: TLS_PORT,
          relayFrom: RELAY_FROM,
          relayTo,
          secret: SECRET,
          realm: site.domain,
          certificate: `${TLS_ROOT}/turn.crt`,
          key: `${TLS_ROOT}/turn.key`,
          // Without the network's own and the broadcast address.
          firstPeer: shifted(network, 1),
          lastPeer: shifted(broadcast, -1),
          userQuota: PORTS_PER_CALLER * 3,
          totalQuota: relayPorts(settings.callers),
        },
      },
      {
        path: '/etc/systemd/system/coturn.service',
        kind: 'template',
        mode: '0644',
        owner: 'root',
        group: 'root',
        data: { interface: KIT_INTERFACE },
      },
      {
        path: '/etc/nftables.d/50-coturn.nft',
        kind: 'template',
        mode: '0644',
        owner: 'root',
        group: 'root',
        data: { relayFrom: RELAY_FROM, relayTo, network, prefix, port: PORT, tlsPort: TLS_PORT },
      },
    ],
    units: [{ name: 'coturn.service', enabled: true, target: 'multi-user.target', active: true }],
    ports: [
      port('udp', PORT, 'calls: finding a way'),
      port('tcp', PORT, 'calls: finding a way'),
      port('tcp', TLS_PORT, 'calls: finding a way (TLS)'),
      {
        protocol: 'udp',
        port: RELAY_FROM,
        to: relayTo,
        scope: 'kit',
        purpose: 'calls: sound and picture',
        listening: false,
        process: 'turnserver',
      },
    ],
    names: [{ label: 'turn' }],
    srv: [
      srv('stun', 'udp', PORT),
      srv('turn', 'udp', PORT),
      srv('turn', 'tcp', PORT),
      srv('turns', 'tcp', TLS_PORT),
    ],
    certificates: [
      {
        id: 'turn',
        directory: TLS_ROOT,
        labels: ['turn'],
        address: true,
        client: false,
        owner: 'root',
        group: 'turnserver',
      },
    ],
    secrets: [{ id: SECRET.secret, kind: 'token', length: 48 }],
    backup: { none: 'it keeps nothing: credentials are computed and calls are not recorded' },
    memory: { idleMiB: 16, perPersonKiB: 200 },
    checks: [
      {
        kind: 'turn-relay',
        title: 'a call can be relayed, and only inside the kit',
        options: { host: `turn.${site.domain}`, port: PORT, tlsPort: TLS_PORT },
      },
    ],
  };
}

export const service = defineService<CoturnSettings>({
  id: 'coturn',
  title: 'Calls (coturn)',
  summary: 'TURN relay: calls work although phones cannot reach one another directly',
  always: false,
  schema: SCHEMA,
  settings: settingsOf,
  rules: rulesOf,
  provides: (site) => ({ turn: turnOf(site) }),
  declare,
});
