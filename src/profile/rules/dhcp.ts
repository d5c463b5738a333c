import { fault, warning, type Diagnostic } from '../../diagnostics/diagnostic.js';
import { quoted } from '../../diagnostics/text.js';
import { ipv4, networkOf, parseCidr, parseIpv4, roomIn, type Ipv4Network } from '../ipv4.js';
import { DEFAULTS } from '../site.js';
import { parseHours } from '../units.js';
import type { Written } from '../written.js';
import type { Rule } from './rule.js';

const LONGEST_LEASE = 24 * 30;
const PATH = ['network', 'dhcp'] as const;

/** The kit's network when its address can be used. */
function kitNetwork(written: Written): Ipv4Network | null {
  const network = parseCidr(written.network.address ?? DEFAULTS.address);
  return network === null || network.prefix < 8 || network.prefix > 30 ? null : network;
}

function end(which: 'from' | 'to', text: string | undefined, network: Ipv4Network): Diagnostic[] {
  if (text === undefined) return [];
  const path = [...PATH, which];
  const value = parseIpv4(text);
  if (value === null) {
    return [
      fault(
        'profile/dhcp',
        `${quoted(text)} is not an IPv4 address: four numbers from 0 to 255 with dots between them`,
        path,
        `for example: ${which}: ${ipv4(network.network + (which === 'from' ? 20 : 60))}`,
      ),
    ];
  }
  if (value <= network.network || value >= network.broadcast) {
    return [
      fault(
        'profile/dhcp',
        `${text} is outside the kit's network`,
        path,
        `addresses of the network go from ${ipv4(network.network + 1)} to ${ipv4(network.broadcast - 1)}`,
      ),
    ];
  }
  return [];
}

/** Addresses handed out lie in the kit's network, leave out the kit itself and are enough for everybody. */
export const dhcp: Rule = (written, site) => {
  const wish = written.network.dhcp;
  const network = kitNetwork(written);
  if (network === null) return [];
  if (wish === false) {
    return written.network.mode === 'access-point'
      ? [
          warning(
            'profile/dhcp',
            "phones that join the kit's Wi-Fi get no address",
            PATH,
            'delete the line, unless another device hands out addresses by cable',
          ),
        ]
      : [];
  }
  const range = typeof wish === 'object' ? wish : {};
  const out = [...end('from', range.from, network), ...end('to', range.to, network)];
  if (range.lease !== undefined) {
    const hours = parseHours(range.lease);
    if (hours === null || hours < 1 || hours > LONGEST_LEASE) {
      out.push(
        fault(
          'profile/dhcp',
          `${quoted(range.lease)} is not a time between one hour and 30 days`,
          [...PATH, 'lease'],
          'for example: lease: 12 hours',
        ),
      );
    }
  }
  if (out.length > 0) return out;

  const from = parseIpv4(site.network.dhcp.from) ?? 0;
  const to = parseIpv4(site.network.dhcp.to) ?? 0;
  if (from > to) {
    return [
      fault(
        'profile/dhcp',
        `the first address (${ipv4(from)}) comes after the last one (${ipv4(to)})`,
        [...PATH, range.from === undefined ? 'to' : 'from'],
        'exchange the two',
      ),
    ];
  }
  if (network.address >= from && network.address <= to) {
    return [
      fault(
        'profile/dhcp',
        `the kit's own address ${ipv4(network.address)} would be handed out to a phone`,
        [...PATH, range.from === undefined ? 'to' : 'from'],
        `begin after it: from: ${ipv4(network.address + 1)}`,
      ),
    ];
  }
  const places = to - from + 1;
  const chosen = range.from !== undefined || range.to !== undefined;
  const path = chosen ? [...PATH, range.to === undefined ? 'from' : 'to'] : ['network', 'address'];
  const size = wider(network, site.people);
  const more = chosen
    ? 'widen the range, or leave "from" and "to" out'
    : `take a larger network: address: ${ipv4(network.address)}/${size}`;
  if (places < site.people) {
    return [
      fault(
        'profile/dhcp',
        `${site.people} people need ${site.people} addresses, and only ${places} can be handed out`,
        path,
        more,
      ),
    ];
  }
  if (places < 2 * site.people) {
    return [
      warning(
        'profile/dhcp',
        `only ${places} addresses for ${site.people} people: somebody with a phone and a computer takes two`,
        path,
        more,
      ),
    ];
  }
  return [];
};

/** Longest prefix with room for two devices a person. */
function wider(network: Ipv4Network, people: number): number {
  let prefix = Math.min(network.prefix, 24);
  while (prefix > 8 && roomIn(networkOf(network.address, prefix)) < 2 * people + 30) prefix -= 1;
  return prefix;
}
