import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import forge from 'node-forge';
import { WorkError } from '../diagnostics/errors.js';
import { readTextIfThere, writeAtomic } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import {
  type Authority,
  cleanPem,
  makeRsaKey,
  publicHalfOf,
  serialNumber,
  signCertificate,
} from './authority.js';
import { asciiName, attribute, shorten, subjectOf } from './names.js';
import type { CertificateNeed, IdentitySite, Leaf } from './types.js';

/**
 * 2048 bits: accepted by every client, strong enough for the two years a certificate lives, and a signature costs a
 * Pi Zero 2 W about a third of what 3072 bits cost, each time a phone comes back.
 */
const LEAF_BITS = 2048;
const DAY = 86_400_000;
const BACKDATED_DAYS = 30;
/** notAfter - notBefore. Apple refuses more than 825 days, counting both ends, also for CAs people install. */
const LIFETIME_DAYS = 824;
/** A kit is left alone for a long time: an image never starts with a certificate that has less than this left. */
export const RENEW_BELOW_DAYS = 365;
/** A computer whose clock stands before this has lost it. */
const CLOCK_FLOOR = Date.parse('2025-01-01T00:00:00Z');

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/** DNS names, in the order of the wish, and IP addresses a certificate must carry. */
export function namesOf(site: IdentitySite, need: CertificateNeed): { dns: string[]; ip: string[] } {
  const dns = need.labels.map((label) => asciiName(label === '' ? site.domain : `${label}.${site.domain}`));
  return { dns: [...new Set(dns)], ip: need.address ? [site.network.address] : [] };
}

/** Keys of leaves that are being made, by id. */
export type LeafKeys = ReadonlyMap<string, Promise<string>>;

/** Begins to make the keys that `folder`/tls does not have, so that they need not wait for the CA's. */
export function beginLeafKeys(host: Host, folder: string, needs: readonly CertificateNeed[]): LeafKeys {
  const missing = needs.filter((need) => !existsSync(join(folder, 'tls', `${need.id}.key`)));
  return new Map(
    missing.map((need) => {
      const key = makeRsaKey(host, LEAF_BITS);
      // Told where it is waited for.
      key.catch(() => {});
      return [need.id, key];
    }),
  );
}

/**
 * The leaf certificates the plan asks for: those in `folder`/tls that still fit, newly issued ones for the rest (the
 * key stays). `renew` issues all of them anew.
 */
export async function ensureLeaves(
  host: Host,
  folder: string,
  site: IdentitySite,
  authority: Authority,
  needs: readonly CertificateNeed[],
  options: { readonly renew?: boolean; readonly renewBelowDays?: number; readonly keys?: LeafKeys } = {},
): Promise<Map<string, Leaf>> {
  const enough = host.now() + (options.renewBelowDays ?? RENEW_BELOW_DAYS) * DAY;
  const entries = await Promise.all(
    needs.map(async (need): Promise<[string, Leaf]> => {
      if (!/^[a-z0-9][a-z0-9_-]{0,63}$/.test(need.id)) throw new Error(`bad certificate id: ${need.id}`);
      const file = join(folder, 'tls', need.id);
      const keyPem = await readTextIfThere(`${file}.key`);
      const chainPem = await readTextIfThere(`${file}.crt`);
      if (keyPem !== null && chainPem !== null && !options.renew) {
        const leaf = fitting(site, authority, need, keyPem, chainPem);
        if (leaf && leaf.notAfter >= enough) return [need.id, leaf];
      }
      const leaf = await timed(host, `pki/${need.id}`, `issuing the certificate "${need.id}"`, () =>
        issue(host, site, authority, need, file, keyPem, options.keys?.get(need.id)),
      );
      return [need.id, leaf];
    }),
  );
  return new Map(entries);
}

/** The stored certificate when it says all and only what is needed, comes from this CA and belongs to the key. */
function fitting(
  site: IdentitySite,
  authority: Authority,
  need: CertificateNeed,
  keyPem: string,
  chainPem: string,
): Leaf | null {
  try {
    const leaf = new X509Certificate(chainPem);
    const names = namesOf(site, need);
    const wanted = [...names.dns.map((name) => `DNS:${name}`), ...names.ip.map((ip) => `IP Address:${ip}`)];
    // `keyUsage` of Node's X509Certificate is the extended one.
    const usage = need.client ? [SERVER_AUTH, CLIENT_AUTH] : [SERVER_AUTH];
    const fits =
      chainPem.endsWith(authority.pem) &&
      leaf.verify(authority.certificate.publicKey) &&
      leaf.checkPrivateKey(createPrivateKey(keyPem)) &&
      leaf.subjectAltName === wanted.join(', ') &&
      [...leaf.keyUsage].sort().join() === usage.join();
    return fits ? describe(need.id, chainPem, keyPem, leaf) : null;
  } catch {
    return null;
  }
}

function describe(id: string, chainPem: string, keyPem: string, leaf: X509Certificate): Leaf {
  return {
    id,
    chainPem,
    keyPem,
    issuedAt: Date.parse(leaf.validFrom) + BACKDATED_DAYS * DAY,
    notAfter: Date.parse(leaf.validTo),
  };
}

async function issue(
  host: Host,
  site: IdentitySite,
  authority: Authority,
  need: CertificateNeed,
  file: string,
  storedKey: string | null,
  madeKey: Promise<string> | undefined,
): Promise<Leaf> {
  const now = Math.floor(host.now() / 1000) * 1000;
  const caEnd = Date.parse(authority.certificate.validTo);
  if (now < CLOCK_FLOOR || now + LIFETIME_DAYS * DAY > caEnd) {
    throw new WorkError(
      `this computer's clock says ${new Date(now).toISOString().slice(0, 10)}, which cannot be right`,
      { hint: 'set the date, then try again: certificates carry it' },
    );
  }
  const [signer, keyPem] = await Promise.all([
    authority.signingKey(),
    storedKey !== null && usable(storedKey) ? storedKey : (madeKey ?? makeRsaKey(host, LEAF_BITS)),
  ]);
  const chainPem = sign(host, site, authority, signer, need, keyPem, now) + authority.pem;
  await writeAtomic(`${file}.key`, keyPem, 0o600);
  await writeAtomic(`${file}.crt`, chainPem, 0o600);
  return describe(need.id, chainPem, keyPem, new X509Certificate(chainPem));
}

function usable(keyPem: string): boolean {
  try {
    return createPrivateKey(keyPem).asymmetricKeyDetails?.modulusLength === LEAF_BITS;
  } catch {
    return false;
  }
}

/** One leaf (RFC 5280, RFC 6125 names in subjectAltName only), signed with SHA-256. */
export function sign(
  host: Host,
  site: IdentitySite,
  authority: Authority,
  signer: KeyObject,
  need: CertificateNeed,
  keyPem: string,
  now: number,
): string {
  const names = namesOf(site, need);
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = publicHalfOf(keyPem);
  certificate.serialNumber = serialNumber(host);
  const notBefore = now - BACKDATED_DAYS * DAY;
  certificate.validity.notBefore = new Date(notBefore);
  certificate.validity.notAfter = new Date(notBefore + LIFETIME_DAYS * DAY);
  const first = names.dns[0] ?? names.ip[0] ?? site.domain;
  certificate.setSubject([
    // A name too long for a CN is left out, not cut: half a name is another one.
    ...(first.length <= 64 ? [attribute('CN', first)] : []),
    attribute('O', shorten(site.title)),
  ]);
  certificate.setIssuer(subjectOf(authority.forge));
  const caKeyId = authority.forge.generateSubjectKeyIdentifier().getBytes();
  certificate.setExtensions([
    { name: 'basicConstraints', critical: true, cA: false },
    { name: 'keyUsage', critical: true, digitalSignature: true, keyEncipherment: true },
    { name: 'extKeyUsage', serverAuth: true, clientAuth: need.client },
    {
      name: 'subjectAltName',
      altNames: [
        ...names.dns.map((value) => ({ type: 2, value })),
        ...names.ip.map((ip) => ({ type: 7, ip })),
      ],
    },
    { name: 'authorityKeyIdentifier', keyIdentifier: caKeyId },
    { name: 'subjectKeyIdentifier' },
  ]);
  signCertificate(certificate, signer);
  return cleanPem(forge.pki.certificateToPem(certificate));
}
