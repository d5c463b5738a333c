import { fault, warning } from '../../diagnostics/diagnostic.js';
import { listed, quoted } from '../../diagnostics/text.js';
import type { Rule } from './rule.js';

/** Browsers refuse plain HTTP below these (HSTS preload list), so the join page could not be opened. */
const HTTPS_ONLY = [
  'app',
  'dev',
  'page',
  'new',
  'day',
  'foo',
  'zip',
  'mov',
  'ing',
  'meme',
  'phd',
  'prof',
  'esq',
  'dad',
  'rsvp',
  'bank',
  'insurance',
  'google',
  'gle',
  'chrome',
  'android',
  'play',
  'youtube',
];
/** Generic top-level domains people are likely to write; every two-letter one is a country's. */
const GENERIC = [
  'com',
  'net',
  'org',
  'info',
  'biz',
  'edu',
  'gov',
  'mil',
  'int',
  'name',
  'pro',
  'ngo',
  'ong',
  'cloud',
  'online',
  'site',
  'space',
  'tech',
  'store',
  'shop',
  'live',
  'chat',
  'social',
  'network',
  'team',
  'group',
  'help',
  'care',
  'news',
  'media',
  'press',
  'health',
  'hospital',
  'clinic',
  'doctor',
  'center',
  'community',
  'foundation',
  'charity',
  'school',
  'academy',
  'world',
  'earth',
  'africa',
  'asia',
  'xyz',
  'top',
  'club',
  'email',
  'link',
  'website',
  'digital',
  'zone',
];
/** Have a meaning of their own on every device (RFC 6761, RFC 7686). */
const RESERVED = ['localhost', 'invalid', 'onion', 'alt'];

const LABEL = /^(?!-)[a-z0-9-]{1,63}(?<!-)$/;

/** The domain is a valid name, and one that no phone looks for anywhere else (RFC 8375, RFC 6762). */
export const domain: Rule = (written) => {
  const given = written.site.domain;
  if (given === undefined) return [];
  const path = ['site', 'domain'];
  const usual = `${written.site.name}.home.arpa`;
  const labels = given.split('.');
  const last = labels[labels.length - 1] ?? '';
  const tell = (message: string, hint: string) => [fault('profile/domain', message, path, hint)];
  if (given !== given.toLowerCase() && labels.every((label) => LABEL.test(label.toLowerCase()))) {
    return tell('a domain is written in small letters', `did you mean "${given.toLowerCase()}"?`);
  }
  if (/^[a-z]+:\/\//i.test(given))
    return tell('a domain is only the name, without "https://"', `for example: domain: ${usual}`);
  const wrong = labels.find((label) => !LABEL.test(label));
  if (wrong !== undefined) {
    return tell(
      `${quoted(given)} is not a domain: each part between the dots has small letters, digits and hyphens, and neither begins nor ends with a hyphen`,
      `for example: domain: ${usual}`,
    );
  }
  if (labels.length < 2)
    return tell(
      'a domain needs a dot: phones look up single words elsewhere',
      `for example: domain: ${given}.home.arpa`,
    );
  if (/^\d+$/.test(last)) return tell('a domain cannot end in a number', `for example: domain: ${usual}`);
  if (RESERVED.includes(last))
    return tell(
      `names that end in .${last} have a meaning of their own on every device`,
      `for example: domain: ${usual}`,
    );
  if (given === 'home.arpa')
    return tell(
      'home.arpa is shared by all home networks; a site needs a name below it',
      `for example: domain: ${usual}`,
    );
  const alert = (message: string, hint: string) => [warning('profile/domain', message, path, hint)];
  const leaveOut = `leave the line out to use ${usual}`;
  if (last === 'local') {
    return alert('many Android phones do not find names that end in .local', leaveOut);
  }
  if (HTTPS_ONLY.includes(last)) {
    return alert(`browsers refuse the join page below .${last}, where they allow no plain HTTP`, leaveOut);
  }
  if (/^[a-z]{2}$/.test(last) || last.startsWith('xn--') || GENERIC.includes(last)) {
    return alert(
      `.${last} belongs to the public internet: phones that know the real ${listed([given])} may mix the two up`,
      `${leaveOut}, or go on if the domain is yours`,
    );
  }
  return [];
};
