import { DATA_ROOT } from '../../services/contract.js';
import type { Check, CheckContext, Finding } from '../check.js';
import { fail, pass, warn } from '../check.js';
import { lines, quote } from '../facts.js';

const MOUNTS = ['/', DATA_ROOT, '/boot/firmware'] as const;
const NAMES: Readonly<Record<string, string>> = {
  '/': 'the system partition',
  [DATA_ROOT]: 'the data partition',
  '/boot/firmware': 'the boot partition',
};
const MIB = 2 ** 20;

export interface Space {
  readonly bytes: number;
  readonly freeBytes: number;
  readonly inodes: number;
  readonly freeInodes: number;
}

/** Reads `stat -f --printf='%n|%S|%b|%a|%c|%d\n'`. */
export function parseSpace(text: string): ReadonlyMap<string, Space> {
  return new Map(
    lines(text).map((line) => {
      const [path = '', block, blocks, free, inodes, freeInodes] = line.split('|');
      return [
        path,
        {
          bytes: Number(block) * Number(blocks),
          freeBytes: Number(block) * Number(free),
          inodes: Number(inodes),
          freeInodes: Number(freeInodes),
        },
      ];
    }),
  );
}

export interface Mount {
  readonly device: string;
  readonly type: string;
  readonly options: readonly string[];
}

/** Reads /proc/self/mounts (proc_pid_mounts(5)); the last mount at a place is the one seen. */
export function parseMounts(text: string): ReadonlyMap<string, Mount> {
  return new Map(
    lines(text).map((line) => {
      const [device = '', path = '', type = '', options = ''] = line.split(' ');
      return [path, { device, type, options: options.split(',') }];
    }),
  );
}

/** A partition and its disk, bytes. */
export interface Partition {
  readonly start: number;
  readonly size: number;
  readonly disk: number;
}

/** Reads lines `device start size disk-size` in sectors of 512 bytes, as sysfs gives them. */
export function parsePartitions(text: string): ReadonlyMap<string, Partition> {
  return new Map(
    lines(text).map((line) => {
      const [device = '', start, size, disk] = line.split(' ');
      return [device, { start: Number(start) * 512, size: Number(size) * 512, disk: Number(disk) * 512 }];
    }),
  );
}

/** A size as people say it: powers of ten, as on the package of a card. */
export function size(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return `${Math.round(bytes / 1e6)} MB`;
}

export const check: Check = {
  kind: 'disks',
  vantage: 'inside',
  always: true,
  title: 'disks have room and are mounted as planned',
  probe: () => `
part space; stat -f --printf='%n|%S|%b|%a|%c|%d\\n' -- ${MOUNTS.map(quote).join(' ')}
part mounts; cat /proc/self/mounts
part partitions
for p in /sys/class/block/*; do
  [ -e "$p/partition" ] || continue
  read -r start <"$p/start"; read -r size <"$p/size"
  read -r disk <"$p/../size" || disk=$(cat "$(readlink -f "$p")/../size")
  echo "/dev/\${p##*/} $start $size $disk"
done
part write
for d in ${quote(DATA_ROOT)} /tmp; do t=$(mktemp "$d/.verify-XXXXXX") && echo x >"$t" && echo "$d"; [ -n "$t" ] && rm -f "$t"; done`,
  async run(context) {
    const facts = await context.facts();
    const spaces = parseSpace(facts.of('disks', 'space'));
    const mounts = parseMounts(facts.of('disks', 'mounts'));
    const written = lines(facts.of('disks', 'write'));
    const findings = MOUNTS.flatMap((path) =>
      faultsOf(this.title, path, mounts.get(path), spaces.get(path), written.includes(path)),
    );
    const data = mounts.get(DATA_ROOT);
    const space = spaces.get(DATA_ROOT);
    const partition = parsePartitions(facts.of('disks', 'partitions')).get(data?.device ?? '');
    if (data && space && partition) findings.push(...grown(this.title, partition, space, context));
    if (findings.length > 0) return findings;
    return [
      pass(
        '',
        this.title,
        `${size(space?.freeBytes ?? 0)} of ${size(space?.bytes ?? 0)} free for messages, files and backups`,
      ),
    ];
  },
};

function faultsOf(
  title: string,
  path: string,
  mount: Mount | undefined,
  space: Space | undefined,
  writable: boolean,
): Finding[] {
  const name = NAMES[path] ?? path;
  const what = path === '/' ? 'root' : path === DATA_ROOT ? 'data' : 'boot';
  if (!mount || !space)
    return [
      fail(what, title, `${name} is not mounted at ${path}`, {
        hint: 'the card may be damaged or only half written; flash it again',
      }),
    ];
  const found: Finding[] = [];
  if (what === 'data' && mount.options.includes('ro'))
    found.push(
      fail(what, title, `${name} can only be read: the kit found a fault on it`, {
        hint: 'the card is probably worn out; restore the last backup onto a new one',
      }),
    );
  if (what === 'boot') return found;
  const share = space.bytes > 0 ? space.freeBytes / space.bytes : 0;
  const hint =
    what === 'data'
      ? 'shared files make room when they expire; lower "retention" or the file quota in the profile, or use a larger card'
      : 'somebody stored something there; build and flash the card again';
  // The system partition is made to fit, so only its last megabytes count.
  const least = what === 'data' ? Math.min(256 * MIB, space.bytes * 0.02) : 8 * MIB;
  if (space.freeBytes < least)
    found.push(
      fail(`${what}-space`, title, `${name} is full: ${size(space.freeBytes)} of ${size(space.bytes)} free`, {
        hint,
      }),
    );
  else if (what === 'data' && share < 0.1)
    found.push(
      warn(
        `${what}-space`,
        title,
        `${name} is nearly full: ${size(space.freeBytes)} of ${size(space.bytes)} free`,
        {
          hint,
        },
      ),
    );
  else if (what === 'data' && !writable && !mount.options.includes('ro'))
    found.push(
      fail(`${what}-write`, title, `nothing can be written to ${name}`, {
        hint: 'the card is probably worn out; restore the last backup onto a new one',
      }),
    );
  if (space.inodes > 0 && space.freeInodes / space.inodes < 0.05)
    found.push(fail(`${what}-inodes`, title, `${name} cannot take more files, though it has room`, { hint }));
  return found;
}

// Room behind the partition that is worth telling; tables and alignment take a little.
const SPARE = 64 * MIB;

function grown(title: string, partition: Partition, space: Space, context: CheckContext): Finding[] {
  const behind = partition.disk - partition.start - partition.size;
  const hint = 'switch the kit off and on; if this stays, flash the card again';
  if (behind > SPARE)
    return [
      warn(
        'data-grown',
        title,
        `${size(behind)} of the card are unused: the data partition did not grow to its size`,
        {
          hint,
        },
      ),
    ];
  // ext4 keeps tables and a journal for itself.
  if (space.bytes < partition.size * 0.85)
    return [
      warn(
        'data-grown',
        title,
        `the file system fills only ${size(space.bytes)} of its ${size(partition.size)}`,
        { hint },
      ),
    ];
  const planned = context.plan.disk.plannedMB * 1e6;
  return space.bytes < planned
    ? [
        warn(
          'data-size',
          title,
          `the card gives ${size(space.bytes)} for data, the plan needs ${size(planned)}`,
          {
            hint: 'use a larger card, or lower the number of people, the file quota or the retention in the profile',
          },
        ),
      ]
    : [];
}
