/** Many sites from one template and a table, by the compiled program: built, resumed, interrupted, one of them broken. */
import { spawn } from 'node:child_process';
import { copyFile, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FleetSite } from '../../src/cli/commands/fleet.js';
import type { HostEvent } from '../../src/host/events.js';
import { createHost } from '../../src/host/host.js';
import { packageRoot } from '../../src/host/paths.js';
import { imageHolds } from '../helpers/contents.js';
import { CACHE, commeshctl, works } from '../helpers/product.js';

const host = createHost();
let folder: string;
let template: string;
let table: string;
let images: string;

const HEADER = 'site.name,site.title,network.wifi.passphrase\n';
const ROWS = ['alpha,Alpha,only-alpha-knows-this-phrase\n', 'beta,"Beta, by the lake",\n', 'gamma,Gamma,\n'];
const arguments_ = (...more: string[]): string[] => [
  ...['build-image', template, '--sites', table, '--output', images, '--cache', CACHE, '--json'],
  ...more,
];
const told = (stdout: string): Record<string, FleetSite['state']> =>
  Object.fromEntries(
    (JSON.parse(stdout) as { sites: FleetSite[] }).sites.map((one) => [one.site, one.state]),
  );
const profileOf = (site: string): string => join(folder, 'district.sites', `${site}.yaml`);
const imageOf = (site: string): string => join(images, `${site}.img`);
const sum = async (site: string): Promise<string> => readFile(`${imageOf(site)}.sha256`, 'utf8');

beforeAll(async () => {
  folder = await host.temporary('fleet');
  template = join(folder, 'district.yaml');
  table = join(folder, 'sites.csv');
  images = join(folder, 'images');
  await copyFile(join(packageRoot(), 'test/fixtures/tree.yaml'), template);
  // Made by the set-up of the real tests.
  await copyFile(join(CACHE, 'site/tree.lock.json'), join(folder, 'district.lock.json'));
  await mkdir(join(folder, 'overrides'));
  await writeFile(table, HEADER + ROWS.join(''));
});
afterAll(() => host.close());

describe('a fleet', () => {
  it('is not begun when a row is wrong: every fault is told at its cell', async () => {
    await writeFile(table, `${HEADER}alpha,Alpha,short\nBeta,,\n`);
    const { code, stderr } = await commeshctl(arguments_().filter((one) => one !== '--json'));
    expect(code).toBe(2);
    expect(stderr).toContain(`${table}:2:13 error`);
    expect(stderr).toContain(`${table}:3:1 error`);
    expect(stderr).not.toContain('short\n');
    expect((await readdir(folder)).sort()).toEqual([
      'district.lock.json',
      'district.yaml',
      'overrides',
      'sites.csv',
    ]);
    await writeFile(table, HEADER + ROWS.join(''));
  });

  it('is built from a table, each site with an identity of its own', async () => {
    const { stdout, stderr } = await works(arguments_());
    expect(told(stdout)).toEqual({ alpha: 'built', beta: 'built', gamma: 'built' });
    // The disk is made, or looked for, once for all; progress is told below one piece of work.
    const events = stderr
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as HostEvent);
    expect(events.filter((event) => event.type === 'begin' && event.id === 'disk').length).toBe(1);
    expect(events.filter((event) => event.type === 'begin' && event.parent === 'fleet').length).toBe(3);
    expect((await readdir(images)).sort()).toEqual(
      ['alpha', 'beta', 'gamma'].flatMap((name) => [
        `${name}.img`,
        `${name}.img.bmap`,
        `${name}.img.sha256`,
        `${name}.json`,
      ]),
    );
    for (const site of ['alpha', 'beta', 'gamma'])
      await host.exec(['sha256sum', '-c', '--quiet', `${site}.img.sha256`], { cwd: images });
    const key = await readFile(join(folder, 'district.sites/alpha.secrets/tls/web.key'), 'utf8');
    const line = key.split('\n')[5] ?? '';
    expect(await imageHolds(imageOf('alpha'), line)).toBe(true);
    expect(await imageHolds(imageOf('alpha'), 'only-alpha-knows-this-phrase')).toBe(true);
    for (const other of ['beta', 'gamma']) {
      expect(await imageHolds(imageOf(other), line)).toBe(false);
      expect(await imageHolds(imageOf(other), 'only-alpha-knows-this-phrase')).toBe(false);
    }
  });

  it('leaves profiles that every other command takes', async () => {
    expect(await readFile(profileOf('beta'), 'utf8')).toContain('title: Beta, by the lake');
    expect(await readFile(profileOf('beta'), 'utf8')).toContain('# The kit whose base layer');
    await works(['check', profileOf('beta')]);
    const one = join(folder, 'one.img');
    await works(['build-image', profileOf('alpha'), '--output', one, '--cache', CACHE, '--quiet']);
    expect((await readFile(`${one}.sha256`, 'utf8')).split(' ')[0]).toBe((await sum('alpha')).split(' ')[0]);
    for (const name of ['one.img', 'one.img.bmap', 'one.img.sha256', 'one.json'])
      await rm(join(folder, name));
  });

  it('does nothing again while everything is there and true', async () => {
    const before = await stat(profileOf('alpha'));
    const { stdout } = await works(arguments_());
    expect(told(stdout)).toEqual({ alpha: 'there', beta: 'there', gamma: 'there' });
    expect((await stat(profileOf('alpha'))).mtimeMs).toBe(before.mtimeMs);
  });

  it('builds again what has changed: a row, a secret, a lost block map', async () => {
    await writeFile(table, HEADER + ROWS.join('').replace('Alpha', 'Alpha hill'));
    await rm(`${imageOf('gamma')}.bmap`);
    expect(told((await works(arguments_())).stdout)).toEqual({
      alpha: 'built',
      beta: 'there',
      gamma: 'built',
    });
    const later = new Date(Date.now() + 5000);
    await utimes(join(folder, 'district.sites/beta.secrets/tls/web.key'), later, later);
    expect(told((await works(arguments_())).stdout)).toEqual({
      alpha: 'there',
      beta: 'built',
      gamma: 'there',
    });
  });

  it('goes on when one cannot be built, and says which', async () => {
    await rm(imageOf('gamma'));
    const broken = join(folder, 'broken.yaml');
    await writeFile(broken, (await readFile(template, 'utf8')).replace('name: tree', 'name: broken'));
    const call = ['build-image', broken, profileOf('gamma'), '--output', images, '--cache', CACHE];
    const { code, stdout } = await commeshctl([...call, '--plain']);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^broken +FAILED +.*broken\.lock\.json is missing/m);
    expect(stdout).toMatch(/^gamma +built in /m);
    expect(stdout).toContain('2 images: 1 built, 1 FAILED');
    await rm(broken);
  });

  it('stops cleanly at Ctrl-C, and goes on where it was', async () => {
    await rm(images, { recursive: true });
    const child = spawn(join(packageRoot(), 'bin/commeshctl'), arguments_(), {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      const before = said;
      said += chunk.toString();
      // The third begins when one of two is done.
      const third = /"begin","id":"site\/gamma"/;
      if (third.test(said) && !third.test(before)) setTimeout(() => child.kill('SIGINT'), 400);
    });
    const code = await new Promise((resolve) => child.once('close', resolve));
    expect(code).toBe(1);
    expect(said).toContain('"family":"interrupted"');
    const left = await readdir(images);
    expect(left.filter((name) => name.startsWith('.'))).toEqual([]);
    const whole = left.filter((name) => name.endsWith('.img')).map((name) => name.replace('.img', ''));
    expect(whole.length).toBeGreaterThan(0);
    expect(whole).not.toContain('gamma');
    for (const site of whole)
      await host.exec(['sha256sum', '-c', '--quiet', `${site}.img.sha256`], { cwd: images });

    const { stdout } = await works(arguments_());
    const states = told(stdout);
    for (const site of ['alpha', 'beta', 'gamma'])
      expect(states[site]).toBe(whole.includes(site) ? 'there' : 'built');
    expect(told((await works(arguments_('--rebuild'))).stdout)).toEqual({
      alpha: 'built',
      beta: 'built',
      gamma: 'built',
    });
  });
});
