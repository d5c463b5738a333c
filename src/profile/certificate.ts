import { X509Certificate } from 'node:crypto';

/** What a CA certificate says, as far as a profile is concerned. */
export interface CaCertificate {
  /** PEM, one block, newline at its end. */
  readonly pem: string;
  readonly ca: boolean;
  /** Signed by itself: a root. */
  readonly root: boolean;
  /** Milliseconds since 1970. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** DNS names it may speak for, with all below them; null: any name. */
  readonly domains: readonly string[] | null;
}

/** DER, X.690: one value with its tag. */
interface Der {
  readonly tag: number;
  readonly body: Uint8Array;
}

const TAG = {
  boolean: 0x01,
  oid: 0x06,
  sequence: 0x30,
  extensions: 0xa3,
  permitted: 0xa0,
  dns: 0x82,
} as const;
/** id-ce-nameConstraints, 2.5.29.30. */
const NAME_CONSTRAINTS = '551d1e';

/** The values that follow one another in `bytes`. @throws RangeError when they do not add up */
function values(bytes: Uint8Array): Der[] {
  const found: Der[] = [];
  let at = 0;
  while (at < bytes.length) {
    const tag = bytes[at] ?? 0;
    let length = bytes[at + 1] ?? 0;
    at += 2;
    if (length >= 0x80) {
      const size = length & 0x7f;
      if (size === 0 || size > 4) throw new RangeError('not DER');
      length = 0;
      for (let index = 0; index < size; index += 1) length = length * 256 + (bytes[at + index] ?? 0);
      at += size;
    }
    if (at + length > bytes.length) throw new RangeError('not DER');
    found.push({ tag, body: bytes.subarray(at, at + length) });
    at += length;
  }
  return found;
}

/** Permitted DNS names of the name constraints (RFC 5280, 4.2.1.10); null when DNS names are not constrained. */
function permittedDomains(raw: Uint8Array): readonly string[] | null {
  const certificate = values(raw)[0];
  const signed = values(certificate?.body ?? new Uint8Array())[0];
  const list = values(signed?.body ?? new Uint8Array()).find(({ tag }) => tag === TAG.extensions);
  for (const extension of list === undefined ? [] : values(values(list.body)[0]?.body ?? new Uint8Array())) {
    const parts = values(extension.body);
    if (Buffer.from(parts[0]?.body ?? []).toString('hex') !== NAME_CONSTRAINTS) continue;
    const constraints = values(parts[parts.length - 1]?.body ?? new Uint8Array())[0];
    const permitted = values(constraints?.body ?? new Uint8Array()).find(({ tag }) => tag === TAG.permitted);
    const names = values(permitted?.body ?? new Uint8Array()).flatMap((subtree) => {
      const base = values(subtree.body)[0];
      return base?.tag === TAG.dns ? [Buffer.from(base.body).toString('latin1')] : [];
    });
    return names.length > 0 ? names : null;
  }
  return null;
}

/** Reads a certificate, PEM or DER. Null when it is none. Of a chain, the first is read. Pure. */
export function readCertificate(bytes: Uint8Array): CaCertificate | null {
  try {
    const certificate = new X509Certificate(bytes);
    return {
      pem: `${certificate.toString().replaceAll('\r', '').trimEnd()}\n`,
      ca: certificate.ca,
      root: certificate.checkIssued(certificate) && certificate.verify(certificate.publicKey),
      notBefore: Date.parse(certificate.validFrom),
      notAfter: Date.parse(certificate.validTo),
      domains: permittedDomains(certificate.raw),
    };
  } catch {
    return null;
  }
}
