import {
  constants,
  createPrivateKey,
  createPublicKey,
  privateEncrypt,
  X509Certificate,
  type KeyObject,
} from 'node:crypto';
import { join } from 'node:path';
import forge from 'node-forge';
import { WorkError } from '../diagnostics/errors.js';
import { readTextIfThere, writeAtomic } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import { shellWord } from './folder.js';
import { attribute, describeConstraints, NAME_CONSTRAINTS, nameConstraints, shorten } from './names.js';
import type { AskPassphrase, IdentitySite } from './types.js';

/** Passphrase of the CA's key, for runs without a person. */
export const PASSPHRASE_VARIABLE = 'COMMESHCTL_CA_PASSPHRASE';

const CA_BITS = 3072;
// Kits and phones without a clock may stand years back. The end is the last that fits UTCTime (RFC 5280, 4.1.2.5).
const CA_NOT_BEFORE = new Date('2020-01-01T00:00:00Z');
const CA_NOT_AFTER = new Date('2049-12-31T23:59:59Z');
/** What stands before a SHA-256 digest that is signed (RFC 8017, section 9.2, note 1). */
const SHA256_INFO = Buffer.from('3031300d060960864801650304020105000420', 'hex');
/** Rounds of PBKDF2-HMAC-SHA256 (OWASP's figure): the key may travel on a USB stick. */
const KDF_ROUNDS = 600_000;

/** The site CA, opened. */
export interface Authority {
  readonly pem: string;
  readonly certificate: X509Certificate;
  readonly forge: forge.pki.Certificate;
  /** The private key; asks for the passphrase when there is one. Throws WorkError when it cannot be had. */
  signingKey(): Promise<KeyObject>;
}

/** A new RSA key, made in a thread of its own, PKCS#8 PEM. */
export function makeRsaKey(host: Host, bits: number): Promise<string> {
  return host.threads.run('rsaKey', { bits });
}

/** The public half of a key, as forge has it. */
export function publicHalfOf(keyPem: string): forge.pki.rsa.PublicKey {
  const spki = createPublicKey(keyPem).export({ type: 'spki', format: 'pem' }).toString();
  return forge.pki.publicKeyFromPem(spki);
}

/**
 * Signs a certificate with SHA-256 and RSA (PKCS #1 v1.5). forge makes the certificate; the signature is Node's, which is a hundred
 * times quicker.
 */
export function signCertificate(certificate: forge.pki.Certificate, key: KeyObject): void {
  // forge gives `sign` the digest of what has to be signed, and uses nothing else of its key (x509.js, cert.sign).
  const signer = {
    sign(digest: forge.md.MessageDigest): string {
      const info = Buffer.concat([SHA256_INFO, Buffer.from(digest.digest().getBytes(), 'latin1')]);
      return privateEncrypt({ key, padding: constants.RSA_PKCS1_PADDING }, info).toString('latin1');
    },
  };
  certificate.sign(signer as unknown as forge.pki.rsa.PrivateKey, forge.md.sha256.create());
}

/** A positive serial number of 127 bits (RFC 5280, 4.1.2.2), hex; the second bit is set so that DER needs no trimming. */
export function serialNumber(host: Host): string {
  const bytes = host.random(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

/** forge writes carriage returns into PEM. */
export function cleanPem(pem: string): string {
  return pem.replaceAll('\r', '').trimEnd() + '\n';
}

/**
 * Opens the site CA in `folder`, making it when there is none.
 * @throws WorkError when the CA there was made for another domain or network
 */
export async function openAuthority(
  host: Host,
  folder: string,
  site: IdentitySite,
  ask: AskPassphrase = () => Promise.resolve(null),
): Promise<Authority> {
  const file = join(folder, 'ca.crt');
  const pem =
    (await readTextIfThere(file)) ??
    (await timed(host, 'pki/ca', "making the site's certificate authority", () =>
      makeAuthority(host, folder, site, ask),
    ));
  const authority = parseAuthority(host, folder, pem, ask);
  // forge's types know neither a lookup by text id nor the DER of an extension.
  const fit = authority.forge.getExtension({ id: NAME_CONSTRAINTS as unknown as number }) as {
    value?: string;
  } | null;
  if (fit?.value !== nameConstraints(site)) {
    const retired = shellWord(join(folder, 'retired'));
    const parts = ['ca.crt', 'ca.key', 'tls'].map((name) => shellWord(join(folder, name))).join(' ');
    throw new WorkError(
      `the site CA in ${file} may speak only for ${describeConstraints(fit?.value ?? '0\0')}; the profile now says ` +
        `the domain ${site.domain} and the network ${site.network.network} with mask ${site.network.netmask}`,
      {
        because: ['site', 'domain'],
        hint:
          'put the old domain and network back; or make a new CA, which every phone then has to install: ' +
          `mkdir -p -m 700 ${retired} && mv ${parts} ${retired}`,
      },
    );
  }
  return authority;
}

/**
 * Reads the site CA's certificate without opening its key.
 * @throws WorkError when there is none
 */
export async function readAuthority(host: Host, folder: string): Promise<Authority> {
  const pem = await readTextIfThere(join(folder, 'ca.crt'));
  if (pem === null) {
    throw new WorkError(`there is no site CA in ${folder}`, {
      hint: '"commeshctl build-image" makes it; if the kit was built on another computer, copy the folder from there',
    });
  }
  return parseAuthority(host, folder, pem, () => Promise.resolve(null));
}

function parseAuthority(host: Host, folder: string, pem: string, ask: AskPassphrase): Authority {
  let certificate: X509Certificate;
  let parsed: forge.pki.Certificate;
  try {
    certificate = new X509Certificate(pem);
    parsed = forge.pki.certificateFromPem(pem);
  } catch {
    throw new WorkError(`${join(folder, 'ca.crt')} is damaged`, {
      hint: 'put the folder back from its copy',
    });
  }
  let key: Promise<KeyObject> | undefined;
  return {
    pem: cleanPem(pem),
    certificate,
    forge: parsed,
    signingKey: () => (key ??= openKey(host, folder, certificate, ask)),
  };
}

async function openKey(
  host: Host,
  folder: string,
  certificate: X509Certificate,
  ask: AskPassphrase,
): Promise<KeyObject> {
  const file = join(folder, 'ca.key');
  const stored = await readTextIfThere(file);
  if (stored === null) {
    throw new WorkError(`a certificate has to be signed, but the site CA's key ${file} is not there`, {
      hint: 'put it back from its copy for this run',
    });
  }
  const key = createPrivateKey(await decrypt(host, file, stored, ask));
  if (!certificate.checkPrivateKey(key)) {
    throw new WorkError(`${file} is not the key of ca.crt beside it`, {
      hint: 'put both files back from the same copy',
    });
  }
  return key;
}

async function decrypt(host: Host, file: string, stored: string, ask: AskPassphrase): Promise<string> {
  let passphrase: string | null = null;
  if (stored.includes('ENCRYPTED PRIVATE KEY')) {
    passphrase = host.env[PASSPHRASE_VARIABLE] || (await ask('open'));
    if (!passphrase) {
      throw new WorkError(`the site CA's key ${file} is protected by a passphrase, and none was given`, {
        hint: `run the command in a terminal, or set ${PASSPHRASE_VARIABLE}`,
      });
    }
  }
  try {
    return createPrivateKey({ key: stored, ...(passphrase === null ? {} : { passphrase }) })
      .export({ type: 'pkcs8', format: 'pem' })
      .toString();
  } catch {
    throw new WorkError(
      passphrase === null
        ? `the site CA's key ${file} is damaged`
        : `the passphrase does not open the site CA's key ${file}`,
      {
        hint:
          passphrase === null ? 'put the folder back from its copy' : 'try again with the right passphrase',
      },
    );
  }
}

/** Key first, certificate last: the certificate's presence says that the CA is complete. */
async function makeAuthority(
  host: Host,
  folder: string,
  site: IdentitySite,
  ask: AskPassphrase,
): Promise<string> {
  const keyFile = join(folder, 'ca.key');
  const stored = await readTextIfThere(keyFile);
  let keyPem: string;
  if (stored !== null) {
    // An interrupted run got this far; a key is never thrown away.
    keyPem = await decrypt(host, keyFile, stored, ask);
  } else {
    const passphrase = host.env[PASSPHRASE_VARIABLE] || (await ask('new'));
    keyPem = await makeRsaKey(host, CA_BITS);
    await writeAtomic(keyFile, passphrase ? encrypt(keyPem, passphrase) : keyPem, 0o600);
  }
  const pem = issueAuthority(host, site, keyPem);
  await writeAtomic(join(folder, 'ca.crt'), pem, 0o600);
  return pem;
}

/** PKCS#8 with PBES2: PBKDF2-HMAC-SHA256 and AES-256-CBC (RFC 8018). */
function encrypt(keyPem: string, passphrase: string): string {
  const info = forge.pki.wrapRsaPrivateKey(
    forge.pki.privateKeyToAsn1(forge.pki.privateKeyFromPem(keyPem) as forge.pki.rsa.PrivateKey),
  );
  // Bytes of the UTF-8 form, as OpenSSL takes them from a terminal.
  const locked = forge.pki.encryptPrivateKeyInfo(info, forge.util.encodeUtf8(passphrase), {
    algorithm: 'aes256',
    count: KDF_ROUNDS,
    saltSize: 16,
    prfAlgorithm: 'sha256',
  } as forge.pki.EncryptionOptions);
  return cleanPem(forge.pki.encryptedPrivateKeyToPem(locked));
}

/** The CA's certificate: signs only end certificates (pathlen 0), only for the site's own names. */
function issueAuthority(host: Host, site: IdentitySite, keyPem: string): string {
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = publicHalfOf(keyPem);
  certificate.serialNumber = serialNumber(host);
  certificate.validity.notBefore = CA_NOT_BEFORE;
  certificate.validity.notAfter = CA_NOT_AFTER;
  // The random end keeps two CAs of one site apart in a phone's list.
  const ending = ` site CA ${host.random(2).toString('hex')}`;
  const subject = [
    attribute('CN', shorten(site.title, 64 - ending.length) + ending),
    attribute('O', shorten(site.title)),
  ];
  certificate.setSubject(subject);
  certificate.setIssuer(subject);
  certificate.setExtensions([
    { name: 'basicConstraints', critical: true, cA: true, pathLenConstraint: 0 },
    { name: 'keyUsage', critical: true, keyCertSign: true, cRLSign: true },
    { name: 'subjectKeyIdentifier' },
    { id: NAME_CONSTRAINTS, critical: true, value: nameConstraints(site) },
  ]);
  signCertificate(certificate, createPrivateKey(keyPem));
  return cleanPem(forge.pki.certificateToPem(certificate));
}
