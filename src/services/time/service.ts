import { DATA_ROOT, defineService, type Board, type FileWish, type UnitWish } from '../contract.js';

const ROOT = { owner: 'root', group: 'root', mode: '0644' } as const;
const FOLDER = `${DATA_ROOT}/time`;

/** Boards with a clock of their own, which is worth setting (a Pi 5 keeps it with a battery only). */
const HARDWARE_CLOCK: ReadonlySet<Board> = new Set(['pc', 'pi5']);

const UNITS: readonly UnitWish[] = [
  { name: 'chrony.service', enabled: true, target: 'multi-user.target', active: true },
  { name: 'commesh-clock.service', enabled: true, target: 'sysinit.target', active: true },
  { name: 'commesh-clock-save.timer', enabled: true, target: 'timers.target', active: true },
];

function copy(path: string, mode = '0644'): FileWish {
  return { path, kind: 'copy', ...ROOT, mode };
}

export const service = defineService<Record<string, never>>({
  id: 'time',
  title: 'Time',
  summary: "The kit's clock, which never runs backwards, and time for the devices on its network",
  always: true,
  schema: { type: 'object', additionalProperties: false, properties: {} },
  settings: () => ({}),
  declare: ({ site }) => ({
    packages: [
      { name: 'chrony' },
      ...(HARDWARE_CLOCK.has(site.board) ? [{ name: 'util-linux-extra', because: ['board'] }] : []),
    ],
    files: [
      {
        path: '/etc/chrony/chrony.conf',
        kind: 'template',
        ...ROOT,
        data: { network: site.network.network, prefix: site.network.prefix, folder: FOLDER },
      },
      copy('/etc/default/chrony'),
      copy('/etc/systemd/system/chrony.service.d/90-commesh.conf'),
      copy('/etc/systemd/system/commesh-clock.service'),
      copy('/etc/systemd/system/commesh-clock-save.service'),
      copy('/etc/systemd/system/commesh-clock-save.timer'),
      copy('/usr/libexec/commesh/clock', '0755'),
      { path: FOLDER, kind: 'directory', mode: '0750', owner: '_chrony', group: '_chrony' },
    ],
    units: UNITS,
    ports: [
      {
        protocol: 'udp',
        port: 123,
        scope: 'kit',
        purpose: 'time (NTP)',
        listening: true,
        process: 'chronyd',
      },
    ],
    backup: { none: 'the time of last week is of no use' },
    memory: { idleMiB: 4, perPersonKiB: 0 },
    checks: [{ kind: 'ntp', title: 'the kit tells the time', options: {} }],
  }),
});
