import { fault, type Diagnostic } from '../../diagnostics/diagnostic.js';
import { quoted } from '../../diagnostics/text.js';
import { ipv4, parseCidr, parseIpv4 } from '../ipv4.js';
import { DEFAULTS } from '../site.js';
import type { Rule } from './rule.js';

/** Labels of a host name (RFC 1123, 2.1) in small letters, at least two. */
const DOMAIN = /^(?=.{4,200}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$/;

/** Whether `name` is `domain` or lies below it. */
export function within(name: string, domain: string): boolean {
  return name === domain || name.endsWith(`.${domain}`);
}

/** Sister sites are other sites, each named once, at addresses of the kit's own network: it has no way to any other. */
export const federation: Rule = (written, site) => {
  const found: Diagnostic[] = [];
  const network = parseCidr(written.network.address ?? DEFAULTS.address);
  const domains = new Map<string, number>();
  const addresses = new Map<string, number>();
  (written.federation ?? []).forEach(({ domain, address }, index) => {
    const tell = (key: 'domain' | 'address', message: string, hint: string): void => {
      found.push(fault('profile/federation', message, ['federation', index, key], hint));
    };
    const twin = [...domains.keys()].find((one) => within(one, domain) || within(domain, one));
    if (!DOMAIN.test(domain)) {
      tell(
        'domain',
        `${quoted(domain)} is not the domain of a site: small letters, digits and hyphens, with dots between the parts`,
        'take what stands behind the @ of an address there, for example school.home.arpa',
      );
    } else if (within(domain, site.domain) || within(site.domain, domain)) {
      tell(
        'domain',
        domain === site.domain
          ? `${domain} is this site itself`
          : `${domain} and this site, ${site.domain}, lie one below the other`,
        'name the other site, or take this one out of the list',
      );
    } else if (twin !== undefined) {
      tell(
        'domain',
        twin === domain
          ? `${domain} stands in this list twice`
          : `${domain} and ${twin} lie one below the other`,
        'name each site once',
      );
    }
    domains.set(domain, index);

    const number = parseIpv4(address);
    if (number === null) {
      tell(
        'address',
        `${quoted(address)} is not an IPv4 address: four numbers from 0 to 255 with dots between them`,
        "write the other kit's own address, without the size of the network",
      );
      return;
    }
    if (network === null) return;
    const from = parseIpv4(site.network.dhcp.from) ?? 0;
    const to = parseIpv4(site.network.dhcp.to) ?? 0;
    if (number === network.address) {
      tell('address', `${address} is the address of this kit`, 'give each kit an address of its own');
    } else if (number <= network.network || number >= network.broadcast) {
      tell(
        'address',
        `${address} is outside this kit's network (${ipv4(network.network + 1)} to ${ipv4(network.broadcast - 1)}), and it has no way to any other`,
        'connect both kits to one network by cable, and give both addresses of it',
      );
    } else if (site.network.dhcp.enabled && number >= from && number <= to) {
      tell(
        'address',
        `${address} would be handed out to a phone`,
        `give the other kit an address outside ${ipv4(from)} to ${ipv4(to)}, or change "from" and "to" below "network: dhcp:"`,
      );
    } else if (addresses.has(address)) {
      tell('address', `${address} stands in this list twice`, 'give each kit an address of its own');
    }
    addresses.set(address, index);
  });
  return found;
};
