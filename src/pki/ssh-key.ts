import { generateKeyPairSync, createPublicKey, createPrivateKey } from 'node:crypto';

const MAGIC = 'openssh-key-v1\0';
const TYPE = 'ssh-ed25519';

function field(bytes: string | Uint8Array): Buffer {
  const body = Buffer.from(bytes);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/**
 * A new Ed25519 key pair in OpenSSH's own formats (PROTOCOL.key of OpenSSH; RFC 8709 for the public blob), unencrypted.
 * @param check four random bytes
 */
export function makeSshKey(comment: string, check: Buffer): { privateKey: string; publicKey: string } {
  const jwk = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const seed = Buffer.from(jwk.d ?? '', 'base64url');
  const point = Buffer.from(jwk.x ?? '', 'base64url');
  const blob = Buffer.concat([field(TYPE), field(point)]);
  const inner = [
    check,
    check,
    field(TYPE),
    field(point),
    field(Buffer.concat([seed, point])),
    field(Buffer.from(comment, 'utf8')),
  ];
  let length = inner.reduce((sum, part) => sum + part.length, 0);
  // Padding 1, 2, 3 … to the block size of cipher "none", 8.
  for (let pad = 1; length % 8 !== 0; pad++, length++) inner.push(Buffer.from([pad]));
  const body = Buffer.concat([
    Buffer.from(MAGIC, 'latin1'),
    field('none'),
    field('none'),
    field(''),
    uint32(1),
    field(blob),
    field(Buffer.concat(inner)),
  ]).toString('base64');
  const lines = body.match(/.{1,70}/g) ?? [];
  return {
    privateKey: `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join('\n')}\n-----END OPENSSH PRIVATE KEY-----`,
    publicKey: `${TYPE} ${blob.toString('base64')} ${comment}`,
  };
}

/**
 * The public key line of an unencrypted OpenSSH Ed25519 private key, or null when the text is not one (or its halves
 * do not belong together).
 */
export function publicSshKey(privateKey: string): string | null {
  const match =
    /^-----BEGIN OPENSSH PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+)-----END OPENSSH PRIVATE KEY-----\s*$/.exec(
      privateKey,
    );
  if (!match?.[1]) return null;
  const bytes = Buffer.from(match[1], 'base64');
  let at = MAGIC.length;
  if (bytes.subarray(0, at).toString('latin1') !== MAGIC) return null;
  const next = (): Buffer => {
    const length = bytes.readUInt32BE(at);
    const from = at + 4;
    if (from + length > bytes.length) throw new RangeError('short key');
    at = from + length;
    return bytes.subarray(from, at);
  };
  try {
    if (next().toString() !== 'none') return null;
    next();
    next();
    at += 4;
    const blob = next();
    // From here on inside the private section: length, two check numbers, type, point, key, comment.
    at += 4 + 8;
    if (next().toString() !== TYPE) return null;
    const point = next();
    const key = next();
    const comment = next().toString('utf8');
    if (!blob.equals(Buffer.concat([field(TYPE), field(point)]))) return null;
    const derived = createPublicKey(
      createPrivateKey({
        key: {
          kty: 'OKP',
          crv: 'Ed25519',
          d: key.subarray(0, 32).toString('base64url'),
          x: point.toString('base64url'),
        },
        format: 'jwk',
      }),
    ).export({ format: 'jwk' });
    if (derived.x !== point.toString('base64url')) return null;
    return `${TYPE} ${blob.toString('base64')}${comment ? ` ${comment}` : ''}`;
  } catch {
    return null;
  }
}
