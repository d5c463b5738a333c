import { fault, type Diagnostic } from '../diagnostics/diagnostic.js';
import { listed, quoted } from '../diagnostics/text.js';
import type { Sister } from '../services/contract.js';
import { readCertificate } from './certificate.js';
import { isPem, type Beside, type ProfileDocument } from './read.js';
import { within } from './rules/federation.js';
import type { Written } from './written.js';

const WHERE =
  'take ca.crt from the folder <profile>.secrets of the other site, or the certificate its join page gives (site-ca.crt)';

interface ReadSisters {
  /** Those whose certificate can be used. */
  readonly sisters: readonly Sister[];
  readonly faults: readonly Diagnostic[];
}

/** The certificate's bytes, from the profile itself or from the file it names; null when there is no such file. */
function bytesOf(ca: string, { files }: Beside): Uint8Array | null {
  return isPem(ca) ? new TextEncoder().encode(ca) : (files.get(ca) ?? null);
}

/** What is wrong with a sister's certificate, or null. `others`: domains it must not speak for. */
function complaint(
  { domain, ca }: Sister,
  others: readonly string[],
  beside: Beside,
): { readonly message: string; readonly hint: string } | { readonly pem: string } {
  const where = isPem(ca) ? 'this text' : `the file ${quoted(ca)}`;
  const bytes = bytesOf(ca, beside);
  if (bytes === null) {
    return {
      message: `${where} is not there or cannot be read as a certificate`,
      hint: `its path is seen from the folder of this profile; ${WHERE}`,
    };
  }
  if (Buffer.from(bytes).toString('latin1').includes('PRIVATE KEY-----')) {
    return {
      message: `${where} holds a private key, which must never leave its site`,
      hint: `whoever has it can speak for ${domain}: delete it here, and give the certificate (ca.crt) only`,
    };
  }
  const certificate = readCertificate(bytes);
  if (certificate === null) return { message: `${where} is not a certificate`, hint: WHERE };
  if (!certificate.ca || !certificate.root) {
    return {
      message: `${where} is the certificate of a server, not of a site's own certificate authority`,
      hint: WHERE,
    };
  }
  if (beside.at !== null && certificate.notAfter <= beside.at) {
    const day = new Date(certificate.notAfter).toISOString().slice(0, 10);
    return {
      message: `the certificate in ${where} has expired on ${day}`,
      hint: "get the other site's new one, or set this computer's clock",
    };
  }
  const { domains } = certificate;
  if (domains === null) {
    return {
      message: `the certificate in ${where} may speak for every name, so it could pose as any sister site`,
      hint: `commeshctl makes certificates that speak for their own site only; ${WHERE}`,
    };
  }
  if (!domains.some((one) => within(domain, one))) {
    return {
      message: `the certificate in ${where} speaks for ${listed(domains)}, not for ${domain}`,
      hint: 'was it taken from another site? One of the two is wrong',
    };
  }
  const also = others.find((other) => domains.some((one) => within(other, one)));
  if (also !== undefined) {
    return { message: `the certificate in ${where} may speak for ${also}, too`, hint: WHERE };
  }
  return { pem: certificate.pem };
}

/** The sister sites with their certificates, and what is wrong with these. */
export function readSisters(written: Written, beside: Beside): ReadSisters {
  const list = written.federation ?? [];
  const own = written.site.domain ?? `${written.site.name}.home.arpa`;
  const faults: Diagnostic[] = [];
  const sisters = list.flatMap((sister, index): Sister[] => {
    const others = [own, ...list.map((one) => one.domain)].filter((one) => !within(one, sister.domain));
    const told = complaint(sister, others, beside);
    if ('pem' in told) return [{ domain: sister.domain, address: sister.address, ca: told.pem }];
    faults.push(fault('profile/sister-ca', told.message, ['federation', index, 'ca'], told.hint));
    return [];
  });
  return { sisters, faults };
}

/** The certificates a profile names by file, as PEM, in the order of the list; null: written in the profile, or not readable. */
export function certificateTexts({ data, beside }: ProfileDocument): readonly (string | null)[] {
  const list: unknown = data['federation'];
  if (!Array.isArray(list)) return [];
  return list.map((sister: unknown) => {
    const ca: unknown = sister !== null && typeof sister === 'object' && 'ca' in sister ? sister.ca : null;
    const bytes = typeof ca === 'string' && !isPem(ca) ? beside.files.get(ca) : undefined;
    return bytes === undefined || bytes === null ? null : (readCertificate(bytes)?.pem ?? null);
  });
}
