import {
  defineService,
  KIT_INTERFACE,
  type FileWish,
  type PackageWish,
  type Site,
  type UnitWish,
  type WifiSettings,
} from '../contract.js';

const ROOT = { owner: 'root', group: 'root', mode: '0644' } as const;

/**
 * A locally administered MAC address that stays the same for a site (IEEE 802c: second bit of the first byte set),
 * so that a spare card of the same site is the same station to every phone's memory. FNV-1a, 32 bits.
 */
export function stableMac(domain: string): string {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(domain)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  const bytes = [0x02, 0xc0, ...[24, 16, 8, 0].map((shift) => (hash >>> shift) & 0xff)];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** UTF-8 as hex digits: hostapd takes an SSID in this form whatever characters it has. */
function hex(text: string): string {
  return [...new TextEncoder().encode(text)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function template(path: string, data: FileWish['data'], more: Partial<FileWish> = {}): FileWish {
  return { path, kind: 'template', data: data ?? {}, ...ROOT, ...more };
}

function copy(path: string, more: Partial<FileWish> = {}): FileWish {
  return { path, kind: 'copy', ...ROOT, ...more };
}

function cables(site: Site): readonly FileWish[] {
  const { address, prefix } = site.network;
  const data = { name: KIT_INTERFACE };
  return [
    template('/etc/systemd/network/10-kit.netdev', { ...data, mac: stableMac(site.domain) }),
    template('/etc/systemd/network/20-kit.network', { ...data, address, prefix }),
    template('/etc/systemd/network/30-cables.network', data),
    template('/etc/systemd/system/systemd-networkd-wait-online.service.d/90-commesh.conf', data),
  ];
}

function accessPoint(wifi: WifiSettings): readonly FileWish[] {
  const because = ['network', 'wifi'];
  const fiveGigahertz = wifi.channel > 14;
  return [
    copy('/etc/systemd/network/40-wifi.link', { because }),
    template(
      '/etc/modprobe.d/commesh-wifi.conf',
      { country: wifi.country },
      { because: [...because, 'country'] },
    ),
    template(
      '/etc/commesh/access-point/hostapd.conf',
      {
        bridge: KIT_INTERFACE,
        ssid: hex(wifi.ssid),
        country: wifi.country,
        channel: wifi.channel,
        five: fiveGigahertz,
        passphrase: wifi.passphrase,
      },
      { mode: '0600', sensitive: true, because },
    ),
    copy('/etc/commesh/access-point/wpa2.conf', { because }),
    copy('/etc/commesh/access-point/wpa3.conf', { because }),
    copy('/usr/libexec/commesh/access-point', { mode: '0755', because }),
    copy('/etc/systemd/system/commesh-access-point.service', { because }),
    ...['hostapd.service', 'systemd-rfkill.service', 'systemd-rfkill.socket'].map((unit): FileWish => ({
      path: `/etc/systemd/system/${unit}`,
      kind: 'symlink',
      target: '/dev/null',
      ...ROOT,
      because,
    })),
  ];
}

/** hostapd and the firmware of radios that can be an access point. */
function radioPackages(site: Site): readonly PackageWish[] {
  const firmware =
    site.board === 'pc'
      ? ['firmware-ath9k-htc', 'firmware-iwlwifi', 'firmware-mediatek']
      : ['firmware-brcm80211'];
  return ['hostapd', 'iw', 'wireless-regdb', ...firmware].map((name) => ({
    name,
    because: ['network', 'mode'],
  }));
}

const UNITS: readonly UnitWish[] = [
  { name: 'systemd-networkd.service', enabled: true, target: 'multi-user.target', active: true },
  {
    name: 'systemd-networkd-wait-online.service',
    enabled: true,
    target: 'network-online.target',
    // Runs when something waits for the network; nothing of the kit does.
    active: false,
  },
];

export const service = defineService<Record<string, never>>({
  id: 'network',
  title: 'Network',
  summary: "The kit's address, its cables, and its Wi-Fi when it is an access point",
  always: true,
  schema: { type: 'object', additionalProperties: false, properties: {} },
  settings: () => ({}),
  declare: ({ site }) => {
    const { wifi } = site.network;
    return {
      packages: wifi === null ? [] : radioPackages(site),
      files: [...cables(site), ...(wifi === null ? [] : accessPoint(wifi))].map((file) => ({
        because: ['network'],
        ...file,
      })),
      units: [
        ...UNITS,
        ...(wifi === null
          ? []
          : [
              {
                name: 'commesh-access-point.service',
                enabled: true,
                target: 'multi-user.target',
                active: true,
                because: ['network', 'wifi'],
              },
            ]),
      ],
      secrets:
        wifi === null
          ? []
          : [
              {
                id: wifi.passphrase.secret,
                kind: 'words',
                length: 4,
                because: ['network', 'wifi', 'passphrase'],
              },
            ],
      backup: { none: 'everything comes from the profile' },
      memory: { idleMiB: wifi === null ? 5 : 12, perPersonKiB: wifi === null ? 0 : 16 },
    };
  },
});
