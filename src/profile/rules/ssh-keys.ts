import { fault, type Diagnostic, type ProfilePath } from '../../diagnostics/diagnostic.js';
import { quoted } from '../../diagnostics/text.js';
import type { Rule } from './rule.js';

const LEAST_RSA_BITS = 2048;
const TYPES = [
  'ssh-ed25519',
  'ssh-rsa',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'sk-ssh-ed25519@openssh.com',
  'sk-ecdsa-sha2-nistp256@openssh.com',
];
const WHERE = 'a public key is the one line in a file that ends in .pub, for example ~/.ssh/id_ed25519.pub';

/** Fields of a key blob, each a length (32 bits) and that many bytes (RFC 4251, 5); null when they do not add up. */
function fields(blob: Uint8Array): Uint8Array[] | null {
  const out: Uint8Array[] = [];
  const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
  let at = 0;
  while (at < blob.length) {
    if (at + 4 > blob.length) return null;
    const length = view.getUint32(at);
    at += 4;
    if (at + length > blob.length) return null;
    out.push(blob.subarray(at, at + length));
    at += length;
  }
  return out;
}

/** Bits of an mpint (RFC 4251, 5). */
function bits(number: Uint8Array): number {
  const first = number.findIndex((byte) => byte !== 0);
  return first < 0 ? 0 : (number.length - first) * 8 - Math.clz32(number[first] ?? 0) + 24;
}

function complaint(given: string, path: ProfilePath): Diagnostic | null {
  const tell = (message: string, hint: string): Diagnostic => fault('profile/ssh-key', message, path, hint);
  if (given.includes('PRIVATE KEY')) {
    return tell(
      'this is a private key, which must never leave its computer',
      `take it out and make a new pair: whoever saw this file can use it; ${WHERE}`,
    );
  }
  if (/[\r\n]/.test(given.trim())) return tell('a public key is one line', WHERE);
  const [type = '', body = ''] = given.trim().split(/\s+/);
  if (type === 'ssh-dss')
    return tell('keys of the kind ssh-dss are no longer accepted', 'make a new one: ssh-keygen -t ed25519');
  if (!TYPES.includes(type)) {
    if (TYPES.some((one) => given.includes(`${one} `)))
      return tell('write only the key, without the options before it', WHERE);
    return tell(`${quoted(given, 24)} is not a public SSH key`, WHERE);
  }
  const blob = /^[A-Za-z0-9+/]+={0,2}$/.test(body) ? Buffer.from(body, 'base64') : null;
  const parts = blob === null ? null : fields(blob);
  const broken = tell(
    'this public key is not complete; was a part lost in copying?',
    `copy the whole line; ${WHERE}`,
  );
  if (!parts || parts.length < 2 || new TextDecoder().decode(parts[0]) !== type) return broken;
  if (type === 'ssh-ed25519' && (parts.length !== 2 || parts[1]?.length !== 32)) return broken;
  if (type === 'ssh-rsa') {
    const modulus = parts[2];
    if (parts.length !== 3 || modulus === undefined) return broken;
    const size = bits(modulus);
    if (size < LEAST_RSA_BITS) {
      return tell(
        `this RSA key has ${size} bits, and ${LEAST_RSA_BITS} are the least that is safe`,
        'make a new one: ssh-keygen -t ed25519',
      );
    }
  }
  return null;
}

/** Every administrator key is a whole public key of a kind OpenSSH accepts, given once. */
export const sshKeys: Rule = (written) => {
  const seen = new Set<string>();
  return (written.admin?.keys ?? []).flatMap((given, index) => {
    const path = ['admin', 'keys', index];
    const wrong = complaint(given, path);
    if (wrong) return [wrong];
    const body = given.trim().split(/\s+/)[1] ?? '';
    const again = seen.has(body);
    seen.add(body);
    return again
      ? [fault('profile/twice', 'this key stands in the list already', path, 'delete one of the two')]
      : [];
  });
};
