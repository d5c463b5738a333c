/** IPv4 in dotted form as a number, or null. No leading zeros: some programs read them as octal (RFC 6943, 3.1.1). */
export function parseIpv4(text: string): number | null {
  const match = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/.exec(text);
  if (!match) return null;
  let value = 0;
  for (const part of match.slice(1)) {
    const byte = Number(part);
    if (byte > 255) return null;
    value = value * 256 + byte;
  }
  return value;
}

/** A number as dotted IPv4. */
export function ipv4(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}

/** An address with its network: `10.77.0.1/24`. */
export interface Ipv4Network {
  readonly address: number;
  readonly prefix: number;
  readonly network: number;
  readonly broadcast: number;
}

/** The network of an address, or null when the prefix is not 0..32. */
export function networkOf(address: number, prefix: number): Ipv4Network {
  const size = 2 ** (32 - prefix);
  const network = address - (address % size);
  return { address, prefix, network, broadcast: network + size - 1 };
}

/** Reads `10.77.0.1/24`; null when it is anything else. */
export function parseCidr(text: string): Ipv4Network | null {
  const match = /^([\d.]+)\/(\d{1,2})$/.exec(text);
  const address = match ? parseIpv4(match[1] ?? '') : null;
  const prefix = Number(match?.[2]);
  if (address === null || prefix > 32) return null;
  return networkOf(address, prefix);
}

/** Blocks set aside for private networks (RFC 1918). */
const PRIVATE: readonly Ipv4Network[] = [
  networkOf(0x0a000000, 8),
  networkOf(0xac100000, 12),
  networkOf(0xc0a80000, 16),
];

/** Whether the whole network lies inside one of the private blocks of RFC 1918. */
export function isPrivate(network: Ipv4Network): boolean {
  return PRIVATE.some((block) => network.network >= block.network && network.broadcast <= block.broadcast);
}

/** How many devices a network has room for beside the kit. */
export function roomIn(network: Ipv4Network): number {
  return Math.max(0, network.broadcast - network.network - 2);
}

/**
 * Addresses to hand out when the profile names none: all but the first 19 and the last 4 (left for printers,
 * routers and the like), or everything in small networks; never the kit's own.
 */
export function defaultRange(network: Ipv4Network): { from: number; to: number } {
  const large = roomIn(network) >= 60;
  const low = network.network + (large ? 20 : 1);
  const high = network.broadcast - (large ? 5 : 1);
  const { address } = network;
  if (address < low || address > high) return { from: low, to: high };
  return address - low > high - address ? { from: low, to: address - 1 } : { from: address + 1, to: high };
}
