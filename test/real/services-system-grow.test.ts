import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHost, type Host } from '../../src/host/host.js';
import { kitTree, systemPlan, systemSecrets, type KitTree } from '../helpers/kit-tree.js';

// Growing a mounted file system takes CAP_SYS_RESOURCE (bit 24, capabilities(7)), which containers often withhold. The
// booted image shows the whole of it (test/kit).
const capabilities = BigInt(
  `0x${/^CapEff:\s*(\w+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`,
);
const MAY_RESIZE = ((capabilities >> 24n) & 1n) === 1n;

const host: Host = createHost();
let kit: KitTree;
let file: string;
let device: string;

/** A disk as a kit's card: three partitions of which the last can grow. A file behind a loop device of the test's own. */
beforeAll(async () => {
  kit = await kitTree(
    host,
    await systemPlan('site: { name: quickstart, title: Q }\nboard: pc\nnetwork: { mode: lan }\n'),
    await systemSecrets(host),
    ['system'],
  );
  file = `${await host.temporary('card')}/card`;
  await host.exec(['truncate', '-s', '96M', file]);
  await host.exec(['sfdisk', '--quiet', file], {
    input: 'label: dos\nlabel-id: 0x12345678\nstart=2048, size=16384, type=c\nsize=65536\nsize=65536\n',
  });
  const { stdout } = await host.exec(['losetup', '--find', '--show', file]);
  device = stdout.trim();
  host.onClose(async () => {
    await host.exec(['partx', '--delete', device], { allowFailure: true });
    await host.exec(['losetup', '--detach', device], { allowFailure: true });
  });
  const backing = readFileSync(`/sys/block/${device.slice(5)}/loop/backing_file`, 'utf8').trim();
  if (backing !== file) throw new Error(`${device} is not this test's`);
  // Not every kernel looks for partitions by itself.
  await host.exec(['partx', '--add', device]);
});
afterAll(() => host.close());

/** The device and the partitions the kernel shows of it, for the tree's /dev. */
function devices(): readonly string[] {
  const name = device.slice(5);
  return [name, `${name}p1`, `${name}p2`, `${name}p3`].filter((one) => existsSync(`/sys/class/block/${one}`));
}

/** Mounts the card as a kit does: its second partition is /, its third the data. $1: the device. */
const MOUNT = `
mkdir -p /kit
mount "$1p2" /kit
cd /kit
mkdir -p usr etc proc sys dev srv/commesh tmp
for folder in usr etc proc sys dev; do mount --rbind "/$folder" "$folder"; done
[ -e bin ] || ln -s usr/bin usr/sbin usr/lib usr/lib64 .
mount "\${2:-$1p3}" srv/commesh
grow() { chroot /kit /usr/libexec/commesh/grow; }
look() { sfdisk --dump "$1" | sed -n 's/^.*start= *\\([0-9]*\\), size= *\\([0-9]*\\),.*/\\1 \\2/p'; df --output=size --block-size=1M /kit/srv/commesh | tail -n 1; }
`;

describe('growing the data partition', () => {
  const run = async (script: string, args: readonly string[] = []): Promise<string> => {
    const { stdout, stderr } = await kit.sh(`${MOUNT} ${script}`, [device, ...args], {
      devices: devices(),
      allowFailure: true,
    });
    return stdout + stderr;
  };
  it('does nothing where there is no room, and all where there is, with what lies on it', async () => {
    await kit.sh('mkfs.ext4 -q "$1p2"; mkfs.ext4 -q -b 4096 -L commesh-data "$1p3"', [device], {
      devices: devices(),
    });
    const small = await run('echo kept > srv/commesh/file; look $1');
    expect(small).toMatch(/^2048 16384\n18432 65536\n83968 65536\n/);

    // The card of the site is bigger than the image.
    await host.exec(['truncate', '-s', '500M', file]);
    await host.exec(['losetup', '--set-capacity', device]);
    const grown = await run('grow || true; look $1; cat srv/commesh/file; grow || true; sfdisk --disk-id $1');
    expect(grown).toMatch(/growing .*p3 to the end/);
    // Once is enough.
    expect(grown.match(/growing /g)).toHaveLength(1);
    const [, size] = /^83968 (\d+)$/m.exec(grown) ?? [];
    expect((Number(size) + 83968) * 512).toBeGreaterThan(495 * 1024 * 1024);
    // The first two partitions are where they were.
    expect(grown).toMatch(/^2048 16384\n18432 65536\n/m);
    expect(grown).toContain('kept');
    expect(grown).toContain('0x12345678');
    if (MAY_RESIZE) expect(Number(/(\d+) MiB for data/.exec(grown)?.[1])).toBeGreaterThan(400);
    else expect(grown).toContain('Permission denied to resize filesystem');
    await kit.sh('fsck.ext4 -f -n "$1p3"', [device], { devices: devices() });
  });

  it.skipIf(!MAY_RESIZE)(
    'finishes what a pulled plug left half done: the partition grown, the file system not',
    async () => {
      await host.exec(['truncate', '-s', '600M', file]);
      await host.exec(['losetup', '--set-capacity', device]);
      const half = await run(
        "echo ', +' | sfdisk -q --no-reread --no-tell-kernel --force -N 3 $1; partx -u --nr 3 $1; df --output=size --block-size=1M srv/commesh | tail -n 1",
      );
      expect(Number(half.trim().split('\n').at(-1))).toBeLessThan(500);
      const whole = await run('grow; cat srv/commesh/file');
      expect(whole).not.toContain('growing');
      expect(Number(/(\d+) MiB for data/.exec(whole)?.[1])).toBeGreaterThan(500);
      expect(whole).toContain('kept');
    },
  );

  it('leaves a disk alone that is not the one the kit runs from', async () => {
    // The data comes from elsewhere: a plain file system in memory.
    const told = await run('umount srv/commesh; mount -t tmpfs tmpfs srv/commesh; grow');
    expect(told).toContain('nothing has been changed');
  });
});
