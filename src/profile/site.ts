import type {
  Board,
  DhcpSettings,
  NetworkSettings,
  Service,
  Sister,
  Site,
  WifiSettings,
} from '../services/contract.js';
import { defaultRange, ipv4, networkOf, parseCidr, parseIpv4 } from './ipv4.js';
import { parseHours, parseMemory, parseStorage } from './units.js';
import type { Written } from './written.js';

/** Values used where the profile says nothing. */
export const DEFAULTS = {
  address: '10.77.0.1/24',
  channel: 6,
  languages: ['en'],
  leaseHours: 12,
  mirror: 'auto',
  people: 8,
  timezone: 'UTC',
  backupAt: '02:30',
  keep: { daily: 7, weekly: 4, monthly: 6 },
} as const;

/** Memory of each board, MiB: the smallest model that is still sold, for a PC a modest one. */
export const MEMORY_MIB: Readonly<Record<Board, number>> = {
  zero2w: 512,
  pi3: 1024,
  pi4: 2048,
  pi5: 4096,
  pc: 2048,
};

/** Services a kit has unless the profile switches them off. */
export const DEFAULT_SERVICES: readonly string[] = ['coturn', 'prosody'];

/** Secret id of the Wi-Fi passphrase. */
export const WIFI_SECRET = 'wifi-passphrase';

/** A site, and apart from it the secret values a person wrote into the profile, by secret id. */
export interface BuiltSite {
  readonly site: Site;
  readonly given: Readonly<Record<string, string>>;
}

function dhcpOf(written: Written, network: ReturnType<typeof networkOf>): DhcpSettings {
  const wish = written.network.dhcp ?? true;
  const usual = defaultRange(network);
  const range = typeof wish === 'boolean' ? {} : wish;
  return {
    enabled: wish !== false,
    from: ipv4((range.from === undefined ? null : parseIpv4(range.from)) ?? usual.from),
    to: ipv4((range.to === undefined ? null : parseIpv4(range.to)) ?? usual.to),
    leaseHours: (range.lease === undefined ? null : parseHours(range.lease)) ?? DEFAULTS.leaseHours,
  };
}

function wifiOf(written: Written): WifiSettings | null {
  const wish = written.network.wifi;
  if (written.network.mode !== 'access-point' || wish === undefined) return null;
  return {
    ssid: wish.ssid ?? written.site.name,
    country: wish.country,
    channel: wish.channel ?? DEFAULTS.channel,
    passphrase: { secret: WIFI_SECRET },
  };
}

function networkSettings(written: Written): NetworkSettings {
  const usual = parseCidr(DEFAULTS.address) ?? networkOf(0, 24);
  const wish = written.network.address === undefined ? null : parseCidr(written.network.address);
  const network = wish ?? usual;
  return {
    mode: written.network.mode,
    address: ipv4(network.address),
    prefix: network.prefix,
    network: ipv4(network.network),
    netmask: ipv4(2 ** 32 - 2 ** (32 - network.prefix)),
    broadcast: ipv4(network.broadcast),
    dhcp: dhcpOf(written, network),
    wifi: wifiOf(written),
  };
}

function withoutServices(written: Written, federation: readonly Sister[]): Site {
  const backup = written.backup ?? true;
  const daily = typeof backup === 'boolean' ? { enabled: backup } : backup;
  const pc = written.board === 'pc';
  return {
    name: written.site.name,
    title: written.site.title.trim(),
    domain: written.site.domain ?? `${written.site.name}.home.arpa`,
    languages: (written.site.languages ?? DEFAULTS.languages).map(canonicalLanguage),
    timezone: written.site.timezone ?? DEFAULTS.timezone,
    board: written.board,
    arch: pc ? 'amd64' : 'arm64',
    base: written.base ?? (written.board === 'pi5' ? 'raspberry-pi-os' : 'debian'),
    memoryMiB:
      (written.memory === undefined ? null : parseMemory(written.memory)) ?? MEMORY_MIB[written.board],
    storageGB: (written.storage === undefined ? null : parseStorage(written.storage)) ?? (pc ? 32 : 16),
    mirror: written.mirror ?? DEFAULTS.mirror,
    people: written.people ?? DEFAULTS.people,
    network: networkSettings(written),
    admin: { keys: (written.admin?.keys ?? []).map((key) => key.trim()) },
    backup: {
      enabled: daily.enabled ?? true,
      at: daily.at ?? DEFAULTS.backupAt,
      keep: { ...DEFAULTS.keep, ...daily.keep },
    },
    federation,
    services: {},
  };
}

/** The tag in its usual spelling (`EN-gb` → `en-GB`), or as it is when it is not a language tag (BCP 47). */
export function canonicalLanguage(tag: string): string {
  try {
    return Intl.getCanonicalLocales(tag)[0] ?? tag;
  } catch {
    return tag;
  }
}

/** What the profile says about a service: its settings, or null when it is off. */
function wishFor(service: Service, written: Written): Readonly<Record<string, unknown>> | null {
  if (service.always) return {};
  const wish = written.services?.[service.id] ?? DEFAULT_SERVICES.includes(service.id);
  return typeof wish === 'boolean' ? (wish ? {} : null) : wish;
}

/** Freezes a value and everything in it. */
export function deepFreeze<T>(value: T): T {
  if (value !== null && typeof value === 'object' && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}

/**
 * The complete, immutable site. A value that cannot be read (the rules complain about it) counts as not written.
 * Services see a site without `services`: what others do is asked for through capabilities.
 */
export function buildSite(
  written: Written,
  services: readonly Service[],
  federation: readonly Sister[] = [],
): BuiltSite {
  const bare = deepFreeze(withoutServices(written, federation));
  const settings: Record<string, unknown> = {};
  for (const service of services) {
    const wish = wishFor(service, written);
    if (wish !== null) settings[service.id] = service.settings(bare, wish);
  }
  const passphrase = written.network.mode === 'access-point' ? written.network.wifi?.passphrase : undefined;
  return {
    site: deepFreeze({ ...bare, services: settings }),
    given: Object.freeze(passphrase === undefined ? {} : { [WIFI_SECRET]: passphrase }),
  };
}
