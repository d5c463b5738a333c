import {
  chmod,
  copyFile,
  link,
  mkdir,
  open,
  readdir,
  readFile,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hashFile } from '../../src/host/files.js';
import { createHost } from '../../src/host/host.js';
import type { NamespaceTools } from '../../src/host/namespace.js';
import { beginImage, finishImage } from '../../src/image/assemble.js';
import { findBlank, makeBlank, type Blank, type BlankSpec } from '../../src/image/blank.js';
import { checkBmap, parseBmap } from '../../src/image/bmap.js';
import { inspector, readPartitions } from '../../src/image/inspect.js';
import type { BuiltImage, ImageSpec, SiteEntry, TarPart } from '../../src/image/types.js';
import { indexTar } from '../../src/stages/tar-index.js';
import { testBase } from '../helpers/base-tree.js';
import { tarPart } from '../helpers/tar-part.js';

const host = createHost();
let folder: string;
let tools: NamespaceTools;
let blankSpec: Omit<BlankSpec, 'board'>;
let site: ImageSpec;
let pcBlank: Blank;
let piBlank: Blank;
let pc: BuiltImage;
let pi: BuiltImage;

/** The site on a blank disk. */
async function build(blank: Blank, output: string, change: Partial<ImageSpec> = {}): Promise<BuiltImage> {
  return finishImage(host, tools, await beginImage(host, blank, output), { ...site, ...change });
}

/** Entries as a site has them. */
function entries(
  list: readonly (Partial<SiteEntry> & Pick<SiteEntry, 'path' | 'type'>)[],
): readonly SiteEntry[] {
  return list.map((entry) => ({
    mode: { directory: 0o755, file: 0o644, symlink: 0o777 }[entry.type],
    uid: 0,
    gid: 0,
    mtime: EPOCH,
    ...entry,
  }));
}

const EPOCH = 1_760_000_000;
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
  const links = await linkedPart(join(folder, 'links'));
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
  const passwd = join(folder, 'passwd');
  await writeFile(passwd, 'root:x:0:0::/root:/bin/sh\n');
  blankSpec = {
    id: 'ef'.repeat(32),
    epoch: EPOCH,
    base: 'debian',
    boot,
    root: [base, names, links],
    companions: { passwd },
  };
  site = {
    id: 'ab'.repeat(32),
    epoch: EPOCH,
    existing: [base, names, links].flatMap((part) => part.members),
    root: entries([
      { path: 'etc', type: 'directory' },
      { path: 'etc/a "quoted" name with spaces', type: 'directory', mode: 0o1770, uid: 105 },
      { path: 'etc/a "quoted" name with spaces/été', type: 'file', content: Buffer.alloc(10_000, 'é') },
      { path: 'etc/empty', type: 'file', mode: 0o600, mtime: 1_765_000_000 },
      { path: 'etc/hostname', type: 'file', content: bytes('clinic\n') },
      { path: 'etc/localtime', type: 'symlink', target: '/usr/share/zoneinfo/Africa/Nairobi' },
      { path: 'etc/long', type: 'symlink', target: `/${'long/'.repeat(60)}target` },
      { path: 'etc/ssl', type: 'directory', mode: 0o750, gid: 110 },
      { path: 'etc/ssl/key', type: 'file', mode: 0o640, gid: 110, content: bytes(SECRET) },
      { path: 'usr/bin/second', type: 'file', content: bytes('no link any more\n') },
      // More than one block of a folder holds, and zeros in the middle.
      ...Array.from({ length: 400 }, (_none, at) => ({
        path: `usr/${'n'.repeat(60)}-${at}`,
        type: 'file' as const,
        content: Buffer.concat([bytes(`${at}\n`), Buffer.alloc(9000), bytes('end')]),
      })),
    ]),
    data: entries([{ path: 'prosody', type: 'directory', mode: 0o750, uid: 105, gid: 111 }]),
    compress: 'none',
  };
  pcBlank = await makeBlank(host, tools, { ...blankSpec, board: 'pc' }, join(folder, 'blank/pc'));
  piBlank = await makeBlank(host, tools, { ...blankSpec, board: 'pi4' }, join(folder, 'blank/pi'));
  pc = await build(pcBlank, join(folder, 'one/pc.img'));
  pi = await build(piBlank, join(folder, 'one/pi.img'));
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
    const names = (await readdir(blankSpec.boot, { recursive: true, withFileTypes: true })).filter((one) =>
      one.isFile(),
    );
    for (const one of names.reverse()) {
      const from = join(one.parentPath, one.name);
      const to = from.replace(blankSpec.boot, boot);
      await mkdir(dirname(to), { recursive: true });
      await copyFile(from, to);
    }
    const blank = await makeBlank(host, tools, { ...blankSpec, boot, board: 'pc' }, join(elsewhere, 'blank'));
    expect((await hashFile(blank.image)).sha256).toBe((await hashFile(pcBlank.image)).sha256);
    const again = await build(blank, join(elsewhere, 'pc.img'));
    expect(again.sha256).toBe(pc.sha256);
    expect(await hashFile(again.path)).toEqual({ sha256: pc.sha256, size: pc.size });
    expect(await readFile(again.bmapPath, 'utf8')).toBe(await readFile(pc.bmapPath, 'utf8'));
  });

  it('differs when its id differs', async () => {
    const other = await build(pcBlank, join(folder, 'other.img'), { id: 'cd'.repeat(32) });
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
      const blank = join(folder, 'table');
      await writeFile(blank, '');
      await truncate(blank, image.size);
      await tools.run(['sfdisk', '-q', '/mnt/work/table'], {
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
    const files = (await look.list(start)).filter(
      (file) => file.path !== '/lost+found' && !file.path.startsWith(`/usr/${'n'.repeat(60)}`),
    );
    expect(
      files.map((file) => [file.path, file.type, file.mode.toString(8), file.uid, file.gid, file.size]),
    ).toEqual([
      ['/', 'directory', '755', 0, 0, 0],
      ['/etc', 'directory', '755', 0, 0, 0],
      ['/etc/a "quoted" name with spaces', 'directory', '1770', 105, 0, 0],
      ['/etc/a "quoted" name with spaces/été', 'file', '644', 0, 0, 10_000],
      ['/etc/empty', 'file', '600', 0, 0, 0],
      ['/etc/hostname', 'file', '644', 0, 0, 7],
      ['/etc/localtime', 'symlink', '777', 0, 0, 34],
      ['/etc/long', 'symlink', '777', 0, 0, 307],
      ['/etc/ssl', 'directory', '750', 0, 110, 0],
      ['/etc/ssl/key', 'file', '640', 0, 110, SECRET.length],
      ['/usr', 'directory', '755', 0, 0, 0],
      ['/usr/bin', 'directory', '755', 0, 0, 0],
      ['/usr/bin/first', 'file', '644', 0, 0, 6],
      ['/usr/bin/program', 'file', '4755', 0, 0, 5_000_000],
      ['/usr/bin/second', 'file', '644', 0, 0, 17],
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
    expect(fat.get('/EFI/BOOT/BOOTX64.EFI')).toEqual(
      await readFile(join(blankSpec.boot, 'shimx64.efi.signed')),
    );
    const gap = await head(pc.path, 1 << 20);
    const code = await readFile(join(blankSpec.boot, 'grub-i386-pc/boot.img'));
    expect(gap.subarray(0, 0x66)).toEqual(code.subarray(0, 0x66));
    const first = await readFile(join(blankSpec.boot, 'grub-i386-pc/diskboot.img'));
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
      made.push(await build(piBlank, output, { compress }));
    }
    const [first, second] = made.map((one) => one.compressed);
    expect(first?.path).toMatch(new RegExp(`/${compress}\\.img\\.${compress}$`));
    expect(first?.sha256).toBe(second?.sha256);
    expect(first?.size).toBeLessThan(5_000_000);
    const { stdout } = await host.exec(['sh', '-c', '"$@" | sha256sum', 'sh', ...unpack, first?.path ?? '']);
    expect(stdout.split(' ')[0]).toBe(pi.sha256);
  });
});

describe('a site', () => {
  /** What debugfs tells of an inode. */
  const stat = async (image: Pick<BuiltImage, 'path' | 'partitions'>, path: string): Promise<string> => {
    const { stdout } = await tools.run(
      [
        'debugfs',
        '-R',
        `stat "${path}"`,
        `/mnt/image/${basename(image.path)}?offset=${image.partitions[1]?.start ?? 0}`,
      ],
      { binds: [{ from: dirname(image.path), to: '/mnt/image', readOnly: true }], env: { TZ: 'UTC' } },
    );
    return stdout;
  };

  it('leaves every file of the packages as it was, but for those it replaces', async () => {
    const look = inspector(host, tools, pc.path);
    const packages = inspector(host, tools, pcBlank.image);
    const { start } = partition(pc, 2);
    const changed = new Set(site.root.map((entry) => `/${entry.path}`));
    const before = (await packages.list(start)).filter((file) => !changed.has(file.path));
    const after = new Map((await look.list(start)).map((file) => [file.path, file]));
    expect(before.length).toBeGreaterThan(8);
    expect(
      before.filter((file) => !expect.objectContaining({ ...file }).asymmetricMatch(after.get(file.path))),
    ).toEqual([]);
    // The same inode: contents, times, attributes. One of them has lost its second name.
    const names = before.filter((file) => file.type !== 'directory').map((file) => file.path);
    const inodes = async (image: Pick<BuiltImage, 'path' | 'partitions'>): Promise<readonly string[]> =>
      (await Promise.all(names.map((name) => stat(image, name)))).map((text) =>
        text.replace(/^Links:.*$|checksum:.*/gm, ''),
      );
    expect(await inodes(pc)).toEqual(await inodes({ path: pcBlank.image, partitions: pcBlank.partitions }));
  });

  it('takes one name of two from a file, and leaves the other', async () => {
    const look = inspector(host, tools, pc.path);
    const { start } = partition(pc, 2);
    const files = await look.read(start, ['/usr/bin/first', '/usr/bin/second']);
    expect([...files.values()].map(String)).toEqual(['twice\n', 'no link any more\n']);
    expect(await stat(pc, '/usr/bin/first')).toMatch(/Links: 1 /);
  });

  it('has the contents, times and long links it was given', async () => {
    const look = inspector(host, tools, pc.path);
    const { start } = partition(pc, 2);
    const files = site.root.filter((entry) => entry.type === 'file');
    const read = await look.read(
      start,
      files.map((entry) => `/${entry.path}`),
    );
    expect(
      files.filter((entry) => !read.get(`/${entry.path}`)?.equals(entry.content ?? Buffer.alloc(0))),
    ).toEqual([]);
    expect(await stat(pc, '/etc/empty')).toMatch(
      new RegExp(` mtime: 0x${(1_765_000_000).toString(16)}:0{8} `),
    );
    for (const time of ['ctime', 'atime', 'mtime', 'crtime'])
      expect(await stat(pc, '/etc/ssl/key')).toMatch(
        new RegExp(`^ *${time}: 0x${EPOCH.toString(16)}:0{8} `, 'm'),
      );
    const { stdout } = await tools.run(
      ['debugfs', '-R', 'cat /etc/long', `/mnt/image/pc.img?offset=${start}`],
      { binds: [{ from: dirname(pc.path), to: '/mnt/image', readOnly: true }] },
    );
    expect(stdout).toBe(`/${'long/'.repeat(60)}target`);
  });

  it('leaves nothing of itself to the next site', async () => {
    const other = 'what-only-the-other-site-knows-99f3';
    const second = await build(pcBlank, join(folder, 'second.img'), {
      id: 'cd'.repeat(32),
      root: site.root.map((entry) =>
        entry.path === 'etc/ssl/key' ? { ...entry, content: bytes(other) } : entry,
      ),
    });
    const image = await readFile(second.path);
    expect(image.includes(other)).toBe(true);
    expect(image.includes(SECRET)).toBe(false);
    expect((await readFile(pcBlank.image)).includes(SECRET)).toBe(false);
    await rm(second.path);
  });
});

describe('a blank disk', () => {
  it('is found again, with its companions', async () => {
    const found = await findBlank(pcBlank.folder);
    expect(found).toMatchObject({ map: pcBlank.map, partitions: pcBlank.partitions, board: 'pc' });
    expect(await readFile(found?.companion('passwd') ?? '', 'utf8')).toMatch(/^root:/);
  });

  it.each(['disk.bmap', 'passwd', '.complete'])('is not taken with a damaged %s', async (name) => {
    const path = join(pcBlank.folder, name);
    const good = await readFile(path);
    await writeFile(path, good.subarray(1));
    expect(await findBlank(pcBlank.folder)).toBeNull();
    await writeFile(path, good);
    expect(await findBlank(pcBlank.folder)).not.toBeNull();
  });

  it('enters no image with a flipped bit', async () => {
    const bad = { ...pcBlank, image: join(folder, 'bad.img') };
    await host.exec(['cp', '--sparse=always', pcBlank.image, bad.image]);
    const file = await open(bad.image, 'r+');
    const { start } = partition(pc, 2);
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, start + 1024 + 0x78);
    await file.write(Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, start + 1024 + 0x78);
    await file.close();
    const output = join(folder, 'flipped/kit.img');
    await expect(build(bad, output)).rejects.toThrow(`the disk in the cache is damaged: ${bad.image}`);
    expect(await readdir(dirname(output))).toEqual([]);
    await rm(bad.image);
  });
});

describe('when it goes wrong', () => {
  const broken = async (change: Partial<ImageSpec>, message: string | RegExp): Promise<void> => {
    const output = join(folder, 'broken/kit.img');
    await mkdir(dirname(output), { recursive: true });
    await writeFile(output, 'the old one');
    await expect(build(pcBlank, output, change)).rejects.toThrow(message);
    expect(await readdir(dirname(output))).toEqual(['kit.img']);
    expect(await readFile(output, 'utf8')).toBe('the old one');
  };
  const brokenBlank = async (change: Partial<BlankSpec>, message: string | RegExp): Promise<void> => {
    const to = join(folder, 'broken-blank/disk');
    await expect(makeBlank(host, tools, { ...blankSpec, board: 'pc', ...change }, to)).rejects.toThrow(
      message,
    );
    expect(await readdir(dirname(to))).toEqual([]);
  };
  it('leaves the old image and nothing half-built: a site that does not fit', async () => {
    await broken(
      { root: entries([{ path: 'big', type: 'file', content: Buffer.alloc(65 << 20) }]) },
      /the site's own files take 66 MiB in 1 files; a site has 64 MiB/,
    );
  });
  it('the same: a site that puts a file where the packages have a folder', async () => {
    await broken({ root: entries([{ path: 'usr/bin', type: 'file' }]) }, '/usr/bin is a file of the site');
  });
  it('the same: a file that debugfs does not take', async () => {
    // The packages have it, but the site is told they have not.
    await broken(
      { existing: site.existing.filter((one) => one.path !== 'etc/hostname') },
      /writing the site's files into the file system commesh-root failed/,
    );
  });
  it('leaves no blank disk: a tar that is not there', async () => {
    await brokenBlank(
      { root: [{ tar: join(folder, 'nowhere.tar'), members: [] }] },
      /file system commesh-root failed/,
    );
  });
  it('the same: a tar that cannot be read to its end', async () => {
    const cut = join(folder, 'cut.tar');
    await copyFile(blankSpec.root[0]?.tar ?? '', cut);
    await truncate(cut, 3_000_000);
    await brokenBlank(
      { root: [{ tar: cut, members: blankSpec.root[0]?.members ?? [] }] },
      /file system commesh-root failed/,
    );
  });
  it('the same: more than fits', async () => {
    const big = join(folder, 'big.tar');
    await tarPart(big, [{ path: 'big', type: 'file', content: Buffer.alloc(700 << 20, 1) }]);
    await brokenBlank({ root: [{ tar: big, members: [] }] }, /file system commesh-root failed/);
    await rm(big);
  });
  it('the same: a boot folder without its kernel', async () => {
    const boot = join(folder, 'no-kernel');
    await mkdir(boot);
    await brokenBlank({ boot }, 'the base layer has no');
  });
  it('says when the disk is full, and leaves nothing', async () => {
    if (host.uid !== 0) return;
    const full = join(folder, 'full');
    await mkdir(full);
    await host.exec(['mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', full]);
    try {
      await expect(build(pcBlank, join(full, 'kit.img'))).rejects.toThrow(
        /no room left for the image .*kit\.img/,
      );
      expect(await readdir(full)).toEqual([]);
    } finally {
      await host.exec(['umount', full]);
    }
  });
  it('says when the folder of the image cannot be written', async () => {
    if (host.uid === 0) return;
    const closed = join(folder, 'closed');
    await mkdir(closed);
    await chmod(closed, 0o500);
    await expect(build(pcBlank, join(closed, 'kit.img'))).rejects.toThrow();
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

/** A tar with a file of two names. */
async function linkedPart(path: string): Promise<TarPart> {
  const bin = join(path, 'usr/bin');
  await mkdir(bin, { recursive: true });
  await writeFile(join(bin, 'first'), 'twice\n', { mode: 0o644 });
  await link(join(bin, 'first'), join(bin, 'second'));
  const tar = `${path}.tar`;
  await host.exec([
    ...['tar', '--format=pax', '--owner=0', '--group=0', '--mtime=@1700000000'],
    ...[
      '--pax-option=SCHILY.xattr.user.note:=kept',
      '-C',
      path,
      '-cf',
      tar,
      'usr/bin/first',
      'usr/bin/second',
    ],
  ]);
  const { entries: members, end } = await indexTar(tar);
  await truncate(tar, end);
  return { tar, members };
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
