import {
  ADMIN_USER,
  DATA_ROOT,
  defineService,
  type BackupWish,
  type Board,
  type FileWish,
  type PackageWish,
  type Site,
  type UnitWish,
} from '../contract.js';

/** What every kit runs on, whichever board. Each line's reason stands in the README. */
const PACKAGES = [
  'systemd',
  'systemd-sysv',
  'systemd-zram-generator',
  'udev',
  'kmod',
  'zstd',
  'initramfs-tools',
  'e2fsprogs',
  'fdisk',
  'procps',
  'iproute2',
  'netbase',
  'sqlite3',
  'sudo',
  'tzdata',
] as const;

/** Boards with a power button that logind listens to; logind hears it only through D-Bus. */
const POWER_BUTTON: ReadonlySet<Board> = new Set(['pc', 'pi5']);

/** Units that would call out, ask questions nobody can answer, or write where nothing should be written. */
const MASKED = [
  'apt-daily.service',
  'apt-daily.timer',
  'apt-daily-upgrade.service',
  'apt-daily-upgrade.timer',
  'dpkg-db-backup.timer',
  'e2scrub_all.timer',
  'e2scrub_reap.service',
  'getty-static.service',
  'systemd-firstboot.service',
  'systemd-timesyncd.service',
] as const;

const ROOT = { owner: 'root', group: 'root', mode: '0644' } as const;

function packages(site: Site): readonly PackageWish[] {
  return [
    ...PACKAGES.map((name): PackageWish => ({ name })),
    ...kernel(site).map((name): PackageWish => ({ name, because: ['board'] })),
    ...(POWER_BUTTON.has(site.board) ? [{ name: 'dbus', because: ['board'] }] : []),
  ];
}

/** Kernel, and the firmware a wired kit needs. The firmware of the Pi's boot loader belongs to the boot partition. */
function kernel(site: Site): readonly string[] {
  if (site.board === 'pc') return ['linux-image-amd64', 'firmware-realtek', 'firmware-bnx2'];
  if (site.base === 'debian') return ['linux-image-arm64'];
  return ['linux-image-rpi-v8', ...(site.board === 'pi5' ? ['linux-image-rpi-2712'] : [])];
}

function template(path: string, data: FileWish['data'] = {}, more: Partial<FileWish> = {}): FileWish {
  return { path, kind: 'template', data, ...ROOT, ...more };
}

function copy(path: string, more: Partial<FileWish> = {}): FileWish {
  return { path, kind: 'copy', ...ROOT, ...more };
}

function mask(unit: string): FileWish {
  return { path: `/etc/systemd/system/${unit}`, kind: 'symlink', target: '/dev/null', ...ROOT };
}

function files(site: Site): readonly FileWish[] {
  const timezone = ['site', 'timezone'];
  return [
    template('/etc/hostname', { name: site.name }),
    template('/etc/hosts', { name: site.name, domain: site.domain, address: site.network.address }),
    template('/etc/fstab', { data: DATA_ROOT }),
    template('/etc/machine-id'),
    template('/etc/.updated', {}, { template: '/etc/updated' }),
    template('/var/.updated', {}, { template: '/etc/updated' }),
    template('/usr/lib/clock-epoch'),
    template('/etc/timezone', { timezone: site.timezone }, { because: timezone }),
    {
      path: '/etc/localtime',
      kind: 'symlink',
      target: `/usr/share/zoneinfo/${site.timezone}`,
      ...ROOT,
      because: timezone,
    },
    copy('/etc/locale.conf'),
    template('/etc/issue', {
      // agetty reads a backslash as the beginning of an escape (agetty(8), "ISSUE FILES").
      title: site.title.replaceAll('\\', '\\\\'),
      domain: site.domain,
      address: site.network.address,
      user: ADMIN_USER,
    }),
    template('/etc/commesh/kit.json', {
      kit: {
        format: 1,
        site: site.name,
        title: site.title,
        domain: site.domain,
        address: site.network.address,
        board: site.board,
        base: site.base,
        services: Object.keys(site.services).sort(),
      },
    }),
    template(`/etc/sudoers.d/90-commesh`, { user: ADMIN_USER }, { mode: '0440' }),
    copy('/etc/sysctl.d/90-commesh.conf'),
    copy('/etc/systemd/system.conf.d/90-commesh.conf'),
    template('/etc/systemd/journald.conf.d/90-commesh.conf', { megabytes: site.memoryMiB < 1024 ? 12 : 24 }),
    copy('/etc/systemd/zram-generator.conf'),
    copy('/etc/systemd/system-preset/00-commesh.preset'),
    copy('/etc/systemd/system/commesh-grow.service'),
    copy('/usr/libexec/commesh/grow', { mode: '0755' }),
    {
      path: '/etc/systemd/system/getty.target.wants/getty@tty1.service',
      kind: 'symlink',
      target: '/usr/lib/systemd/system/getty@.service',
      ...ROOT,
    },
    ...MASKED.map(mask),
    ...(POWER_BUTTON.has(site.board) ? [] : [mask('systemd-logind.service')]),
  ];
}

/** Units that keep state; each has to wait for the data partition, and must not start without it. */
function stateful(backups: readonly BackupWish[]): readonly string[] {
  return [...new Set(backups.flatMap((backup) => backup.units))].sort();
}

/** Folders services want below /var/log, which is empty after every start. */
function logFolders(gathered: readonly FileWish[]): readonly FileWish[] {
  return gathered
    .filter((file) => file.kind === 'directory' && file.path.startsWith('/var/log/'))
    .toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

const UNITS: readonly UnitWish[] = [
  { name: 'commesh-grow.service', enabled: true, target: 'local-fs.target', active: true },
];

export const service = defineService<Record<string, never>>({
  id: 'system',
  title: 'System',
  summary: 'Debian 13, kernel, disks, watchdog, memory, the admin account',
  always: true,
  schema: { type: 'object', additionalProperties: false, properties: {} },
  settings: () => ({}),
  declare: ({ site }) => ({
    packages: packages(site),
    files: files(site),
    users: [
      {
        name: ADMIN_USER,
        home: `/home/${ADMIN_USER}`,
        shell: '/bin/bash',
        groups: ['sudo', 'adm', 'systemd-journal'],
      },
    ],
    units: [
      ...UNITS,
      ...(POWER_BUTTON.has(site.board)
        ? [{ name: 'dbus.socket', enabled: false, target: 'sockets.target', active: true }]
        : []),
    ],
    backup: { none: 'the system is made again from the profile, its lock and its secrets' },
    memory: { idleMiB: 80, perPersonKiB: 0 },
    disk: { fixedMB: 20, perPersonMB: 0 },
  }),
  collect: (_context, gathered) => ({
    files: [
      ...stateful(gathered.backups).map((unit) =>
        template(
          `/etc/systemd/system/${unit}.d/10-commesh-data.conf`,
          { data: DATA_ROOT },
          { template: '/etc/systemd/system/commesh-data.conf' },
        ),
      ),
      template('/etc/tmpfiles.d/commesh-log.conf', {
        folders: logFolders(gathered.files).map(({ path, mode, owner, group }) => ({
          path,
          mode,
          owner,
          group,
        })),
      }),
    ],
  }),
});
