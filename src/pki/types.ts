import type { CertificateWish, SecretWish, Site } from '../services/contract.js';

/** Values of the site's secrets, for the site layer. */
export interface SecretValues {
  /**
   * The value without a newline at its end. `<id>.pub` of an ssh-ed25519 secret is its public key line.
   * Throws WorkError for an id the site does not have.
   */
  value(id: string): string;
}

/** What has to exist in the store. */
export type SecretNeed = Pick<SecretWish, 'id' | 'kind' | 'length'>;

/** What a certificate must say. */
export type CertificateNeed = Pick<CertificateWish, 'id' | 'labels' | 'address' | 'client'>;

/** The settings a site's CA and certificates depend on. */
export interface IdentitySite extends Pick<Site, 'title' | 'domain'> {
  readonly network: Pick<Site['network'], 'address' | 'network' | 'netmask'>;
}

/** One certificate with its key, PEM. */
export interface Leaf {
  readonly id: string;
  /** The leaf's own certificate, then the CA's. */
  readonly chainPem: string;
  /** PKCS#8. */
  readonly keyPem: string;
  /** Milliseconds since 1970. */
  readonly issuedAt: number;
  readonly notAfter: number;
}

/** The public half of the site CA. */
export interface CaCertificate {
  readonly caPem: string;
  readonly caDer: Buffer;
  /** SHA-256 of the DER, upper-case hex pairs joined by colons, as phones show it. */
  readonly caFingerprintSha256: string;
}

/** All that makes a kit this kit: the same after every build. */
export interface SiteIdentity extends CaCertificate {
  readonly secrets: SecretValues;
  /** Keyed by the id of the certificate wish. */
  readonly leaves: ReadonlyMap<string, Leaf>;
  /** When the newest certificate was issued, seconds since 1970: the kit's clock is never before this. */
  readonly issuedAt: number;
  /** Replaces every secret value and private key in a text that is going to be shown or logged. */
  redact(text: string): string;
}

/**
 * Asks for the passphrase of the CA's key. `new`: the key is being made, null leaves it unprotected.
 * `open`: the key is needed to sign; null means the person has none.
 */
export type AskPassphrase = (purpose: 'new' | 'open') => Promise<string | null>;
