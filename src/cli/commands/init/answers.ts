import type { Board } from '../../../services/contract.js';

/** Which SSH key the administrator logs in with, besides the site's own operator key. */
export type KeyChoice =
  | { readonly kind: 'found'; readonly file: string; readonly line: string }
  /** Made with ssh-keygen in ~/.ssh, when the profile is written. */
  | { readonly kind: 'make' }
  | { readonly kind: 'none' };

/** Everything `init` asks. */
export interface Answers {
  readonly title: string;
  readonly name: string;
  readonly languages: readonly string[];
  readonly timezone: string;
  readonly people: number;
  readonly services: readonly string[];
  readonly board: Board;
  readonly mode: 'access-point' | 'lan';
  readonly ssid: string;
  /** ISO 3166-1 alpha-2; empty until somebody named one. */
  readonly country: string;
  /** The kit's address with its prefix length. */
  readonly address: string;
  readonly dhcp: boolean;
  readonly backup: boolean;
  /** HH:MM, local time of the kit. */
  readonly backupAt: string;
  readonly key: KeyChoice;
}

/** What this machine knows that helps to answer. */
export interface Facts {
  /** Name of the profile's file without folder and ending, when it was given. */
  readonly fileName?: string;
  readonly timezone: string;
  /** Country of this machine's language setting; only ever proposed. */
  readonly country?: string;
  readonly keys: readonly { readonly file: string; readonly line: string }[];
  /** Services a profile may ask for. */
  readonly services: readonly { readonly id: string; readonly title: string; readonly summary: string }[];
}

/** A Pi's built-in radio carries about this many people (facts: people.md). */
export const OWN_WIFI_PEOPLE = 8;

/** Why this kit cannot make its own Wi-Fi, or null when it can. */
export function ownWifiRefusal(board: Board, people: number): string | null {
  if (board === 'pc' || people <= OWN_WIFI_PEOPLE) return null;
  return `a Raspberry Pi's own Wi-Fi carries about ${OWN_WIFI_PEOPLE} people, not ${people}; plug a Wi-Fi router or a switch into the kit and choose the cable`;
}

/** `Dispensaire de Goma` → `dispensaire-de-goma`: a host name label (RFC 1123), at most 30 characters. */
export function slug(title: string): string {
  const plain = title
    .normalize('NFKD')
    .replace(/\p{Mark}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 30)
    .replace(/^-+|-+$/g, '');
  return /^[a-z]/.test(plain) ? plain : plain === '' ? '' : `site-${plain}`.slice(0, 30).replace(/-+$/, '');
}

/** Every answer, with a sensible one where nobody has answered yet. */
export function complete(given: Partial<Answers>, facts: Facts): Answers {
  const fromFile = facts.fileName === undefined ? '' : slug(facts.fileName);
  const title =
    given.title ??
    (given.name ?? fromFile).replace(/^./, (letter) => letter.toUpperCase()).replaceAll('-', ' ');
  const name = given.name ?? (fromFile || slug(title));
  const people = given.people ?? 8;
  const board = given.board ?? 'pi4';
  const country = given.country ?? facts.country ?? '';
  // A Zero 2 W has no network socket.
  const ownWifi =
    board === 'zero2w' || (country !== '' && board !== 'pc' && ownWifiRefusal(board, people) === null);
  const firstKey = facts.keys[0];
  return {
    title,
    name,
    languages: given.languages ?? ['en'],
    timezone: given.timezone ?? facts.timezone,
    people,
    services: given.services ?? facts.services.map((service) => service.id),
    board,
    mode: given.mode ?? (ownWifi ? 'access-point' : 'lan'),
    ssid: given.ssid ?? name,
    country,
    // Room for every phone twice: a returning phone may ask for a second address.
    address: given.address ?? (people > 110 ? '10.77.0.1/22' : '10.77.0.1/24'),
    dhcp: given.dhcp ?? true,
    backup: given.backup ?? true,
    backupAt: given.backupAt ?? '02:30',
    key: given.key ?? (firstKey ? { kind: 'found', ...firstKey } : { kind: 'none' }),
  };
}
