import { fault, warning, type Diagnostic } from '../../diagnostics/diagnostic.js';
import { listed, quoted } from '../../diagnostics/text.js';
import type { Board } from '../../services/contract.js';
import { COUNTRIES } from '../data/countries.js';
import type { Written, WrittenWifi } from '../written.js';
import { BOARD_NAMES } from './board.js';
import type { Rule } from './rule.js';

const PATH = ['network', 'wifi'] as const;

/** 2.4 GHz channels allowed in every country. */
const EVERYWHERE = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
/** 2.4 GHz channels that most countries, but not these, allow. */
const UPPER = [12, 13];
const WITHOUT_UPPER = ['US', 'CA', 'TW', 'PR', 'GU', 'AS', 'MP', 'VI', 'UM'];
/** 5 GHz channels that need no radar detection (the others go silent when they see a radar). */
const FIVE_GHZ = [36, 40, 44, 48];
/** Boards whose every model has a 5 GHz radio; a PC's card may. */
const HAS_FIVE_GHZ: readonly Board[] = ['pi4', 'pi5', 'pc'];

function countryFaults(wifi: WrittenWifi): Diagnostic[] {
  const given = wifi.country;
  if (COUNTRIES.includes(given)) return [];
  const path = [...PATH, 'country'];
  const upper = given.toUpperCase();
  const names = new Intl.DisplayNames(['en'], { type: 'region', fallback: 'code' });
  const byName = COUNTRIES.find((code) => names.of(code)?.toLowerCase() === given.trim().toLowerCase());
  const near = upper === 'UK' ? 'GB' : COUNTRIES.includes(upper) ? upper : byName;
  return [
    fault(
      'profile/country',
      `${quoted(given)} is not the code of a country; the rules for radio differ between countries`,
      path,
      near === undefined
        ? 'write the two capital letters of the country, for example KE, UA, MM'
        : `did you mean "${near}"?`,
    ),
  ];
}

function ssidFaults(wifi: WrittenWifi): Diagnostic[] {
  if (wifi.ssid === undefined) return [];
  const path = [...PATH, 'ssid'];
  const bytes = new TextEncoder().encode(wifi.ssid).length;
  if (bytes > 32) {
    const why =
      bytes === wifi.ssid.length ? '' : ' (letters with accents and other scripts count two to four)';
    return [
      fault(
        'profile/ssid',
        `the name of a Wi-Fi network has at most 32 bytes, and this has ${bytes}${why}`,
        path,
        'choose a shorter name',
      ),
    ];
  }
  if (/\p{Cc}/u.test(wifi.ssid) || wifi.ssid.trim() !== wifi.ssid) {
    return [
      fault(
        'profile/ssid',
        'the name of a Wi-Fi network is one line without spaces at its ends',
        path,
        'people have to recognise it in a list',
      ),
    ];
  }
  return [];
}

function passphraseFaults(wifi: WrittenWifi, names: readonly string[]): Diagnostic[] {
  const given = wifi.passphrase;
  if (given === undefined) return [];
  const path = [...PATH, 'passphrase'];
  const leaveOut = 'or leave the line out, and a good one is made for you';
  // IEEE 802.11, annex J.4: 8 to 63 characters from space to tilde.
  if (!/^[ -~]*$/.test(given)) {
    return [
      fault(
        'profile/passphrase',
        'a Wi-Fi passphrase has only plain English letters, digits, spaces and signs',
        path,
        `choose another, ${leaveOut}`,
      ),
    ];
  }
  if (given.length < 8 || given.length > 63) {
    return [
      fault(
        'profile/passphrase',
        `a Wi-Fi passphrase has 8 to 63 characters, and this has ${given.length}`,
        path,
        `choose another, ${leaveOut}`,
      ),
    ];
  }
  if (given.trim() !== given) {
    return [
      fault(
        'profile/passphrase',
        'a space at the end of a passphrase cannot be seen on paper',
        path,
        `choose another, ${leaveOut}`,
      ),
    ];
  }
  const plain = given.toLowerCase();
  const easy =
    /^\d+$/.test(plain) ||
    new Set(plain).size < 4 ||
    /^(password|passwort|welcome|internet|wireless)/.test(plain) ||
    names.includes(plain);
  return easy
    ? [
        warning(
          'profile/passphrase',
          'this passphrase is easy to guess',
          path,
          `four words are strong and easy to type; ${leaveOut}`,
        ),
      ]
    : [];
}

function channelFaults(written: Written, wifi: WrittenWifi): Diagnostic[] {
  const given = wifi.channel;
  if (given === undefined || EVERYWHERE.includes(given)) return [];
  const path = [...PATH, 'channel'];
  if (UPPER.includes(given)) {
    return WITHOUT_UPPER.includes(wifi.country)
      ? [
          fault(
            'profile/channel',
            `channel ${given} is not allowed in ${wifi.country}`,
            path,
            'take 1, 6 or 11',
          ),
        ]
      : [];
  }
  if (FIVE_GHZ.includes(given)) {
    return HAS_FIVE_GHZ.includes(written.board)
      ? []
      : [
          fault(
            'profile/channel',
            `channel ${given} needs a 5 GHz radio, and not every ${BOARD_NAMES[written.board]} has one`,
            path,
            'take 1, 6 or 11',
          ),
        ];
  }
  return [
    fault(
      'profile/channel',
      `channel ${given} cannot be used by a kit`,
      path,
      `take 1, 6 or 11; on a board with 5 GHz also ${listed(FIVE_GHZ.map(String))}`,
    ),
  ];
}

/** Wi-Fi settings are there when the kit is an access point, only then, and allowed by radio and law. */
export const wifi: Rule = (written) => {
  const wish = written.network.wifi;
  const accessPoint = written.network.mode === 'access-point';
  if (wish === undefined) {
    return accessPoint
      ? [
          fault(
            'profile/missing-setting',
            '"wifi" is missing below "network:": an access point must know the country it is used in',
            [...PATH],
            'add "wifi:" and, on the next line further to the right, "country: KE" with the code of your country',
          ),
        ]
      : [];
  }
  if (!accessPoint) {
    return [
      fault(
        'profile/wifi-in-lan',
        'a kit in a wired network has no Wi-Fi of its own; the router makes it',
        [...PATH],
        'delete the "wifi" settings, or write "mode: access-point"',
      ),
    ].map((one) => ({ ...one, at: 'key' as const }));
  }
  const names = [wish.ssid ?? written.site.name, written.site.name, written.site.title].map((one) =>
    one.toLowerCase(),
  );
  return [
    ...countryFaults(wish),
    ...ssidFaults(wish),
    ...passphraseFaults(wish, names),
    ...channelFaults(written, wish),
  ];
};
