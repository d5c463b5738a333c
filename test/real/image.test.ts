import {
  chmod,
  copyFile,
  mkdir,
  open,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hashFile } from '../../src/host/files.js';
import { createHost } from '../../src/host/host.js';
import type { NamespaceTools } from '../../src/host/namespace.js';
import { assembleImage } from '../../src/image/assemble.js';
import { checkBmap, parseBmap } from '../../src/image/bmap.js';
import { inspector, readPartitions } from '../../src/image/inspect.js';
import type { BuiltImage, ImageSpec, TarPart } from '../../src/image/types.js';
import { indexTar } from '../../src/stages/tar-index.js';
import { testBase } from '../helpers/base-tree.js';
import { tarPart } from '../helpers/tar-part.js';

const host = createHost();
let folder: string;
let tools: NamespaceTools;
let spec: Omit<ImageSpec, 'output' | 'board'>;
let pc: BuiltImage;
let pi: BuiltImage;

const SECRET = 'the-only-copy-of-this-secret-7d1c';
const bytes = (text: string, times = 1): Buffer => Buffer.from(text.repeat(times));

beforeAll(async () => {
  const made = await testBase(host);
  tools = made.tools;
  folder = await host.temporary('image-test');
  const base = await tarPart(join(folder, 'base.tar'), [
    { path: './', type: 'directory' },
    { path: './etc/', type: 'directory' },
    { path: './etc/hostname', type: 'file', content: bytes('from-the-packages\n', 3000) },
    { path: './etc/localtime', type: 'symlink', target: '/usr/share/zoneinfo/Etc/UTC' },
    { path: './etc/ssl/', type: 'directory' },
    { path: './usr/', type: 'directory' },
    { path: './usr/bin/', type: 'directory' },
    { path: './usr/bin/program', type: 'file', mode: 0o4755, content: bytes('x', 5_000_000) },
    { path: './var/', type: 'directory' },
    { path: './var/mail/', type: 'directory', mode: 0o2775, gid: 8 },
  ]);
  const names = await paxPart(join(folder, 'names'), ['usr/bin/ünicode', `usr/${'long-'.repeat(40)}name`]);
  const site = await tarPart(join(folder, 'site.tar'), [
    { path: 'etc/', type: 'directory' },
    { path: 'etc/hostname', type: 'file', content: bytes('clinic\n') },
    { path: 'etc/localtime', type: 'symlink', target: '/usr/share/zoneinfo/Africa/Nairobi' },
    { path: 'etc/ssl/', type: 'directory', mode: 0o750, gid: 110 },
    { path: 'etc/ssl/key', type: 'file', mode: 0o640, gid: 110, content: bytes(SECRET) },
  ]);
  const data = await tarPart(join(folder, 'data.tar'), [
    { path: './', type: 'directory' },
    { path: 'prosody/', type: 'directory', mode: 0o750, uid: 105, gid: 111 },
  ]);
  const boot = join(folder, 'boot');
  for (const name of ['dtbs', 'firmware']) await mkdir(join(boot, name), { recursive: true });
  for (const [name, size] of Object.entries({
    vmlinuz: 3_000_000,
    'initrd.img': 2_000_000,
    'shimx64.efi.signed': 900_000,
    'grubx64.efi.signed': 2_000_000,
    'dtbs/bcm2711-rpi-4-b.dtb': 40_000,
    'firmware/bootcode.bin': 50_000,
    'firmware/start.elf': 500_000,
    'firmware/fixup.dat': 7000,
    'firmware/start4.elf': 500_000,
    'firmware/fixup4.dat': 5000,
  })) {
    await writeFile(
      join(boot, name),
      bytes(`${name}\n`, Math.ceil(size / (name.length + 1))).subarray(0, size),
    );
  }
  await host.exec(['cp', '-r', join(made.boot, 'grub-i386-pc'), join(boot, 'grub-i386-pc')]);
  spec = {
    id: 'ab'.repeat(32),
    epoch: 1_760_000_000,
    base: 'debian',
    boot,
    root: [base, names, site],
    data: [data],
    compress: 'none',
  };
  pc = await assembleImage(host, tools, { ...spec, board: 'pc', output: join(folder, 'one/pc.img') });
  pi = await assembleImage(host, tools, { ...spec, board: 'pi4', output: join(folder, 'one/pi.img') });
});
afterAll(() => host.close());

const partition = (image: BuiltImage, number: 1 | 2 | 3): BuiltImage['partitions'][number] => {
  const found = image.partitions[number - 1];
  if (found === undefined) throw new Error('no such partition');
  return found;
};

describe('an image', () => {
  it('is the same, byte for byte, in another folder, at another time and with other files around', async () => {
    const elsewhere = join(folder, 'a second/place');
    const boot = join(elsewhere, 'boot');
    await mkdir(elsewhere, { recursive: true });
    // The other way round, so that the folder lists its files in another order.
    const names = (await readdir(spec.boot, { recursive: true, withFileTypes: true })).filter((one) =>
      one.isFile(),
    );
    for (const one of names.reverse()) {
      const from = join(one.parentPath, one.name);
      const to = from.replace(spec.boot, boot);
      await mkdir(dirname(to), { recursive: true });
      await copyFile(from, to);
    }
    const again = await assembleImage(host, tools, {
      ...spec,
      boot,
      board: 'pc',
      output: join(elsewhere, 'pc.img'),
    });
    expect(again.sha256).toBe(pc.sha256);
    expect(await hashFile(again.path)).toEqual({ sha256: pc.sha256, size: pc.size });
    expect(await readFile(again.bmapPath, 'utf8')).toBe(await readFile(pc.bmapPath, 'utf8'));
  });

  it('differs when its id differs', async () => {
    const other = await assembleImage(host, tools, {
      ...spec,
      id: 'cd'.repeat(32),
      board: 'pc',
      output: join(folder, 'other.img'),
    });
    expect(other.sha256).not.toBe(pc.sha256);
    expect(other.diskId).not.toBe(pc.diskId);
    await rm(other.path);
  });

  it('has checksum and block map beside it, and is readable by its owner only', async () => {
    expect(await readFile(pc.sha256Path, 'utf8')).toBe(`${pc.sha256}  pc.img\n`);
    await host.exec(['sha256sum', '-c', 'pc.img.sha256'], { cwd: dirname(pc.path) });
    const map = parseBmap(await readFile(pc.bmapPath, 'utf8'), 'pc.img.bmap');
    expect(await checkBmap(host, pc.path, map)).toEqual([]);
    const { mode, blocks } = await stat(pc.path);
    expect(mode & 0o777).toBe(0o600);
    expect(blocks * 512).toBeLessThan(pc.size / 4);
  });

  it('has the partition table sfdisk would have written', async () => {
    for (const image of [pc, pi]) {
      const script = [
        'label: dos',
        `label-id: 0x${image.diskId}`,
        ...image.partitions.map(
          ({ start, size, type, number }) =>
            `start=${start / 512}, size=${size / 512}, type=${type.toString(16)}${image === pc && number === 1 ? ', bootable' : ''}`,
        ),
      ];
      const blank = join(folder, 'blank');
      await writeFile(blank, '');
      await truncate(blank, image.size);
      await tools.run(['sfdisk', '-q', '/mnt/work/blank'], {
        input: `${script.join('\n')}\n`,
        binds: [{ from: folder, to: '/mnt/work' }],
      });
      const [ours, theirs] = await Promise.all([image.path, blank].map((path) => head(path, 512)));
      expect(ours?.subarray(440).toString('hex')).toBe(theirs?.subarray(440).toString('hex'));
      const { stdout } = await tools.run(
        ['sfdisk', '--verify', `/mnt/work/one/${image === pc ? 'pc' : 'pi'}.img`],
        {
          binds: [{ from: folder, to: '/mnt/work', readOnly: true }],
        },
      );
      expect(stdout).toContain('No errors detected');
    }
  });

  it('has clean file systems', async () => {
    const { start, size } = partition(pc, 1);
    const binds = [{ from: folder, to: '/mnt/work' }];
    for (const number of [2, 3] as const) {
      await tools.run(['e2fsck', '-fn', `/mnt/work/one/pc.img?offset=${partition(pc, number).start}`], {
        binds,
      });
    }
    await host.exec([
      ...['dd', `if=${pc.path}`, `of=${join(folder, 'fat')}`, 'bs=1M', 'iflag=skip_bytes,count_bytes'],
      ...[`skip=${start}`, `count=${size}`, 'status=none', 'conv=sparse'],
    ]);
    await tools.run(['fsck.vfat', '-n', '/mnt/work/fat'], { binds });
  });

  it('holds the packages with the site laid over them', async () => {
    const look = inspector(host, tools, pc.path);
    const { start } = partition(pc, 2);
    const files = (await look.list(start)).filter((file) => file.path !== '/lost+found');
    expect(
      files.map((file) => [file.path, file.type, file.mode.toString(8), file.uid, file.gid, file.size]),
    ).toEqual([
      ['/', 'directory', '755', 0, 0, 0],
      ['/etc', 'directory', '755', 0, 0, 0],
      ['/etc/hostname', 'file', '644', 0, 0, 7],
      ['/etc/localtime', 'symlink', '777', 0, 0, 34],
      ['/etc/ssl', 'directory', '750', 0, 110, 0],
      ['/etc/ssl/key', 'file', '640', 0, 110, SECRET.length],
      ['/usr', 'directory', '755', 0, 0, 0],
      ['/usr/bin', 'directory', '755', 0, 0, 0],
      ['/usr/bin/program', 'file', '4755', 0, 0, 5_000_000],
      ['/usr/bin/ünicode', 'file', '644', 0, 0, 1],
      [`/usr/${'long-'.repeat(40)}name`, 'file', '644', 0, 0, 1],
      ['/var', 'directory', '755', 0, 0, 0],
      ['/var/mail', 'directory', '2775', 0, 8, 0],
    ]);
    const contents = await look.read(start, ['/etc/hostname', '/usr/bin/ünicode']);
    expect([...contents.values()].map(String)).toEqual(['clinic\n', 'u']);
    expect([...(await look.links(start, ['/etc/localtime'])).values()]).toEqual([
      '/usr/share/zoneinfo/Africa/Nairobi',
    ]);
    await expect(look.read(start, ['/etc/nothing'])).rejects.toThrow('/etc/nothing is not in the image');

    const data = await look.list(partition(pc, 3).start);
    expect(data.find((file) => file.path === '/prosody')).toMatchObject({ mode: 0o750, uid: 105, gid: 111 });
  });

  it('holds a secret once, and not on the boot partition', async () => {
    const image = await readFile(pc.path);
    const at = image.indexOf(SECRET);
    expect(at).toBeGreaterThan(partition(pc, 2).start);
    expect(image.indexOf(SECRET, at + 1)).toBe(-1);
  });

  it('can grow its data partition to 2 TiB while it is mounted', async () => {
    const { stdout } = await tools.run(
      ['debugfs', '-R', 'stats -h', `/mnt/work/one/pi.img?offset=${partition(pi, 3).start}`],
      {
        binds: [{ from: folder, to: '/mnt/work', readOnly: true }],
      },
    );
    const value = (name: string): number => Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(stdout)?.[1]);
    const groups = ((1 + value('Reserved GDT blocks')) * 4096) / value('Group descriptor size');
    expect(groups * value('Blocks per group') * 4096).toBeGreaterThanOrEqual(2 ** 41);
    expect(stdout).toMatch(/^Filesystem features:.* resize_inode /m);
  });

  it('boots a PC by UEFI and by BIOS', async () => {
    const { partitions } = await readPartitions(pc.path);
    expect(partitions.map((one) => [one.number, one.bootable, one.type])).toEqual([
      [1, true, 0xef],
      [2, false, 0x83],
      [3, false, 0x83],
    ]);
    const fat = await inspector(host, tools, pc.path).fat(partition(pc, 1).start);
    expect([...fat.keys()]).toEqual([
      '/EFI/BOOT/BOOTX64.EFI',
      '/EFI/BOOT/grubx64.efi',
      '/EFI/debian/grub.cfg',
      '/initrd.img',
      '/vmlinuz',
    ]);
    expect(fat.get('/EFI/BOOT/BOOTX64.EFI')).toEqual(await readFile(join(spec.boot, 'shimx64.efi.signed')));
    const gap = await head(pc.path, 1 << 20);
    const code = await readFile(join(spec.boot, 'grub-i386-pc/boot.img'));
    expect(gap.subarray(0, 0x66)).toEqual(code.subarray(0, 0x66));
    const first = await readFile(join(spec.boot, 'grub-i386-pc/diskboot.img'));
    expect(gap.subarray(512, 512 + 0x1f0)).toEqual(first.subarray(0, 0x1f0));
  });

  it('boots a Raspberry Pi', async () => {
    const { partitions } = await readPartitions(pi.path);
    expect(partitions.map((one) => [one.bootable, one.type, one.start % (8 << 20)])).toEqual([
      [false, 0x0c, 0],
      [false, 0x83, 0],
      [false, 0x83, 0],
    ]);
    const fat = await inspector(host, tools, pi.path).fat(partition(pi, 1).start);
    expect([...fat.keys()]).toEqual([
      '/bcm2711-rpi-4-b.dtb',
      '/bootcode.bin',
      '/cmdline.txt',
      '/config.txt',
      '/fixup.dat',
      '/fixup4.dat',
      '/initrd.img',
      '/start.elf',
      '/start4.elf',
      '/vmlinuz',
    ]);
    expect(String(fat.get('/cmdline.txt'))).toContain('root=LABEL=commesh-root');
    expect((await head(pi.path, 440)).every((byte) => byte === 0)).toBe(true);
  });

  it.each([
    ['zst', ['zstd', '-dc']],
    ['xz', ['xz', '-dc']],
  ] as const)('is the same when unpacked from .%s', async (compress, unpack) => {
    const made = [];
    for (const name of ['first', 'second']) {
      const output = join(folder, name, `${compress}.img`);
      made.push(await assembleImage(host, tools, { ...spec, board: 'pi4', compress, output }));
    }
    const [first, second] = made.map((one) => one.compressed);
    expect(first?.path).toMatch(new RegExp(`/${compress}\\.img\\.${compress}$`));
    expect(first?.sha256).toBe(second?.sha256);
    expect(first?.size).toBeLessThan(5_000_000);
    const { stdout } = await host.exec(['sh', '-c', '"$@" | sha256sum', 'sh', ...unpack, first?.path ?? '']);
    expect(stdout.split(' ')[0]).toBe(pi.sha256);
  });
});

describe('when it goes wrong', () => {
  const broken = async (change: Partial<ImageSpec>, message: string | RegExp): Promise<void> => {
    const output = join(folder, 'broken/kit.img');
    await mkdir(dirname(output), { recursive: true });
    await writeFile(output, 'the old one');
    await expect(assembleImage(host, tools, { ...spec, board: 'pc', ...change, output })).rejects.toThrow(
      message,
    );
    expect(await readdir(dirname(output))).toEqual(['kit.img']);
    expect(await readFile(output, 'utf8')).toBe('the old one');
  };
  it('leaves the old image and nothing half-built: a tar that is not there', async () => {
    await broken(
      { data: [{ tar: join(folder, 'nowhere.tar'), members: [] }] },
      /file system commesh-data failed/,
    );
  });
  it('the same: a tar that cannot be read to its end', async () => {
    const cut = join(folder, 'cut.tar');
    await copyFile(spec.root[0]?.tar ?? '', cut);
    await truncate(cut, 3_000_000);
    await broken(
      { root: [{ tar: cut, members: spec.root[0]?.members ?? [] }] },
      /file system commesh-root failed/,
    );
  });
  it('the same: more than fits', async () => {
    const big = join(folder, 'big.tar');
    await tarPart(big, [{ path: 'big', type: 'file', content: Buffer.alloc(200 << 20, 1) }]);
    await broken({ data: [{ tar: big, members: [] }] }, /file system commesh-data failed/);
    await rm(big);
  });
  it('the same: a boot folder without its kernel', async () => {
    const boot = join(folder, 'no-kernel');
    await mkdir(boot);
    await broken({ boot }, 'the base layer has no');
  });
  it('the same: a site that puts a file where the packages have a folder', async () => {
    const bad = await tarPart(join(folder, 'bad.tar'), [{ path: 'usr/bin', type: 'file' }]);
    await broken({ root: [...spec.root, bad] }, '/usr/bin is a file of the site');
  });
  it('says when the folder of the image cannot be written', async () => {
    if (host.uid === 0) return;
    const closed = join(folder, 'closed');
    await mkdir(closed);
    await chmod(closed, 0o500);
    await expect(
      assembleImage(host, tools, { ...spec, board: 'pc', output: join(closed, 'kit.img') }),
    ).rejects.toThrow();
  });
});

/** A tar of GNU tar's in pax form, for names a plain header cannot hold, as base layers have them. */
async function paxPart(path: string, files: readonly string[]): Promise<TarPart> {
  for (const file of files) {
    await mkdir(dirname(join(path, file)), { recursive: true });
    await writeFile(join(path, file), 'u', { mode: 0o644 });
  }
  const tar = `${path}.tar`;
  await host.exec([
    ...[
      'tar',
      '--format=pax',
      '--sort=name',
      '--owner=0',
      '--group=0',
      '--mtime=@1700000000',
      '-C',
      path,
      '-cf',
      tar,
    ],
    ...files,
  ]);
  const { entries, end } = await indexTar(tar);
  await truncate(tar, end);
  return { tar, members: entries };
}

async function head(path: string, length: number): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const buffer = Buffer.alloc(length);
    await file.read(buffer, 0, length, 0);
    return buffer;
  } finally {
    await file.close();
  }
}
