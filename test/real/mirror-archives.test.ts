/** Archives of other publishers: small stand-ins with the layout of Element's (normal) and Jitsi's (flat), on loopback. */
import { cp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { CommeshError } from '../../src/diagnostics/errors.js';
import { Cache, verifyCache } from '../../src/mirror/cache.js';
import { fetchRequest, type FetchOptions, type FetchReport } from '../../src/mirror/fetch.js';
import { HttpClient } from '../../src/mirror/http.js';
import { fetchIndexes } from '../../src/mirror/indexes.js';
import { readLock } from '../../src/mirror/lock.js';
import { requestDigest, type Request } from '../../src/mirror/request.js';
import { locateArchives } from '../../src/mirror/sources/apt.js';
import type { Lock } from '../../src/mirror/types.js';
import type { PlanSource } from '../../src/plan/types.js';
import { forgetKey, makeKey, TinyArchive, type SuiteOptions, type TinyPackage } from '../helpers/archive.js';
import {
  DAY,
  deb,
  events,
  failure,
  folder,
  host,
  key,
  mirror,
  options,
  request,
  shown,
  stranger,
  useArchives,
  work,
} from '../helpers/mirror-bench.js';

useArchives();

/** The publisher's own key: the one Debian's stand-in knows nothing of. */
const publisher = (): typeof stranger => stranger;
let web: TinyArchive;
let meet: TinyArchive;
let webPlace: string;

const page: TinyPackage = { name: 'web-page', version: '1.12', arch: 'all', fields: { Depends: 'libchat' } };
const webPackages: TinyPackage[] = [
  page,
  // What nobody asked of this publisher.
  { name: 'libchat', version: '99', arch: 'arm64' },
  { name: 'chat', version: '9:9', arch: 'arm64' },
  { name: 'base-extra', version: '1', arch: 'all', fields: { Essential: 'yes' } },
];
const meetPackages: TinyPackage[] = [
  { name: 'bridge', version: '2.3-g4b~1', arch: 'all', fields: { Depends: 'turn, focus' } },
  { name: 'focus', version: '1.0', arch: 'arm64' },
  { name: 'focus', version: '1.0', arch: 'amd64' },
  { name: 'turn', version: '99', arch: 'all' },
];

const publishWeb = (more: Partial<SuiteOptions> = {}): Promise<void> =>
  web.publish({ suite: 'default', packages: webPackages, key: publisher(), ...more });
const publishMeet = (more: Partial<SuiteOptions> = {}): Promise<void> =>
  meet.publish({ suite: 'stable/', packages: meetPackages, key: publisher(), ...more });

let count = 0;
beforeEach(async () => {
  // Each case may spoil them.
  count += 1;
  webPlace = `own/web-${count}/debian`;
  web = new TinyArchive(join(folder, 'www', webPlace));
  meet = new TinyArchive(join(folder, `www/own/meet-${count}`));
  await Promise.all([publishWeb(), publishMeet()]);
});

const webSource = (more: Partial<PlanSource> = {}): PlanSource => ({
  archive: 'web-io',
  suite: 'default',
  components: ['main'],
  fingerprints: [publisher().fingerprint],
  use: 'only',
  uri: `${mirror.url}/${webPlace}`,
  because: ['services', 'page'],
  ...more,
});
const meetSource = (more: Partial<PlanSource> = {}): PlanSource => ({
  archive: 'meet',
  suite: 'stable/',
  components: [],
  fingerprints: [publisher().fingerprint],
  use: 'only',
  uri: `${mirror.url}/own/meet-${count}`,
  because: ['services', 'meet'],
  ...more,
});
const asked = (packages: readonly string[], archives: readonly PlanSource[]): Request =>
  request(packages, { archives });

/** Keys of one's own would count whatever the fingerprint: these lie where the keys of a computer lie. */
async function settings(more: Partial<FetchOptions['settings']> = {}): Promise<FetchOptions['settings']> {
  const keys = join(work, 'keys');
  await cp(key.keyring, join(keys, 'debian-archive-keyring.gpg'));
  await cp(publisher().keyring, join(keys, 'web-io.asc'));
  await cp(publisher().keyring, join(keys, 'meet-archive-keyring.gpg'));
  return { mirror: `${mirror.url}/debian`, keyringFolders: [keys], ...more };
}

const bring = async (wanted: Request, more: Partial<FetchOptions> = {}): Promise<FetchReport> =>
  fetchRequest(host, options(wanted, { ...more, settings: more.settings ?? (await settings()) }));

const verify = (lock: Lock, wanted: Request, cache = 'cache'): Promise<ReadonlyMap<string, string>> =>
  verifyCache(host, lock, join(work, cache), ['system'], {
    full: true,
    keyrings: {
      debian: key.keyring,
      'debian-security': key.keyring,
      'web-io': publisher().keyring,
      meet: publisher().keyring,
    },
    request: wanted,
  });

const base = ['base-core 13 trixie', 'base-lib 2 trixie', 'base-needed 1 trixie'];

describe('an archive of another publisher', () => {
  it('gives the packages that name it and nothing else, whatever it offers and calls itself', async () => {
    await publishWeb({ names: { Origin: 'Tiny', Label: 'Tiny', Suite: 'trixie', Codename: 'trixie' } });
    const wanted = asked(['chat', 'web-page@web-io'], [webSource()]);
    const { lock } = await bring(wanted);
    expect(shown(lock)).toEqual([
      ...base,
      'chat 1:1.1+deb13u1 trixie-security',
      'libchat 1 trixie',
      'web-page 1.12 default',
    ]);
    const found = lock.sets['system']?.find(({ name }) => name === 'web-page');
    expect(found).toMatchObject({ archive: 'web-io', for: 'web-page', arch: 'all' });
    expect(lock.indexes.at(-1)).toMatchObject({
      archive: 'web-io',
      suite: 'default',
      signedBy: [publisher().fingerprint],
      files: [{ path: 'dists/default/InRelease' }, { path: 'dists/default/main/binary-arm64/Packages.gz' }],
    });
    expect((await stat(join(work, 'cache/apt/web-io/pool/main/w/web-page/web-page_1.12_all.deb'))).size).toBe(
      found?.size,
    );
    expect(await verify(lock, wanted)).toHaveProperty('size', 6);
    expect(JSON.stringify(lock)).not.toContain('127.0.0.1');
  });

  it('may be flat: one list for all, packages beside it, no word about itself', async () => {
    const wanted = request(['bridge@meet', 'focus@meet', 'chat'], {
      archives: [meetSource()],
      tools: ['focus@meet'],
    });
    const { lock } = await bring(wanted);
    expect(shown(lock)).toEqual([
      ...base,
      'bridge 2.3-g4b~1 stable/',
      'chat 1:1.1+deb13u1 trixie-security',
      'focus 1.0 stable/',
      'libchat 1 trixie',
      'turn 4.6 trixie',
    ]);
    const archOfFocus = (id: string): string | undefined =>
      lock.sets[id]?.find(({ name }) => name === 'focus')?.arch;
    expect([archOfFocus('system'), archOfFocus('tools-amd64')]).toEqual(['arm64', 'amd64']);
    expect(lock.indexes.at(-1)).toMatchObject({
      archive: 'meet',
      suite: 'stable/',
      components: [],
      files: [{ path: 'stable/InRelease' }, { path: 'stable/Packages.gz' }],
    });
    expect(deb(lock, 'bridge')).toBe(join(work, 'cache/apt/meet/stable/bridge_2.3-g4b~1_all.deb'));
    const stanzas = await verify(lock, wanted);
    expect(stanzas.get(lock.sets['system']?.find(({ name }) => name === 'focus')?.sha256 ?? '')).toContain(
      'Architecture: arm64',
    );
    // As it was written, and nothing left to do.
    expect(await readLock(join(work, 'kit.lock.json'))).toEqual(lock);
    expect(await bring(wanted)).toMatchObject({ resolved: false, fetchedFiles: 0 });
  });

  it('may be its own folder, with the signature in a file beside the release', async () => {
    await meet.publish({ suite: './', packages: meetPackages, key: publisher(), detached: true });
    const wanted = asked(['focus@meet'], [meetSource({ suite: './' })]);
    const { lock } = await bring(wanted);
    expect(shown(lock)).toEqual([...base, 'focus 1.0 ./']);
    expect(lock.indexes.at(-1)?.files.map(({ path }) => path)).toEqual([
      'Packages.gz',
      'Release',
      'Release.gpg',
    ]);
    expect(deb(lock, 'focus')).toBe(join(work, 'cache/apt/meet/focus_1.0_arm64.deb'));
    expect(await readLock(join(work, 'kit.lock.json'))).toEqual(lock);
    await verify(lock, wanted);
    // The signature is looked at again when the cache is: another release with the right digest in the lock is no use.
    const forged = await readFile(join(work, 'cache/apt/meet/Release'), 'utf8');
    await writeFile(join(work, 'cache/apt/meet/Release'), forged.replace('made for', 'made fur'));
    expect((await failure(verify(lock, wanted))).message).toContain('has been changed');
  });

  it('comes from a copy of the cache, and from no other place then', async () => {
    const wanted = asked(['bridge@meet', 'focus@meet', 'web-page@web-io'], [meetSource(), webSource()]);
    const { lock } = await bring(wanted);
    mirror.requests.length = 0;
    const far = asked(
      ['bridge@meet', 'focus@meet', 'web-page@web-io'],
      [meetSource({ uri: 'http://127.0.0.1:1' }), webSource({ uri: 'http://127.0.0.1:1/debian' })],
    );
    expect(requestDigest(far)).toBe(lock.request);
    const copied = await bring(far, {
      settings: await settings({ mirror: `file:${join(work, 'cache')}` }),
      cache: join(work, 'copy'),
      mode: 'locked',
    });
    expect(copied).toMatchObject({ lock, fetchedFiles: copied.files });
    await verify(lock, far, 'copy');
    // Resolved anew from the copy it is the same lock.
    const again = await bring(far, {
      settings: await settings({ mirror: `file:${join(work, 'cache')}` }),
      cache: join(work, 'second'),
      mode: 'update',
    });
    expect(again.lock).toEqual(lock);
    expect(mirror.requests).toEqual([]);
  });

  it('may change the form of its signature, and a copy of the cache serves all the same', async () => {
    const wanted = asked(['focus@meet'], [meetSource()]);
    await bring(wanted);
    const text = await readFile(join(work, 'kit.lock.json'), 'utf8');
    await rm(join(meet.folder, 'stable/InRelease'));
    await publishMeet({ packages: meetPackages.slice(1), detached: true, date: new Date() });
    const { lock } = await bring(wanted, { mode: 'update' });
    expect(lock.indexes.at(-1)?.files.map(({ path }) => path)).toContain('stable/Release.gpg');
    const folderOnly = { settings: await settings({ mirror: `file:${join(work, 'cache')}` }) };
    const copied = await bring(wanted, { ...folderOnly, cache: join(work, 'copy'), mode: 'update' });
    expect(copied.lock).toEqual(lock);
    // The lock of before is served, too.
    await writeFile(join(work, 'kit.lock.json'), text);
    const before = await bring(wanted, { ...folderOnly, cache: join(work, 'second'), mode: 'locked' });
    await verify(before.lock, wanted, 'second');
  });

  it('is taken from where --archive says, and signed by whom --keyring says, with a warning', async () => {
    const own = await makeKey(folder, `own-${count}`);
    try {
      await meet.publish({ suite: 'stable/', packages: meetPackages, key: own });
      const wanted = asked(['focus@meet'], [meetSource({ uri: 'http://127.0.0.1:1' })]);
      const uris = { meet: `file:${meet.folder}/` };
      const { lock } = await bring(wanted, {
        settings: await settings({ uris, keyrings: { meet: own.keyring } }),
      });
      expect(lock.indexes.at(-1)?.signedBy).toEqual([own.fingerprint]);
      expect(events).toContainEqual({
        type: 'log',
        level: 'warn',
        text: `the archive "meet" is trusted by the keys in ${own.keyring}, not by its usual key`,
      });
    } finally {
      await forgetKey(own);
    }
  });
});

describe('a complaint about an archive of another publisher', () => {
  /** Fetches what the archives are asked for, and it fails. */
  async function complaint(
    packages: readonly string[] = ['focus@meet'],
    archives: readonly PlanSource[] = [meetSource()],
    more: Partial<FetchOptions> = {},
  ): Promise<CommeshError> {
    const error = await failure(bring(asked(packages, archives), more));
    expect(error.because?.[0]).toBe('services');
    expect(error.exitCode).toBe(1);
    return error;
  }
  const leaveOut = 'take out what asks for it (services.meet)';

  it('says what to do when its server cannot be reached', async () => {
    const error = await complaint(['focus@meet'], [meetSource({ uri: 'http://127.0.0.1:1' })]);
    expect(error.message).toContain('the archive "meet" cannot be reached (127.0.0.1:1: ');
    expect(error.hint).toContain('--archive meet=URL');
    expect(error.hint).toContain(leaveOut);
    expect(error.because).toEqual(['services', 'meet']);
  });

  it('says so when nothing is there', async () => {
    const error = await complaint(['focus@meet'], [meetSource({ suite: 'unstable/' })]);
    expect(error.message).toContain('the index "unstable/" of the archive "meet" is not there');
    expect(error.hint).toContain(leaveOut);
  });

  it('says where it looked in a folder', async () => {
    const error = await complaint(['focus@meet'], [meetSource()], {
      settings: await settings({ mirror: `file:${join(folder, 'www')}` }),
    });
    expect(error.message).toContain(`the folder ${join(folder, 'www')} does not hold the archive "meet"`);
    expect(error.hint).toContain('stable/InRelease or stable/Release');
    expect(error.hint).toContain(`--archive meet=${mirror.url}`);
  });

  it('tells the fingerprint of a key that is missing', async () => {
    const other = await settings();
    await rm(join(work, 'keys/meet-archive-keyring.gpg'));
    const error = await complaint(['focus@meet'], [meetSource()], { settings: other });
    expect(error.message).toContain('the keys of the archive "meet" are not on this computer');
    expect(error.hint).toContain(`fingerprint is ${publisher().fingerprint}`);
    expect(error.hint).toContain('--keyring meet=FILE');
  });

  it('tells a key that is not the one', async () => {
    await publishMeet({ key });
    const unknown = await complaint();
    expect(unknown.message).toContain('the index "stable/" of the archive "meet" is signed with a key that');
    expect(unknown.hint).toContain('--keyring meet=FILE');
    // In the keyring, but not the one that was named.
    await cp(key.keyring, join(work, 'keys/meet.asc'));
    const named = await complaint(['focus@meet'], [meetSource()], {
      settings: await settings({ keyringFolders: [join(work, 'keys')] }),
    });
    expect(named.message).toContain('not with the key it must be signed with');
    expect(named.hint).toContain(publisher().fingerprint);
  });

  it('tells a key that has expired', async () => {
    const old = await makeKey(folder, `old-${count}`, new Date('2020-06-01'));
    try {
      await publishMeet({ key: old });
      await cp(old.keyring, join(work, 'keys/meet.asc'));
      const error = await complaint(['focus@meet'], [meetSource({ fingerprints: [old.fingerprint] })], {
        settings: await settings({ keyringFolders: [join(work, 'keys')] }),
      });
      expect(error.message).toContain('is signed with a key that has expired');
      expect(error.hint).toContain('--keyring meet=FILE');
    } finally {
      await forgetKey(old);
    }
  });

  it.each([
    ['no signature', { key: null }, 'is not signed'],
    ['a release without its signature', { key: null, detached: true }, 'is not signed'],
    ['an end that is over', { validUntil: new Date(Date.now() - DAY) }, 'has expired: this archive'],
  ])('tells %s', async (_title, spoilt, message) => {
    await rm(meet.folder, { recursive: true });
    meet = new TinyArchive(meet.folder);
    await publishMeet(spoilt);
    const error = await complaint();
    expect(error.message).toContain(message);
    expect(error.hint).toContain(leaveOut);
  });

  it('tells an end that is over, even where the age of Debian indexes is not minded', async () => {
    await publishMeet({ validUntil: new Date(Date.now() - DAY) });
    const wanted = asked(['focus@meet'], [meetSource()]);
    const network = { ignoresAge: true, caFile: null, proxyFor: () => Promise.resolve(null) };
    const client = new HttpClient(network, 5000);
    const bringing = fetchIndexes(host, wanted, await Cache.open(join(work, 'cache')), {
      client,
      places: await locateArchives(wanted.sources, await settings()),
      parallel: 2,
      backoffMs: 5,
      ignoresAge: true,
    });
    expect((await failure(bringing)).message).toContain('has expired: this archive');
    client.close();
  });

  it('tells a release that was changed after it was signed beside', async () => {
    await rm(join(meet.folder, 'stable/InRelease'));
    await publishMeet({ detached: true });
    const file = join(meet.folder, 'stable/Release');
    await writeFile(file, (await readFile(file, 'utf8')).replace('made for', 'made fur'));
    const error = await complaint();
    expect(error.message).toContain('carries a wrong signature');
    expect(error.hint).toContain('do not use it from this address');
  });

  it('tells an index that is older than the lock', async () => {
    const wanted = asked(['focus@meet'], [meetSource()]);
    await bring(wanted);
    const text = await readFile(join(work, 'kit.lock.json'), 'utf8');
    await publishMeet({ date: new Date(Date.now() - 3 * DAY) });
    // The cache of this lock has the newer one, and it is used.
    expect((await bring(wanted, { mode: 'update' })).lock).toEqual(JSON.parse(text));
    const error = await complaint(['focus@meet'], [meetSource()], {
      mode: 'update',
      cache: join(work, 'second'),
    });
    expect(error.message).toMatch(/^the index "stable\/" of the archive "meet" is older \(\d{4}-/);
    expect(error.hint).toContain('the lock stays as it is');
    expect(await readFile(join(work, 'kit.lock.json'), 'utf8')).toBe(text);
  });

  it('tells a package its publisher withdrew, from the index or from its place', async () => {
    const { lock } = await bring(asked(['focus@meet'], [meetSource()]));
    await rm(join(meet.folder, 'stable/focus_1.0_arm64.deb'));
    const gone = await complaint(['focus@meet'], [meetSource()], { cache: join(work, 'second') });
    expect(gone.message).toContain(
      'the package focus 1.0 is in the lock, but the archive "meet" has dropped it',
    );
    expect(gone.hint).toContain('--update');
    expect(gone.because).toEqual(['services', 'focus']);
    expect(await readLock(join(work, 'kit.lock.json'))).toEqual(lock);
    await publishMeet({ packages: meetPackages.slice(0, 1), date: new Date() });
    const error = await complaint(['focus@meet'], [meetSource()], { mode: 'update' });
    expect(error.message).toBe('there is no package "focus" in the archive "meet" for arm64');
    expect(error.because).toEqual(['services', 'focus']);
    expect(error.hint).toContain('a newer commeshctl may know');
  });

  it('tells a newer index than the one of the lock, which few publishers keep', async () => {
    await bring(asked(['focus@meet'], [meetSource()]));
    await publishMeet({ packages: meetPackages.slice(1), date: new Date() });
    const error = await complaint(['focus@meet'], [meetSource()], {
      mode: 'locked',
      cache: join(work, 'second'),
    });
    expect(error.message).toContain('the archive "meet" has another meet stable/');
    expect(error.hint).toContain('--update');
    expect(error.because).toEqual(['services', 'meet']);
  });

  it('tells what a package needs from there and nobody named', async () => {
    const error = await complaint(['bridge@meet']);
    expect(error.message).toContain('the package "bridge" cannot be installed');
    expect(error.message).toContain('bridge:arm64 Depends focus');
    expect(error.hint).toContain('must be named with that archive');
  });

  it('tells a wish for an archive that the plan does not have', async () => {
    const error = await complaint(['focus@nowhere']);
    expect(error.message).toContain('is to come from the archive "nowhere", which is no source of this kit');
  });

  it.each(['../../../../outside.deb', '/etc/outside.deb', 'stable/%2e%2e/..'])(
    'tells a path that leads out of the cache: %s',
    async (path) => {
      await publishMeet({
        packages: [{ name: 'focus', version: '1.0', arch: 'arm64', filename: path }],
      });
      const error = await complaint();
      expect(error.message).toContain('gives focus a path that cannot be used');
      expect(await stat(join(work, 'kit.lock.json')).catch(() => null)).toBeNull();
    },
  );
});
