import { realpath, stat } from 'node:fs/promises';
import { UsageError, WorkError } from '../diagnostics/errors.js';
import type { Host } from '../host/host.js';

/** A block device as lsblk(8) sees it, with all that lies on it. */
export interface BlockDevice {
  /** `/dev/sdb` */
  readonly path: string;
  /** `sdb` */
  readonly name: string;
  /** disk, part, loop, rom, lvm, crypt, raid1 … */
  readonly type: string;
  /** Bytes. */
  readonly size: number;
  /** Major and minor number, `8:16`. */
  readonly number: string;
  /** Vendor and model, '' when the device does not say. */
  readonly model: string;
  readonly serial: string;
  /** usb, mmc, sata, nvme, …; '' when unknown. */
  readonly transport: string;
  /** The kernel calls it removable, or it can be unplugged. */
  readonly removable: boolean;
  readonly readOnly: boolean;
  /** Bytes of a logical sector. */
  readonly sectorSize: number;
  readonly filesystem: string;
  readonly label: string;
  /** Where this device itself is mounted; `[SWAP]` for swap. */
  readonly mounts: readonly string[];
  /** Partitions, and what was built on top of them (LVM, RAID, encryption). */
  readonly children: readonly BlockDevice[];
  /** Path of the device this one is a part of. */
  readonly parent: string | null;
}

/** Why a device is not written to, and what helps. */
export interface Refusal {
  readonly reason: string;
  readonly hint: string;
}

const COLUMNS =
  'PATH,KNAME,TYPE,SIZE,MAJ:MIN,VENDOR,MODEL,SERIAL,TRAN,RM,HOTPLUG,RO,LOG-SEC,FSTYPE,LABEL,MOUNTPOINTS';

/** Places a computer lives from. */
const SYSTEM = /^(\[SWAP\]|\/|\/(boot|usr|var|home|etc|opt|srv|root|nix|snap)(\/.*)?)$/;
/** File systems that are members of something larger. */
const MEMBERS: Readonly<Record<string, string>> = {
  LVM2_member: 'LVM',
  linux_raid_member: 'a RAID',
  zfs_member: 'a ZFS pool',
  bcache: 'a bcache',
  ddf_raid_member: 'a RAID',
  isw_raid_member: 'a RAID',
};

/** All block devices of this computer that are not part of another one. */
export async function listDevices(host: Host): Promise<readonly BlockDevice[]> {
  const { stdout } = await host.exec(['lsblk', '--json', '--bytes', '--tree', '--output', COLUMNS], {
    title: 'listing the disks of this computer',
  });
  return parseDevices(stdout);
}

/** Reads `lsblk --json --bytes --tree` (util-linux 2.37 or newer). */
export function parseDevices(json: string): readonly BlockDevice[] {
  const { blockdevices } = JSON.parse(json) as { blockdevices: Raw[] };
  return blockdevices.map((raw) => fromRaw(raw, null));
}

type Raw = { readonly [key: string]: unknown } & { readonly children?: readonly Raw[] };

function fromRaw(raw: Raw, parent: string | null): BlockDevice {
  // Cards name themselves: no control characters and nothing that turns the writing direction reaches the screen.
  const text = (key: string): string =>
    typeof raw[key] === 'string'
      ? raw[key]
          .replace(/[\p{Cc}\p{Cf}]/gu, '')
          .replace(/\s+/g, ' ')
          .trim()
      : '';
  const flag = (key: string): boolean => raw[key] === true || raw[key] === '1' || raw[key] === 1;
  const path = String(raw['path']);
  const name = path.replace(/^\/dev\//, '');
  const mounts = Array.isArray(raw['mountpoints']) ? raw['mountpoints'] : [];
  return {
    path,
    name,
    type: text('type'),
    size: Number(raw['size'] ?? 0),
    number: text('maj:min'),
    model: [text('vendor'), text('model')].filter(Boolean).join(' '),
    serial: text('serial'),
    transport: text('tran') || (/^mmcblk\d+$/.test(name) ? 'mmc' : ''),
    removable: flag('rm') || flag('hotplug'),
    readOnly: flag('ro'),
    sectorSize: Number(raw['log-sec'] ?? 512),
    filesystem: text('fstype'),
    label: text('label'),
    mounts: mounts.filter((mount): mount is string => typeof mount === 'string'),
    children: (raw.children ?? []).map((child) => fromRaw(child, path)),
    parent,
  };
}

function family(device: BlockDevice): readonly BlockDevice[] {
  return [device, ...device.children.flatMap(family)];
}

/** Whole cards, sticks and disks that can be taken away from this computer, in use or not. */
export function removableDevices(devices: readonly BlockDevice[], allowLoop = false): readonly BlockDevice[] {
  // A card reader without a card has size 0.
  return devices.filter((device) => device.size > 0 && isRemovable(device, allowLoop));
}

function isRemovable(device: BlockDevice, allowLoop: boolean): boolean {
  if (device.type === 'loop') return allowLoop;
  // eMMC chips have boot areas of their own beside the disk: mmcblk0boot0.
  if (device.type !== 'disk' || /^mmcblk\d+(boot|rpmb|gp)/.test(device.name)) return false;
  return device.removable || device.transport === 'usb' || device.transport === 'mmc';
}

/**
 * Whether a device may be written to.
 * @param bytes what has to fit; 0 when unknown
 * @param allowLoop for tests on a machine without a spare card
 */
export function refusal(device: BlockDevice, bytes: number, allowLoop = false): Refusal | null {
  if (device.type === 'part') {
    return {
      reason: `${device.path} is a partition, not a whole device`,
      hint: `an image holds its own partitions: give the whole device, ${device.parent ?? 'without the number at the end'}`,
    };
  }
  const members = family(device);
  const mounts = members.flatMap((member) => member.mounts);
  const system = mounts.find((mount) => SYSTEM.test(mount));
  if (system !== undefined) {
    return {
      reason: `this computer runs from ${device.path} (${system === '[SWAP]' ? 'it holds its swap space' : `it holds ${system}`})`,
      hint: 'choose the card or stick the kit shall run from',
    };
  }
  if (mounts.length > 0) {
    const parts = members.filter((member) => member.mounts.length > 0).map((member) => member.path);
    return {
      reason: `${device.path} is in use: mounted at ${mounts.join(', ')}`,
      hint: `eject it in the file manager (leave it plugged in), or: sudo umount ${parts.join(' ')}`,
    };
  }
  const holder = members.find((member) => member !== device && member.type !== 'part');
  if (holder) {
    return {
      reason: `${device.path} is in use: ${holder.path} (${holder.type}) is built on it`,
      hint: 'close what uses it first, or choose another device',
    };
  }
  const part = members.find((member) => member.filesystem in MEMBERS);
  if (part) {
    return {
      reason: `${part.path} belongs to ${MEMBERS[part.filesystem] ?? 'something larger'}, perhaps of another disk`,
      hint: `if it is really not needed any more, wipe it first: sudo wipefs --all ${part.path}`,
    };
  }
  if (!isRemovable(device, allowLoop)) {
    return {
      reason: `${device.path} is not a card, stick or disk that can be unplugged`,
      hint: 'commeshctl never writes to built-in disks; "commeshctl flash" lists the devices it can write to',
    };
  }
  if (device.size === 0) {
    return { reason: `there is no card in ${device.path}`, hint: 'push the card in until it clicks' };
  }
  if (device.readOnly) {
    return {
      reason: `${device.path} cannot be written to (read-only)`,
      hint: 'look for the little lock switch at the side of the card or adapter',
    };
  }
  if (device.sectorSize !== 512) {
    return {
      reason: `${device.path} has sectors of ${device.sectorSize} bytes; kits are made for 512`,
      hint: 'choose another card or stick',
    };
  }
  if (device.size < bytes) {
    return {
      reason: `${device.path} is too small: it has ${sizeText(device.size)}, the image needs ${sizeText(bytes)}`,
      hint: 'choose a larger card',
    };
  }
  return null;
}

/**
 * The device a person named: `/dev/sdb`, `sdb`, or a link to it such as /dev/disk/by-id/….
 * @throws UsageError when there is none or it is something else
 */
export async function findDevice(host: Host, wanted: string): Promise<BlockDevice> {
  const given = wanted.includes('/') ? wanted : `/dev/${wanted}`;
  const path = await realpath(given).catch(() => null);
  if (path === null) {
    throw new UsageError(`there is no device ${given}`, {
      hint: 'plug it in; "commeshctl flash IMAGE" without a device lists the ones there are',
    });
  }
  if (!(await stat(path)).isBlockDevice()) {
    throw new UsageError(`${given} is not a disk`, {
      hint: 'an image is written to a whole device such as /dev/sdb; a file is copied with cp',
    });
  }
  const found = (await listDevices(host)).flatMap(family).find((device) => device.path === path);
  if (!found) {
    throw new WorkError(`lsblk does not know ${path}`, { hint: 'unplug the device and plug it in again' });
  }
  return found;
}

/** What makes a device the same one as a moment ago. */
export function sameDevice(one: BlockDevice, other: BlockDevice): boolean {
  return (['path', 'number', 'size', 'serial', 'model', 'type'] as const).every(
    (key) => one[key] === other[key],
  );
}

/** Decimal, as printed on cards. */
export function sizeText(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${bytes} bytes`;
}

/** `SanDisk Ultra, 31.9 GB, usb, serial 4C53…, holds "boot", "photos"` */
export function describeDevice(device: BlockDevice): string {
  const labels = family(device)
    .map((member) => member.label || (member.filesystem && member.type === 'part' ? member.filesystem : ''))
    .filter(Boolean);
  return [
    device.model || 'no name',
    sizeText(device.size),
    device.transport,
    device.serial && `serial ${device.serial}`,
    labels.length > 0 ? `holds ${labels.map((label) => `"${label}"`).join(', ')}` : 'nothing known on it',
  ]
    .filter(Boolean)
    .join(', ');
}
