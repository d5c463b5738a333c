import { describe, expect, it } from 'vitest';
import { asciiName, describeConstraints, nameConstraints, shorten } from './names.js';

const SITE = {
  title: 'Clinic',
  domain: 'clinic.home.arpa',
  network: { address: '10.77.0.1', network: '10.77.0.0', netmask: '255.255.255.0' },
};

describe('name constraints', () => {
  it('are the DER that RFC 5280 asks for', () => {
    const domain = Buffer.from(SITE.domain).toString('hex');
    expect(Buffer.from(nameConstraints(SITE), 'latin1').toString('hex')).toBe(
      // SEQUENCE { [0] { email, dns, ip/mask }, [1] { ::/0 } }
      [
        `305ca034`,
        `30128110${domain}`,
        `30128210${domain}`,
        `300a87080a4d0000ffffff00`,
        `a12430228720${'00'.repeat(32)}`,
      ].join(''),
    );
  });
  it('can be told in words', () => {
    expect(describeConstraints(nameConstraints(SITE))).toBe(
      'the domain clinic.home.arpa and the network 10.77.0.0 with mask 255.255.255.0',
    );
  });
  it.each(['Clinic.home.arpa', 'klinïk.home.arpa', '', 'a..b', '*.home.arpa', 'a b'])('refuse %j', (name) => {
    expect(() => asciiName(name)).toThrow(/cannot stand in a certificate/);
  });
});

it('shortens by characters, not by halves of them', () => {
  expect(shorten('🏥'.repeat(70))).toBe('🏥'.repeat(64));
});
