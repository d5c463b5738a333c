import { fault } from '../../diagnostics/diagnostic.js';
import { quoted } from '../../diagnostics/text.js';
import { ipv4, isPrivate, parseCidr, parseIpv4 } from '../ipv4.js';
import type { Rule } from './rule.js';

/** The kit's address is one a device may have, inside a private network (RFC 1918) of a sensible size. */
export const address: Rule = (written) => {
  const given = written.network.address;
  if (given === undefined) return [];
  const tell = (message: string, hint: string) => [
    fault('profile/address', message, ['network', 'address'], hint),
  ];
  const example = 'for example: address: 10.77.0.1/24';
  const bare = parseIpv4(given);
  if (bare !== null) {
    return tell(
      'the size of the network is missing after the address',
      `did you mean "${given}/24" (room for 253 devices)?`,
    );
  }
  const network = parseCidr(given);
  if (network === null) {
    if (given.includes(':')) return tell('the kit uses IPv4, and this looks like an IPv6 address', example);
    return tell(
      `${quoted(given)} is not an IPv4 address: four numbers from 0 to 255 with dots between them, a slash and the size`,
      example,
    );
  }
  if (network.prefix < 8 || network.prefix > 30) {
    return tell(
      `the number after the slash must be between 8 and 30, and this is ${network.prefix}`,
      '/24 has room for 253 devices, /22 for 1021',
    );
  }
  if (network.address === network.network) {
    return tell(
      `${ipv4(network.address)} stands for the whole network; no device can have it`,
      `for example: address: ${ipv4(network.network + 1)}/${network.prefix}`,
    );
  }
  if (network.address === network.broadcast) {
    return tell(
      `${ipv4(network.address)} reaches every device of the network at once; no device can have it`,
      `for example: address: ${ipv4(network.network + 1)}/${network.prefix}`,
    );
  }
  if (!isPrivate(network)) {
    return tell(
      `the network ${ipv4(network.network)}/${network.prefix} is not a private one: its addresses belong to others`,
      'private networks begin with 10., 172.16. to 172.31., or 192.168.; for example: address: 10.77.0.1/24',
    );
  }
  return [];
};
