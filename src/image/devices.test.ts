import { describe, expect, it } from 'vitest';
import { describeDevice, parseDevices, refusal, removableDevices, sameDevice, sizeText } from './devices.js';

const GB = 1_000_000_000;

function raw(path: string, more: object = {}): object {
  return {
    path,
    kname: path.slice(5),
    type: 'disk',
    size: 32 * GB,
    'maj:min': '8:16',
    vendor: 'Generic ',
    model: 'MassStorageClass',
    serial: '0001',
    tran: 'usb',
    rm: true,
    hotplug: true,
    ro: false,
    'log-sec': 512,
    fstype: null,
    label: null,
    mountpoints: [null],
    ...more,
  };
}
function parse(...devices: object[]): ReturnType<typeof parseDevices> {
  return parseDevices(JSON.stringify({ blockdevices: devices }));
}
function reasonFor(device: object, bytes = GB): string | undefined {
  return refusal(parse(device)[0]!, bytes)?.reason;
}
const part = (path: string, more: object): object =>
  raw(path, { type: 'part', model: null, vendor: null, ...more });

describe('refusing devices', () => {
  it('takes a card in a USB reader, an SD slot, and a stick with old partitions', () => {
    expect(reasonFor(raw('/dev/sdb'))).toBeUndefined();
    expect(reasonFor(raw('/dev/mmcblk0', { tran: null, rm: false, hotplug: false }))).toBeUndefined();
    expect(reasonFor(raw('/dev/sdb', { children: [part('/dev/sdb1', { fstype: 'vfat' })] }))).toBeUndefined();
    // Booleans of older versions of lsblk.
    expect(reasonFor(raw('/dev/sdb', { rm: '1', hotplug: '1', ro: '0' }))).toBeUndefined();
  });

  it.each<[string, object, RegExp]>([
    ['a partition', part('/dev/sdb1', {}), /is a partition, not a whole device/],
    [
      'the system disk',
      raw('/dev/sda', { children: [part('/dev/sda2', { mountpoints: ['/'] })] }),
      /runs from \/dev\/sda \(it holds \/\)/,
    ],
    [
      'a system on one stick',
      raw('/dev/sdb', { children: [part('/dev/sdb1', { mountpoints: ['/boot/efi'] })] }),
      /runs from/,
    ],
    [
      'swap',
      raw('/dev/sdb', { children: [part('/dev/sdb3', { mountpoints: ['[SWAP]'] })] }),
      /runs from .*swap space/,
    ],
    ['a snap', raw('/dev/sdb', { mountpoints: ['/snap/core/1'] }), /runs from/],
    [
      'a mounted card',
      raw('/dev/sdb', { children: [part('/dev/sdb1', { mountpoints: [null, '/media/ana/MY CARD'] })] }),
      /in use: mounted at \/media\/ana\/MY CARD/,
    ],
    ['a device mounted whole', raw('/dev/sdb', { mountpoints: ['/mnt'] }), /mounted at \/mnt/],
    [
      'an encrypted system',
      raw('/dev/sda', {
        children: [
          part('/dev/sda2', {
            children: [raw('/dev/mapper/root', { type: 'crypt', mountpoints: ['/home'] })],
          }),
        ],
      }),
      /runs from \/dev\/sda/,
    ],
    [
      'a holder that is not mounted',
      raw('/dev/sdb', {
        children: [part('/dev/sdb1', { children: [raw('/dev/mapper/vg-x', { type: 'lvm' })] })],
      }),
      /\/dev\/mapper\/vg-x \(lvm\) is built on it/,
    ],
    [
      'a sleeping LVM',
      raw('/dev/sdb', { children: [part('/dev/sdb1', { fstype: 'LVM2_member' })] }),
      /belongs to LVM/,
    ],
    ['a RAID member', raw('/dev/sdb', { fstype: 'linux_raid_member' }), /belongs to a RAID/],
    ['a built-in disk', raw('/dev/nvme0n1', { tran: 'nvme', rm: false, hotplug: false }), /can be unplugged/],
    ['a boot area', raw('/dev/mmcblk0boot0', { tran: 'mmc' }), /can be unplugged/],
    ['a DVD', raw('/dev/sr0', { type: 'rom' }), /can be unplugged/],
    ['a loop device', raw('/dev/loop3', { type: 'loop' }), /can be unplugged/],
    ['an empty reader', raw('/dev/sdb', { size: 0 }), /there is no card/],
    ['a locked card', raw('/dev/sdb', { ro: true }), /read-only/],
    ['large sectors', raw('/dev/sdb', { 'log-sec': 4096 }), /sectors of 4096/],
    [
      'a small card',
      raw('/dev/sdb', { size: 512_000_000 }),
      /too small: it has 512\.0 MB, the image needs 1\.0 GB/,
    ],
  ])('refuses %s', (_what, device, reason) => {
    expect(reasonFor(device)).toMatch(reason);
  });

  it('says which command unmounts', () => {
    const device = raw('/dev/sdb', {
      children: [
        part('/dev/sdb1', { mountpoints: ['/media/a'] }),
        part('/dev/sdb2', { mountpoints: ['/media/b'] }),
      ],
    });
    expect(refusal(parse(device)[0]!, 0)?.hint).toContain('sudo umount /dev/sdb1 /dev/sdb2');
    const inner = parse(raw('/dev/sdb', { children: [part('/dev/sdb1', {})] }))[0]!.children[0]!;
    expect(refusal(inner, 0)?.hint).toContain('/dev/sdb');
  });
});

it('lists what can be taken away, loop devices only for tests', () => {
  const devices = parse(
    raw('/dev/sda', { tran: 'sata', rm: false, hotplug: false }),
    raw('/dev/sdb'),
    raw('/dev/sdc', { size: 0 }),
    raw('/dev/loop0', { type: 'loop', tran: null }),
  );
  expect(removableDevices(devices).map((device) => device.name)).toEqual(['sdb']);
  expect(removableDevices(devices, true).map((device) => device.name)).toEqual(['sdb', 'loop0']);
});

it('shows nothing that could fool the eye', () => {
  const [device] = parse(
    raw('/dev/sdb', {
      model: 'Ultra\u202e\u001b[2J',
      children: [part('/dev/sdb1', { label: 'a\u2066b\nc' })],
    }),
  );
  expect(describeDevice(device!)).toBe('Generic Ultra[2J, 32.0 GB, usb, serial 0001, holds "abc"');
});

it('knows a device again, and another card in the same reader', () => {
  const one = parse(raw('/dev/sdb'))[0]!;
  expect(sameDevice(one, parse(raw('/dev/sdb', { label: 'new' }))[0]!)).toBe(true);
  expect(sameDevice(one, parse(raw('/dev/sdb', { size: 31 * GB }))[0]!)).toBe(false);
  expect(sameDevice(one, parse(raw('/dev/sdb', { serial: '0002' }))[0]!)).toBe(false);
});

it('writes sizes as cards do', () => {
  expect([31_914_983_424, 999, 5_000_000].map(sizeText)).toEqual(['31.9 GB', '999 bytes', '5.0 MB']);
});
