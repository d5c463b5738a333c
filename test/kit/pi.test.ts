/** The whole path for a Raspberry Pi: built under emulation where this machine is a PC, booted with the image's own kernel. */
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BuildReport } from '../../src/cli/commands/build-image.js';
import { loadProject, type Project } from '../../src/cli/commands/project.js';
import { createHost, type Host } from '../../src/host/host.js';
import { readLock } from '../../src/mirror/lock.js';
import type { Report } from '../../src/verify/types.js';
import { expectPlanInImage } from '../helpers/contents.js';
import { bootProfile, type RunningKit } from '../helpers/kit.js';
import { CACHE, commeshctl, copySite, makeSite, works } from '../helpers/product.js';

let folder: string;
let profile: string;
let image: string;
let host: Host;
let project: Project;

beforeAll(async () => {
  await mkdir(CACHE, { recursive: true });
  folder = await mkdtemp(join(CACHE, 'kit-pi-'));
  profile = await makeSite(join(folder, 'site'), 'testpi', (text) =>
    text.replace(/^board: pc$/m, 'board: pi4'),
  );
  image = join(folder, 'testpi.img');
  host = createHost();
  project = await loadProject(profile);
});

afterAll(async () => {
  await host.close();
  await rm(folder, { recursive: true, force: true });
});

const reportOf = async (path: string): Promise<BuildReport> =>
  JSON.parse(await readFile(path.replace('.img', '.json'), 'utf8')) as BuildReport;

describe('a kit for a Raspberry Pi', () => {
  it('is built on this machine, whatever its architecture', async () => {
    await works(['fetch', profile, '--cache', CACHE, '--plain']);
    await works(['build-image', profile, '--cache', CACHE, '--output', image, '--plain']);
    const report = await reportOf(image);
    process.stderr.write(
      `image: ${Math.round(report.image.bytesUsed / 1e6)} MB raw content; ${JSON.stringify(report.timings)}\n`,
    );
    expect(report.image.bytesUsed).toBeLessThan(900e6);
  });

  it('holds what the plan says, and what the firmware of Pi 3, Zero 2 W and Pi 4 looks for', async () => {
    const lock = await readLock(profile.replace('.yaml', '.lock.json'));
    if (lock === null) throw new Error('no lock');
    const { fat, root } = await expectPlanInImage(host, project, image, lock, CACHE);
    for (const name of [
      '/bootcode.bin',
      '/start.elf',
      '/fixup.dat',
      '/start4.elf',
      '/fixup4.dat',
      '/config.txt',
      '/cmdline.txt',
      '/bcm2711-rpi-4-b.dtb',
      '/bcm2837-rpi-3-b.dtb',
      '/bcm2837-rpi-zero-2-w.dtb',
    ]) {
      expect(fat.has(name), name).toBe(true);
    }
    const config = fat.get('/config.txt')?.toString() ?? '';
    const kernel = /^kernel=(.+)$/m.exec(config)?.[1] ?? '';
    const initramfs = /^initramfs (\S+) followkernel$/m.exec(config)?.[1] ?? '';
    expect(fat.has(`/${kernel}`), kernel).toBe(true);
    expect(fat.has(`/${initramfs}`), initramfs).toBe(true);
    expect(fat.get('/cmdline.txt')?.toString()).toContain('root=LABEL=commesh-root');
    // 64-bit ARM throughout: e_machine of ELF(5) is 0xb7.
    expect(root.get('/usr/lib/aarch64-linux-gnu/libc.so.6')?.type).toBe('file');
    expect(root.has('/usr/lib/x86_64-linux-gnu')).toBe(false);
  });

  it('is the same, byte for byte, when it is built again elsewhere', async () => {
    const copy = await copySite(profile, join(folder, 'elsewhere'));
    const other = join(folder, 'elsewhere/other.img');
    await works(['build-image', copy, '--cache', CACHE, '--output', other, '--plain']);
    expect((await reportOf(other)).image.sha256).toBe((await reportOf(image)).image.sha256);
    await rm(other);
  });
});

describe('on the running Pi kit', () => {
  let kit: RunningKit;
  beforeAll(async () => {
    kit = await bootProfile(host, profile, { image, disk: join(folder, 'card.qcow2') });
  });

  it('passes verify', async () => {
    const forwards = join(folder, 'forwards.json');
    await writeFile(forwards, JSON.stringify(kit.kit.forwards));
    const { code, stdout } = await commeshctl([
      'verify',
      '--profile',
      profile,
      '--forwards',
      forwards,
      '--json',
    ]);
    const report = JSON.parse(stdout) as Report;
    process.stderr.write(`verify: ${report.milliseconds / 1000} s, ${JSON.stringify(report.counts)}\n`);
    expect(
      report.results.filter((one) => one.state === 'fail').map((one) => `${one.title}: ${one.reason}`),
    ).toEqual([]);
    expect(code).toBe(0);
  });

  it('fits a small board', async () => {
    const prosody = Number(await kit.run("ps -C lua5.4 -o rss= | awk '{sum += $1} END {print sum}'"));
    const used = Number(
      await kit.run("awk '/MemTotal/ {t=$2} /MemAvailable/ {a=$2} END {print t - a}' /proc/meminfo"),
    );
    process.stderr.write(
      `memory: Prosody ${(prosody / 1024).toFixed(1)} MiB resident, ${Math.round(used / 1024)} MiB in use in total\n`,
    );
    expect(prosody).toBeLessThan(40 * 1024);
    expect(used).toBeLessThan(200 * 1024);
  });
});
