import { createHash } from 'node:crypto';
import type { IdentitySite } from './types.js';

/** A UUID (version 8, RFC 9562) that is always the same for the same text. */
function uuid(text: string): string {
  const bytes = createHash('sha256').update(text).digest().subarray(0, 16);
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x80;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  return bytes
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
    .toUpperCase();
}

function xml(text: string): string {
  return (
    text
      // XML 1.0 has no way to write control characters.
      // eslint-disable-next-line no-control-regex
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '')
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
  );
}

/**
 * An unsigned configuration profile that offers the site CA to an iPhone, iPad or Mac (Apple, "Configuration Profile
 * Reference", payload com.apple.security.root). It holds the certificate and nothing else: it is served openly, so
 * the Wi-Fi's passphrase has no place in it. The same CA gives the same bytes, so installing it twice replaces it.
 * @param description a sentence shown before installing
 */
export function mobileconfig(
  site: Pick<IdentitySite, 'title' | 'domain'>,
  ca: { readonly caDer: Buffer; readonly caFingerprintSha256: string },
  description = `Lets this device trust the services of ${site.title} (${site.domain}), and nothing else.`,
): string {
  const identifier = `${[...site.domain.split('.')].reverse().join('.')}.commesh`;
  const data = ca.caDer.toString('base64').replace(/(.{68})/g, '$1\n');
  const indent = (text: string): string => text.trimEnd().replaceAll('\n', '\n\t\t\t');
  const entry = (key: string, value: string): string => `<key>${key}</key>\n<string>${xml(value)}</string>`;
  const payload = [
    entry('PayloadCertificateFileName', 'site-ca.crt'),
    `<key>PayloadContent</key>\n<data>\n${data.trimEnd()}\n</data>`,
    entry('PayloadDescription', description),
    entry('PayloadDisplayName', `${site.title} site CA`),
    entry('PayloadIdentifier', `${identifier}.ca`),
    entry('PayloadType', 'com.apple.security.root'),
    entry('PayloadUUID', uuid(`payload ${ca.caFingerprintSha256}`)),
    '<key>PayloadVersion</key>\n<integer>1</integer>',
  ].join('\n');
  const outer = [
    entry('PayloadDescription', description),
    entry('PayloadDisplayName', site.title),
    entry('PayloadIdentifier', identifier),
    entry('PayloadOrganization', site.title),
    '<key>PayloadRemovalDisallowed</key>\n<false/>',
    entry('PayloadType', 'Configuration'),
    entry('PayloadUUID', uuid(`profile ${ca.caFingerprintSha256}`)),
    '<key>PayloadVersion</key>\n<integer>1</integer>',
  ].join('\n');
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
\t<key>PayloadContent</key>
\t<array>
\t\t<dict>
\t\t\t${indent(payload)}
\t\t</dict>
\t</array>
\t${outer.replaceAll('\n', '\n\t')}
</dict>
</plist>
`;
}
