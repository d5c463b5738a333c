/**
 * `base: raspberry-pi-os` for a Pi 5, with a stand-in for the Raspberry Pi archive (test/helpers/raspberry-pi.ts).
 */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadProject } from '../../src/cli/commands/project.js';
import { createHost, type Host } from '../../src/host/host.js';
import { readLock } from '../../src/mirror/lock.js';
import { forgetKey, makeKey, type ArchiveKey } from '../helpers/archive.js';
import { expectPlanInImage } from '../helpers/contents.js';
import { CACHE, commeshctl, makeSite, works } from '../helpers/product.js';
import { publishRaspberryPi, VERSION } from '../helpers/raspberry-pi.js';

let host: Host;
let folder: string;
let keys: string;
let key: ArchiveKey;
let profile: string;
let from: string[];

beforeAll(async () => {
  host = createHost();
  await mkdir(CACHE, { recursive: true });
  folder = await mkdtemp(join(CACHE, 'kit-rpi-'));
  keys = await mkdtemp('/tmp/rpi-key-');
  key = await makeKey(keys, 'raspberrypi');
  await publishRaspberryPi(join(folder, 'raspberrypi'), key);
  profile = await makeSite(join(folder, 'site'), 'testpi5', (text) =>
    text.replace(/^board: pc$/m, 'board: pi5\nbase: raspberry-pi-os'),
  );
  from = ['--archive', `raspberrypi=file:${join(folder, 'raspberrypi')}`];
});

afterAll(async () => {
  await forgetKey(key);
  await host.close();
  await rm(keys, { recursive: true, force: true });
  await rm(folder, { recursive: true, force: true });
});

describe('a kit for a Raspberry Pi 5', () => {
  const lockFile = (): string => profile.replace('.yaml', '.lock.json');

  it('does not trust an archive that somebody else has signed', async () => {
    const { code, stderr } = await commeshctl(['fetch', profile, '--cache', CACHE, '--plain', ...from], {
      env: { HOME: folder },
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(/raspberrypi/);
    expect(stderr).toMatch(/key/);
    expect(existsSync(lockFile())).toBe(false);
  });

  it('takes kernel and firmware from the archive whose keys are named, and says so', async () => {
    const trust = ['--keyring', `raspberrypi=${key.keyring}`];
    const { stderr } = await works(['fetch', profile, '--cache', CACHE, '--plain', ...from, ...trust]);
    expect(stderr).toContain('the archive "raspberrypi" is trusted by the keys in');
    const lock = await readLock(lockFile());
    const source = (set: string, name: string): string | undefined =>
      lock?.sets[set]?.find((one) => one.name === name)?.archive;
    expect(source('system', 'linux-image-rpi-2712')).toBe('raspberrypi');
    // Both archives have a package of this name; the two must not be mixed.
    expect(source('boot', 'raspi-firmware')).toBe('raspberrypi');
    expect(source('system', 'prosody')).toMatch(/^debian/);
    expect(lock?.sets['system']?.some((one) => one.name === 'linux-image-arm64')).toBe(false);
    expect(lock?.indexes.find((one) => one.archive === 'raspberrypi')?.signedBy).toEqual([key.fingerprint]);
  });

  it('is built with what a Pi 5 looks for on its card', async () => {
    const image = join(folder, 'testpi5.img');
    const build = ['build-image', profile, '--cache', CACHE, '--output', image, '--plain'];
    await works([...build, '--keyring', `raspberrypi=${key.keyring}`]);
    const lock = await readLock(lockFile());
    if (lock === null) throw new Error('no lock');
    const { fat, root } = await expectPlanInImage(host, await loadProject(profile), image, lock, CACHE);
    expect(fat.get('/vmlinuz')?.toString()).toContain(`${VERSION}+rpt-rpi-2712`);
    expect(fat.get('/bcm2712-rpi-5-b.dtb')?.toString()).toBe('tree of 2712');
    expect(fat.has('/bcm2712d0-rpi-5-b.dtb')).toBe(true);
    expect(fat.has('/overlays/vc4-kms-v3d-pi5.dtbo')).toBe(true);
    expect(fat.get('/initrd.img')?.length).toBeGreaterThan(1_000_000);
    const config = fat.get('/config.txt')?.toString() ?? '';
    expect(config).toMatch(/^kernel=vmlinuz$/m);
    expect(config).toMatch(/^initramfs initrd\.img followkernel$/m);
    expect(config).not.toMatch(/^upstream_kernel=1$/m);
    expect(root.has(`/usr/lib/modules/${VERSION}+rpt-rpi-2712/modules.dep`)).toBe(true);
    const report = JSON.parse(await readFile(image.replace('.img', '.json'), 'utf8')) as {
      packages: { name: string; archive: string }[];
    };
    expect(report.packages.find((one) => one.name === 'linux-image-rpi-2712')?.archive).toBe('raspberrypi');
  });
});
