/**
 * The proof of src/twins: the same lock, installed by plain emulation and with twins, gives the same base layer, byte for byte: the tree's
 * archive, kernel, initramfs, every boot file. For every preset of another architecture, and for packages with heavy maintainer
 * scripts. For presets there are no exceptions: nothing random is made in their base layers. Of the others, RANDOM names what may differ.
 */
import { cp, mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureBase, manifestOf, type Base } from '../../src/cli/commands/base.js';
import { solverTools } from '../../src/cli/commands/fetch.js';
import { hostArch, loadProject, requestOf, type Project } from '../../src/cli/commands/project.js';
import { hashFile } from '../../src/host/files.js';
import { createHost, type Host } from '../../src/host/host.js';
import { packageRoot } from '../../src/host/paths.js';
import { fetchRequest } from '../../src/mirror/fetch.js';
import { lockPath } from '../../src/mirror/lock.js';
import { stageOf } from '../../src/stages/manifest.js';
import { forgetKey, makeKey, type ArchiveKey } from '../helpers/archive.js';
import { CACHE } from '../helpers/product.js';
import { differingMembers } from '../helpers/tar-members.js';
import { publishRaspberryPi } from '../helpers/raspberry-pi.js';

/** Databases, certificates, fonts, byte code, Java: packages whose scripts do much. */
const HEAVY = [
  'ca-certificates',
  'default-jre-headless',
  'fonts-dejavu-core',
  'fontconfig',
  'locales',
  'man-db',
  'postgresql',
  'python3-twisted',
  'python3-cryptography',
  'shared-mime-info',
  'ssl-cert',
];

/** What differs between any two installations of HEAVY, and why. */
const RANDOM: Readonly<Record<string, RegExp>> = {
  'initdb gives every cluster an identifier made of time and process number, and writes it to the log, too':
    /^\.\/var\/lib\/postgresql\/17\/main\/(global\/pg_control|pg_wal\/[0-9A-F]{24})$/,
  'PostgreSQL counts what it did, with times': /^\.\/var\/lib\/postgresql\/17\/main\/pg_stat\/pgstat\.stat$/,
  "keytool notes when a certificate was added, and salts the store's digest":
    /^\.\/etc\/ssl\/certs\/java\/cacerts$/,
};

const said: string[] = [];
let host: Host;
let folder: string;
let key: ArchiveKey;
/** Two offline caches with the same packages, each with layers of its own. */
let withTwins: string;
let emulated: string;

beforeAll(async () => {
  host = createHost((event) => {
    // What the programs said last: a ToolError tells only the end of standard error.
    if (event.type === 'log' && !event.text.includes('/.twins/')) said.push(event.text);
    if (event.type === 'end' && event.state === 'failed')
      process.stderr.write(`${said.slice(-60).join('\n')}\n`);
    if (event.type === 'end')
      process.stderr.write(`${event.id}: ${event.state}, ${event.milliseconds / 1000} s\n`);
  });
  await mkdir(CACHE, { recursive: true });
  folder = await mkdtemp(join(CACHE, 'long-'));
  [withTwins, emulated] = [join(folder, 'twins'), join(folder, 'emulated')];
  key = await makeKey(await mkdtemp('/tmp/long-key-'), 'raspberrypi');
  await publishRaspberryPi(join(folder, 'raspberrypi'), key);
  await mkdir(withTwins);
  // Packages that other tests have fetched.
  if (existsSync(join(CACHE, 'apt'))) await host.exec(['cp', '-al', join(CACHE, 'apt'), withTwins]);
});

afterAll(async () => {
  await forgetKey(key);
  await host.close();
  await rm(folder, { recursive: true, force: true });
});

/** SHA-256 of every file of a layer, by name. */
async function digests(layer: string): Promise<Record<string, string>> {
  const entries = await readdir(layer, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const pairs = await Promise.all(
    paths.sort().map(async (path) => [path.slice(layer.length), (await hashFile(path)).sha256] as const),
  );
  return Object.fromEntries(pairs);
}

/**
 * Makes the base layer of a project both ways and compares, file by file and member by member.
 * @param random paths in the tree whose content is made of random numbers or of the time.
 */
async function compare(project: Project, random: readonly RegExp[] = []): Promise<Base> {
  const keyrings = { raspberrypi: key.keyring };
  await fetchRequest(host, {
    request: requestOf(project.plan),
    settings: {
      mirror: project.plan.site.mirror,
      keyrings,
      uris: { raspberrypi: `file:${join(folder, 'raspberrypi')}` },
    },
    cache: withTwins,
    hostArch: hostArch(),
    tools: solverTools(host, join(withTwins, 'trees')),
    lockFile: lockPath(project.profilePath),
    mode: 'keep',
  });
  await mkdir(emulated, { recursive: true });
  for (const part of ['apt', 'indexes']) {
    if (existsSync(join(withTwins, part))) {
      await rm(join(emulated, part), { recursive: true, force: true });
      await host.exec(['cp', '-al', join(withTwins, part), emulated]);
    }
  }
  const native = await ensureBase(host, project, withTwins, { keyrings });
  const plain = await ensureBase(host, project, emulated, { keyrings, twins: false });
  expect(native.layer.tar).not.toBe(plain.layer.tar);
  const differing = await differingMembers(native.layer.tar, plain.layer.tar);
  process.stderr.write(`members that differ: ${differing.join(' ') || 'none'}\n`);
  expect(differing.filter((path) => !random.some((one) => one.test(path)))).toEqual([]);
  const [one, other] = await Promise.all([native, plain].map((base) => digests(join(base.layer.tar, '..'))));
  expect(Object.keys(one ?? {}).length).toBeGreaterThan(5);
  // What lies beside the tree: boot files, accounts, and, where nothing is random, the archive itself.
  const compared = (files: Record<string, string> = {}): string[] =>
    Object.entries(files)
      .filter(
        ([path]) => differing.length === 0 || !['/.complete', '/base.tar', '/index.jsonl'].includes(path),
      )
      .map(([path, sha256]) => `${path} ${sha256}`);
  expect(compared(one)).toEqual(compared(other));
  return native;
}

async function projectOf(preset: string): Promise<Project> {
  const profile = join(folder, preset);
  await cp(join(packageRoot(), 'profiles', preset), profile);
  return loadProject(profile);
}

describe.runIf(process.arch === 'x64')('a base layer made with twins is the emulated one', () => {
  const made = new Map<string, string>();

  it('for every preset of a Raspberry Pi', async () => {
    const presets = (await readdir(join(packageRoot(), 'profiles')))
      .filter((name) => name.endsWith('.yaml'))
      .sort();
    for (const preset of presets) {
      const project = await projectOf(preset);
      if (project.plan.site.arch !== 'arm64') continue;
      const { lock } = await compare(project);
      // Presets of the same packages share one layer: it is made once.
      made.set(preset, stageOf(await manifestOf(project, lock), 'base').id);
    }
    process.stderr.write(`${[...made].map(([preset, id]) => `${preset}: ${id.slice(0, 12)}`).join(', ')}\n`);
    expect([...made.keys()]).toEqual(['clinic.yaml', 'pi5.yaml', 'village.yaml', 'zero.yaml']);
  });

  it('for packages with heavy maintainer scripts', async () => {
    const project = await projectOf('clinic.yaml');
    const profilePath = join(folder, 'heavy.yaml');
    await cp(project.profilePath, profilePath);
    const sets = project.plan.sets.map((set) =>
      set.id === 'system'
        ? {
            ...set,
            packages: [
              ...set.packages,
              ...HEAVY.map((name) => ({ name, service: 'test', because: ['services'] })),
            ],
          }
        : set,
    );
    const { layer } = await compare(
      { ...project, profilePath, plan: { ...project.plan, sets } },
      Object.values(RANDOM),
    );
    const index = await readFile(layer.index, 'utf8');
    // Their scripts have run: a cluster, a key store, a cache of modules, certificates.
    for (const path of [
      'etc/postgresql/17/main/pg_hba.conf',
      'etc/ssl/certs/java/cacerts',
      'etc/ssl/certs/ca-certificates.crt',
    ])
      expect(index).toContain(`"${path}"`);
  });
});
