import { describe, expect, it } from 'vitest';
import { cardsHtml } from './cards.js';
import { chatServices } from './kit.js';
import { nameFault, parseNames } from './names.js';

describe('names', () => {
  it.each(['anna', 'a', 'anna.moyo', 'a-1_b', 'x'.repeat(32), '7anna'])('%s is one', (name) => {
    expect(nameFault(name)).toBeNull();
  });
  it.each([
    '',
    'Anna',
    'zoé',
    'anna moyo',
    '.anna',
    '123',
    'x'.repeat(33),
    'anna@moyo',
    'verify-1',
    'kit-service',
  ])('"%s" is none', (name) => {
    expect(nameFault(name)).toEqual(expect.any(String));
  });

  it('come from a list with one in each line, or from CSV as spreadsheets write it', () => {
    expect(parseNames('anna\n\n# the clinic\nben\r\n', 'list')).toEqual([{ name: 'anna' }, { name: 'ben' }]);
    expect(parseNames('\uFEFFName;Called\r\nanna;"Moyo; Anna ""A"""\r\nben;ben\r\n', 'list')).toEqual([
      { name: 'anna', display: 'Moyo; Anna "A"' },
      { name: 'ben' },
    ]);
  });

  it.each([
    ['anna\nBen', 'list, line 2: "Ben": a name has small letters'],
    ['anna\nanna', 'list, line 2: "anna" is in the list twice'],
    ['# nobody\n', 'list names nobody'],
  ])('of %j are refused with their line', (text, message) => {
    expect(() => parseNames(text, 'list')).toThrow(message);
  });
});

it('a kit has the chat services whose programs for accounts the plan puts on it', () => {
  const file = (path: string): never => ({ path }) as never;
  expect(
    chatServices({
      files: [
        file('/usr/libexec/commesh/people.d/synapse'),
        file('/etc/hosts'),
        file('/usr/libexec/commesh/people.d/prosody'),
      ],
    }),
  ).toEqual(['prosody', 'synapse']);
});

describe('a sheet of cards', () => {
  const sheet = {
    title: 'Clínica <El Río>',
    domain: 'rio.home.arpa',
    languages: ['es-419', 'en'],
    timezone: 'UTC',
    cards: [
      {
        name: 'anna',
        display: 'Anna & Co',
        addresses: ['anna@rio.home.arpa', '@anna:rio.home.arpa'],
        passphrase: 'one-two-three-four',
        links: [],
        words: [],
      },
      { name: null, addresses: [], links: ['https://rio.home.arpa/invite?x'], words: [], expires: 0 },
    ],
  };

  it('holds what each person needs, in the language of the site, and loads nothing', () => {
    const html = cardsHtml(sheet);
    expect(html.match(/<section>/g)).toHaveLength(2);
    for (const text of ['lang="es"', 'Anna &amp; Co', 'Clínica &lt;El Río&gt;', 'one-two-three-four'])
      expect(html).toContain(text);
    expect(html).toContain('@anna:rio.home.arpa');
    expect(html).toContain('1 de enero de 1970');
    expect(html).not.toMatch(/<script|src=|href=|url\(|@import/);
  });

  it('is written from right to left where the site is', () => {
    expect(cardsHtml({ ...sheet, languages: ['ar'] })).toContain('<html lang="ar" dir="rtl">');
    expect(cardsHtml({ ...sheet, languages: ['sw'] })).toContain('<html lang="en" dir="ltr">');
  });
});
