import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readTextIfThere } from '../host/files.js';
import type { Host } from '../host/host.js';
import { type Authority, openAuthority, readAuthority } from './authority.js';
import { beginLeafKeys, ensureLeaves } from './certificate.js';
import { locked, prepareFolder, secretsFolder } from './folder.js';
import { fillSecrets, readSecrets, type SecretStore } from './secrets.js';
import type {
  AskPassphrase,
  CaCertificate,
  CertificateNeed,
  IdentitySite,
  SecretNeed,
  SiteIdentity,
} from './types.js';

export interface IdentityRequest {
  readonly profilePath: string;
  readonly site: IdentitySite;
  readonly certificates: readonly CertificateNeed[];
  readonly secrets: readonly SecretNeed[];
  /** Values the profile sets itself, by secret id. */
  readonly given?: Readonly<Record<string, string>>;
  /** Asked when COMMESHCTL_CA_PASSPHRASE is not set; without it a new CA's key is unprotected. */
  readonly passphrase?: AskPassphrase;
  /** Issue every certificate anew, even where the stored one still fits. */
  readonly renew?: boolean;
  /** A stored certificate is used again while it has at least this many days left. */
  readonly renewBelowDays?: number;
}

/**
 * The site's identity, from `<profile>.secrets/`: made once, the same ever after. A second call writes nothing.
 * @throws WorkError when the folder is not private or the CA in it was made for another domain or network
 */
export async function ensureIdentity(host: Host, request: IdentityRequest): Promise<SiteIdentity> {
  const folder = secretsFolder(request.profilePath);
  await prepareFolder(host, folder);
  return locked(host, folder, async () => {
    const keys = beginLeafKeys(host, folder, request.certificates);
    const secrets = await fillSecrets(host, folder, request.secrets, request.given ?? {});
    await mkdir(join(folder, 'tls'), { recursive: true, mode: 0o700 });
    const authority = await openAuthority(host, folder, request.site, request.passphrase);
    const leaves = await ensureLeaves(host, folder, request.site, authority, request.certificates, {
      keys,
      ...(request.renew === undefined ? {} : { renew: request.renew }),
      ...(request.renewBelowDays === undefined ? {} : { renewBelowDays: request.renewBelowDays }),
    });
    for (const leaf of leaves.values()) secrets.conceal(`key of ${leaf.id}`, leaf.keyPem);
    await concealCaKey(folder, secrets);
    return {
      ...publicHalf(authority),
      secrets,
      leaves,
      issuedAt: Math.max(0, ...[...leaves.values()].map((leaf) => leaf.issuedAt)) / 1000,
      redact: (text) => secrets.redact(text),
    };
  });
}

/** Issues all certificates anew with the same keys and the same CA: phones need nothing new. */
export function renewIdentity(host: Host, request: IdentityRequest): Promise<SiteIdentity> {
  return ensureIdentity(host, { ...request, renew: true });
}

/**
 * What a laptop needs to talk to a finished kit (verify, backup, restore): the CA's certificate and the secrets.
 * Makes nothing.
 * @throws WorkError when the folder is not there, not private, or has no CA
 */
export async function readIdentity(
  host: Host,
  profilePath: string,
): Promise<CaCertificate & { readonly secrets: SecretStore }> {
  const secrets = await readSecrets(host, profilePath);
  const authority = await readAuthority(host, secrets.folder);
  await concealCaKey(secrets.folder, secrets);
  return { ...publicHalf(authority), secrets };
}

async function concealCaKey(folder: string, secrets: SecretStore): Promise<void> {
  const key = await readTextIfThere(join(folder, 'ca.key'));
  if (key !== null) secrets.conceal('key of the site CA', key);
}

function publicHalf(authority: Authority): CaCertificate {
  return {
    caPem: authority.pem,
    caDer: Buffer.from(authority.certificate.raw),
    caFingerprintSha256: authority.certificate.fingerprint256,
  };
}
