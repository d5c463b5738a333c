import { WorkError } from '../../diagnostics/errors.js';
import type { NetworkSettings, PortWish } from '../../services/contract.js';
import type { Forwards } from '../../verify/types.js';

export interface KitPort {
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
}

/** Longer ranges (a relay's) are not forwarded: one listener per port is more than a test needs. */
const LONGEST_RANGE = 32;
/** DHCP belongs to the kit's network, not to a forward. */
const NOT_FORWARDED = new Set(['udp/67', 'udp/68']);

/** The plan's ports that people's devices reach, ranges taken apart, each once, sorted. */
export function kitPorts(
  ports: readonly Pick<PortWish, 'protocol' | 'port' | 'to' | 'scope'>[],
): readonly KitPort[] {
  const found = new Map<string, KitPort>();
  for (const { protocol, port, to = port, scope } of ports) {
    if (scope !== 'kit' || to - port >= LONGEST_RANGE) continue;
    for (let one = port; one <= to; one += 1) {
      const key = `${protocol}/${one}`;
      if (!NOT_FORWARDED.has(key)) found.set(key, { protocol, port: one });
    }
  }
  return [...found.values()].sort((a, b) => a.protocol.localeCompare(b.protocol) || a.port - b.port);
}

/** The kit's LAN under QEMU: QEMU's own user network for TCP, and a laptop that relays UDP (`startUdpRelay`). */
export interface KitLan {
  /** Value of `-netdev` for the user network, id `tcp`. */
  readonly user: string;
  /** Address of the laptop that relays UDP; null where the network has no room for it (/30): UDP is not forwarded then. */
  readonly relay: string | null;
}

/** Other kits on the same virtual network. */
export interface Neighbours {
  /** Address of this kit's network card (`52:54:00:…`); each kit has another one. */
  readonly mac: string;
  /** Cables: UDP ports of this machine, ours and that of the other kit's QEMU. The cables of all kits make no ring. */
  readonly cables: readonly { readonly here: number; readonly there: number }[];
  /**
   * Part of the kits' network for this kit's own laptops (/29 or larger). No kit may be in it: QEMU's user network refuses, in the name
   * of whoever has the address, each connection to an address of its part that it does not know of (libslirp, tcp_input).
   */
  readonly laptops: Pick<NetworkSettings, 'network' | 'broadcast' | 'prefix'>;
}

/**
 * QEMU's user network (`-netdev user`) as the kit's own LAN. `restrict=on`: packets of the kit reach nothing but the laptop at
 * `host`, and that only as answers to a forwarded TCP port. QEMU's own DNS and DHCP addresses have to be somewhere; they are put where
 * the kit is not.
 */
export function userNetwork(
  network: Pick<NetworkSettings, 'address' | 'network' | 'broadcast' | 'prefix'>,
  ports: readonly KitPort[],
  forwards: Forwards,
): KitLan {
  const kit = toNumber(network.address);
  const first = toNumber(network.network) + 1;
  const last = toNumber(network.broadcast) - 1;
  const free = (count: number): readonly number[] => {
    const found: number[] = [];
    for (let one = last; one >= first && found.length < count; one -= 1) if (one !== kit) found.push(one);
    return found;
  };
  const [laptop, relay, dns, dhcp] = free(4);
  if (laptop === undefined)
    throw new WorkError(`no address is left beside the kit in ${network.network}/${network.prefix}`);
  // In the smallest networks QEMU's own services lie outside: nobody asks them anyway.
  const widened = dns === undefined || dhcp === undefined;
  const prefix = widened ? Math.min(network.prefix, 28) : network.prefix;
  const base = (toNumber(network.network) & (prefix === 0 ? 0 : -1 << (32 - prefix))) >>> 0;
  const outside: number[] = [];
  for (let one = base + 1; widened && one < base + 2 ** (32 - prefix) - 1; one += 1) {
    if (one !== kit && one !== laptop && one !== relay) outside.push(one);
  }
  const [dnsAt, dhcpAt] = widened ? outside : [dns, dhcp];
  if (dnsAt === undefined || dhcpAt === undefined) throw new WorkError('no address is left for QEMU');
  const user = [
    'user',
    'id=tcp',
    'restrict=on',
    'ipv6=off',
    `net=${toText(base)}/${prefix}`,
    `host=${toText(laptop)}`,
    `dns=${toText(dnsAt)}`,
    `dhcpstart=${toText(dhcpAt)}`,
    ...ports
      .filter(({ protocol }) => protocol === 'tcp')
      .map(
        ({ port }) =>
          `hostfwd=tcp:${forwards.address}:${forwards.tcp[String(port)]}-${network.address}:${port}`,
      ),
  ].join(',');
  return { user, relay: relay === undefined ? null : toText(relay) };
}

function toNumber(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

function toText(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
}
