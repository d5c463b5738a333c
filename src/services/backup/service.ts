import {
  DATA_ROOT,
  defineService,
  type BackupWish,
  type FileWish,
  type Site,
  type UnitWish,
} from '../contract.js';

const FOLDER = `${DATA_ROOT}/backup`;
const ROOT = { owner: 'root', group: 'root', mode: '0644' } as const;
const KEY: { readonly secret: string } = { secret: 'backup-key' };

function copy(path: string, mode = '0644'): FileWish {
  return { path, kind: 'copy', ...ROOT, mode };
}

/** A list for the scripts, one entry per line. */
function list(name: string, entries: readonly string[]): FileWish {
  return {
    path: `/etc/commesh/backup/${name}`,
    kind: 'template',
    template: '/etc/commesh/backup/list',
    ...ROOT,
    data: { entries },
  };
}

function settings(site: Site): FileWish {
  const { keep } = site.backup;
  return {
    path: '/etc/commesh/backup/settings',
    kind: 'template',
    ...ROOT,
    data: { site: site.name, daily: keep.daily, weekly: keep.weekly, monthly: keep.monthly },
    because: ['backup'],
  };
}

function unique(
  wishes: readonly BackupWish[],
  key: keyof Pick<BackupWish, 'paths' | 'sqlite' | 'postgres' | 'units'>,
): string[] {
  return [...new Set(wishes.flatMap((wish) => wish[key] ?? []))].sort();
}

function units(site: Site): readonly UnitWish[] {
  return [
    {
      name: 'commesh-backup.timer',
      enabled: site.backup.enabled,
      target: 'timers.target',
      active: site.backup.enabled,
      because: ['backup'],
    },
    { name: 'commesh-restore-undo.service', enabled: true, target: 'sysinit.target', active: false },
  ];
}

export const service = defineService<Record<string, never>>({
  id: 'backup',
  title: 'Backup',
  summary: 'Daily encrypted snapshots, on a USB disk when one is there, else on the card',
  always: true,
  schema: { type: 'object', additionalProperties: false, properties: {} },
  settings: () => ({}),
  declare: ({ site }) => ({
    packages: [{ name: 'restic' }, { name: 'sqlite3' }],
    files: [
      {
        path: '/etc/commesh/backup/key',
        kind: 'secret',
        data: { value: KEY },
        ...ROOT,
        mode: '0600',
        sensitive: true,
      },
      settings(site),
      {
        path: '/etc/systemd/system/commesh-backup.timer',
        kind: 'template',
        ...ROOT,
        data: { at: site.backup.at },
        because: ['backup', 'at'],
      },
      copy('/etc/systemd/system/commesh-backup.service'),
      copy('/etc/systemd/system/commesh-restore-undo.service'),
      ...(site.backup.enabled ? [copy('/etc/udev/rules.d/90-commesh-backup.rules')] : []),
      copy('/usr/libexec/commesh/backup', '0755'),
      copy('/usr/libexec/commesh/restore', '0755'),
      copy('/usr/libexec/commesh/repository', '0755'),
      copy('/usr/libexec/commesh/backup-common'),
      { path: FOLDER, kind: 'directory', ...ROOT, mode: '0755' },
    ],
    units: units(site),
    secrets: [{ id: KEY.secret, kind: 'token', length: 40 }],
    backup: { none: 'backups of backups help nobody; "commeshctl backup" pulls a copy' },
    memory: { idleMiB: 0, perPersonKiB: 0 },
    // The copy of the databases while a backup runs, and snapshots when no USB disk is there.
    disk: { fixedMB: 100, perPersonMB: 50 },
  }),
  collect: (_context, gathered) => ({
    files: [
      list('paths', unique(gathered.backups, 'paths')),
      list('databases', unique(gathered.backups, 'sqlite')),
      list('postgres', unique(gathered.backups, 'postgres')),
      list('units', unique(gathered.backups, 'units')),
    ],
  }),
});
