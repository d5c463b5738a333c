import forge from 'node-forge';
import { WorkError } from '../diagnostics/errors.js';
import type { IdentitySite } from './types.js';

const { asn1 } = forge;

/** GeneralName tags, RFC 5280 section 4.2.1.6. */
const TAG = { email: 1, dns: 2, ip: 7 } as const;

/** id-ce-nameConstraints. */
export const NAME_CONSTRAINTS = '2.5.29.30';

function octets(ipv4: string): string {
  const parts = ipv4.split('.').map(Number);
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255)) {
    throw new Error(`not an IPv4 address: ${ipv4}`);
  }
  return String.fromCharCode(...parts);
}

function subtree(tag: number, bytes: string): forge.asn1.Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, [
    asn1.create(asn1.Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, false, bytes),
  ]);
}

/**
 * What the CA may speak for, as the DER of a NameConstraints extension (RFC 5280 section 4.2.1.10), binary string.
 *
 * Permitted are the site's domain with all below it, addresses of the site's network, and mail addresses of the
 * domain. A kind of name with a permitted subtree is refused everywhere else, so IPv6 is shut by the IPv4 entry;
 * ::/0 is excluded besides, for verifiers that treat the two families apart. Directory names stay free, since
 * the subject of every certificate is one; no client takes them for a server's name.
 */
export function nameConstraints(site: IdentitySite): string {
  const list = (tag: number, subtrees: forge.asn1.Asn1[]): forge.asn1.Asn1 =>
    asn1.create(asn1.Class.CONTEXT_SPECIFIC, tag as forge.asn1.Type, true, subtrees);
  const domain = asciiName(site.domain);
  const tree = asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, [
    list(0, [
      subtree(TAG.email, domain),
      subtree(TAG.dns, domain),
      subtree(TAG.ip, octets(site.network.network) + octets(site.network.netmask)),
    ]),
    list(1, [subtree(TAG.ip, '\0'.repeat(32))]),
  ]);
  return asn1.toDer(tree).getBytes();
}

/** The permitted domain and network of a NameConstraints extension, in words; for messages. */
export function describeConstraints(der: string): string {
  const found: string[] = [];
  const root = asn1.fromDer(der);
  const permitted = (root.value as forge.asn1.Asn1[])[0];
  for (const entry of (permitted?.value ?? []) as forge.asn1.Asn1[]) {
    const base = (entry.value as forge.asn1.Asn1[])[0];
    if (typeof base?.value !== 'string') continue;
    if ((base.type as number) === TAG.dns) found.push(`the domain ${base.value}`);
    if ((base.type as number) === TAG.ip) {
      const bytes = [...Buffer.from(base.value, 'latin1')];
      const half = bytes.length / 2;
      found.push(`the network ${bytes.slice(0, half).join('.')} with mask ${bytes.slice(half).join('.')}`);
    }
  }
  return found.join(' and ') || 'nothing that commeshctl knows';
}

/** A DNS name in the only form certificates know; an internationalised one has to be in its xn-- form already. */
export function asciiName(name: string): string {
  if (!/^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(name)) {
    throw new WorkError(`"${name}" cannot stand in a certificate`, {
      hint: 'a domain has small letters a-z, digits, hyphens and dots',
    });
  }
  return name;
}

/** At most `limit` characters (X.520 upper bounds of CN and O are 64), never half of one. */
export function shorten(text: string, limit = 64): string {
  return [...text].slice(0, limit).join('').trim();
}

/** An attribute of a distinguished name, always as UTF8String so that titles in any script hold. */
export function attribute(shortName: 'CN' | 'O', value: string): forge.pki.CertificateField {
  // forge's own types know only the class number.
  return { shortName, value, valueTagClass: asn1.Type.UTF8 as unknown as forge.asn1.Class };
}

/** Names of a parsed certificate; forge leaves UTF-8 undecoded there and would encode it twice when it is copied. */
export function subjectOf(certificate: forge.pki.Certificate): forge.pki.CertificateField[] {
  return certificate.subject.attributes.map((field) => ({
    ...field,
    value:
      (field.valueTagClass as unknown as forge.asn1.Type) === asn1.Type.UTF8
        ? forge.util.decodeUtf8(String(field.value))
        : field.value,
  }));
}
