import { chmod, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createHost } from '../../src/host/host.js';
import { connectSsh, type Ssh } from '../../src/host/ssh.js';
import type { Plan, Planned } from '../../src/plan/types.js';
import type { FileWish, PortWish } from '../../src/services/contract.js';
import { certificateFaults } from '../../src/verify/checks/certificates.js';
import { createDialer } from '../../src/verify/dialer.js';
import { verify } from '../../src/verify/run.js';
import { planWith, SITE } from '../fixtures/verify-plan.js';
import { createTestCa, type TestCa } from '../helpers/site-ca.js';
import { startSshd, type TestSshd } from '../helpers/sshd.js';

const host = createHost();
let ca: TestCa;
let home: string;
let ssh: Ssh;
let kit: TestSshd;
const because = ['services', 'test'];

// A small kit of tmpfs, nothing of which this machine sees: its data partition has 16 MB and can be filled.
const KIT = `
mount -t tmpfs tmpfs /srv
mkdir -p /srv/commesh /srv/etc /srv/work
mount -t tmpfs -o size=16m tmpfs /srv/commesh
mount -t overlay overlay -o lowerdir=/etc,upperdir=/srv/etc,workdir=/srv/work /etc
mkdir /etc/commesh
mount -t tmpfs tmpfs /boot
mkdir /boot/firmware
mount -t tmpfs tmpfs /boot/firmware`;

beforeAll(async () => {
  ca = await createTestCa(host);
  home = await host.temporary('verify-inside');
  await chmod(home, 0o755);
  // A clock that can be put wrong without touching this machine's.
  await mkdir(join(home, 'bin'));
  await writeFile(join(home, 'offset'), '0');
  await writeFile(
    join(home, 'bin/date'),
    `#!/bin/sh\n[ "$1" = -u ] && exit 9\nexec /bin/date -d "now + $(cat ${home}/offset) seconds" "$@"\n`,
    { mode: 0o755 },
  );
  kit = await startSshd(host, [join(home, 'bin')], KIT);
  ssh = await connectSsh(host, kit.target);
});
afterAll(async () => {
  ssh.close();
  await host.close();
});

async function run(parts: Partial<Plan>, ...only: string[]): Promise<Record<string, string>> {
  const report = await verify(host, {
    plan: planWith(parts),
    secrets: { value: () => undefined },
    caPem: ca.caPem,
    ssh: (signal) => connectSsh(host, { ...kit.target, ...(signal ? { signal } : {}) }),
    dialer: createDialer(SITE.network.address),
    only,
  });
  expect(report.results[0]).toMatchObject({ id: 'ssh', state: 'pass' });
  return Object.fromEntries(
    report.results.slice(1).map(({ id, state, reason }) => [id, `${state}: ${reason}`]),
  );
}
const onKit = (command: string): Promise<unknown> => ssh.exec(command);

describe('files', () => {
  const wish = (name: string, more: Partial<Planned<FileWish>> = {}): Planned<FileWish> => ({
    path: join(home, name),
    kind: 'template',
    mode: '0644',
    owner: 'root',
    group: 'root',
    service: 'test',
    because,
    ...more,
  });
  beforeAll(async () => {
    await writeFile(join(home, 'good'), 'x', { mode: 0o644 });
    await writeFile(join(home, "odd name's"), 'x', { mode: 0o644 });
    await writeFile(join(home, 'secret'), 'x', { mode: 0o640 });
    await writeFile(join(home, 'empty'), '', { mode: 0o600 });
    await mkdir(join(home, 'folder'), { mode: 0o750 });
    await symlink('/etc/hostname', join(home, 'link'));
  });

  test('all as planned', async () => {
    const files = [
      wish('good'),
      wish("odd name's"),
      wish('secret', { mode: '0640', sensitive: true }),
      wish('folder', { kind: 'directory', mode: '0750' }),
      wish('link', { kind: 'symlink', target: '/etc/hostname' }),
    ];
    expect(await run({ files }, 'files')).toEqual({ files: 'pass: 5 files as planned' });
  });

  test('each fault in words', async () => {
    await chmod(join(home, 'secret'), 0o644);
    const files = [
      wish('missing'),
      wish('good', { mode: '0600', owner: 'nobody' }),
      wish('secret', { mode: '0640', sensitive: true }),
      wish('empty', { mode: '0600', sensitive: true }),
      wish('folder'),
      wish('link', { kind: 'symlink', target: '/etc/hosts' }),
    ];
    const told = await run({ files }, 'files');
    expect(told).toEqual({
      [`files/${home}/missing`]: `fail: ${home}/missing is missing`,
      [`files/${home}/good`]: `fail: ${home}/good has mode 0644 instead of 0600 and belongs to root:root instead of nobody:root`,
      [`files/${home}/secret`]: `fail: ${home}/secret has mode 0644 instead of 0640, so that everybody on the kit can read this secret`,
      [`files/${home}/empty`]: `fail: ${home}/empty is empty`,
      [`files/${home}/folder`]: `fail: ${home}/folder is a folder instead of a file`,
      [`files/${home}/link`]: `fail: ${home}/link leads to /etc/hostname instead of /etc/hosts`,
    });
  });
});

describe('ports', () => {
  let server: Server;
  let port: number;
  const wish = (more: Partial<Planned<PortWish>> = {}): Planned<PortWish> => ({
    protocol: 'tcp',
    port,
    scope: 'loopback',
    purpose: 'a test',
    listening: true,
    process: 'node',
    service: 'test',
    because,
    ...more,
  });
  beforeAll(async () => {
    server = createServer();
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    port = (server.address() as { port: number }).port;
  });
  afterAll(() => server.close());

  test('planned and open, or not, or held by another', async () => {
    const holder = (await ssh.exec(`ss -H -ltnp sport = :${port}`)).stdout.match(/\(\("([^"]+)"/)?.[1] ?? '';
    expect(await run({ ports: [wish({ process: holder })] }, 'ports')).toEqual({
      ports: 'pass: 1 port open, each held by its own program',
    });
    expect(await run({ ports: [wish({ process: 'prosody' })] }, 'ports')).toEqual({
      [`ports/tcp-${port}`]: `fail: TCP port ${port} (a test) is held by ${holder} instead of prosody`,
    });
    expect(await run({ ports: [wish({ scope: 'kit' })] }, 'ports')).toEqual({
      [`ports/tcp-${port}`]: `fail: TCP port ${port} (a test) is open on the kit itself only, nobody on its network can reach it`,
    });
    expect(await run({ ports: [wish({ port: 9, protocol: 'udp' })] }, 'ports')).toEqual({
      'ports/udp-9': 'fail: nothing listens at UDP port 9 (a test)',
    });
  });

  test('a port the plan does not know', async () => {
    const told = await run({ ports: [] }, 'listening');
    expect(told[`listening/tcp-${port}`]).toMatch(
      new RegExp(
        `^fail: .+ listens at TCP port ${port} \\(on the kit itself only\\), which no service has planned$`,
      ),
    );
    const known = await run({ ports: [wish()] }, 'listening');
    expect(known[`listening/tcp-${port}`]).toBeUndefined();
  });
});

describe('certificates', () => {
  const wish = (id: string): Plan['certificates'][number] => ({
    id,
    directory: home,
    labels: ['', 'share'],
    address: true,
    client: false,
    owner: 'root',
    group: 'root',
    service: 'test',
    because,
  });
  const names = [SITE.domain, `share.${SITE.domain}`, SITE.network.address];

  test('a good one, and each fault in words', async () => {
    const other = await createTestCa(host);
    await ca.issue(home, 'good', names, 400);
    await ca.issue(home, 'short', names, 20);
    await ca.issue(home, 'names', [SITE.domain], 400);
    await ca.issue(home, 'swapped', names, 400);
    await other.issue(home, 'foreign', names, 400);
    await host.exec(['cp', join(home, 'good.key'), join(home, 'swapped.key')]);
    for (const id of ['good', 'short', 'names', 'swapped', 'foreign'])
      await chmod(join(home, `${id}.key`), 0o640);
    await ca.issue(home, 'open', names, 400);
    await chmod(join(home, 'open.key'), 0o644);
    const certificates = ['good', 'short', 'names', 'swapped', 'foreign', 'open', 'gone'].map(wish);
    expect(await run({ certificates }, 'certificates')).toEqual({
      'certificates/short': expect.stringMatching(
        /^warn: the certificate "short" ends in (19|20) days$/,
      ) as string,
      'certificates/names': 'fail: the certificate "names" does not name share.kit.home.arpa and 10.77.0.1',
      'certificates/swapped': 'fail: the certificate "swapped" does not belong to the key beside it',
      'certificates/foreign': 'fail: the certificate "foreign" is not signed by this site\'s CA',
      'certificates/open':
        'fail: the certificate "open": its key has mode 0644: everybody on the kit can read it',
      'certificates/gone': 'fail: the certificate "gone" is missing or empty',
      'certificates/gone-2': 'fail: the certificate "gone": its key is missing',
    });
    expect((await run({ certificates: [wish('good')] }, 'certificates'))['certificates']).toMatch(
      /^pass: 1 certificate, the first one ends in (399|400) days$/,
    );
  });

  test('one that has expired, and a kit whose clock has run past its end', async () => {
    await ca.issue(home, 'ended', names, 30);
    const chain = await readFile(join(home, 'ended.crt'), 'utf8');
    const later = Date.now() + 40 * 86_400_000;
    const told = (laptop: number, kit: number): readonly string[] =>
      certificateFaults({ chain, keyPublic: '' }, names, ca.caPem, { laptop, kit }).map(
        ({ state, reason }) => `${state}: ${reason}`,
      );
    expect(told(later, later)).toEqual([expect.stringMatching(/^fail: expired on /)]);
    expect(told(Date.now(), later)).toEqual([
      expect.stringMatching(/^warn: ends in (29|30) days$/),
      "fail: has expired by the kit's clock",
    ]);
  });

  test('not valid by a wrong clock of the kit', async () => {
    await ca.issue(home, 'clock', names, 400);
    await chmod(join(home, 'clock.key'), 0o600);
    await writeFile(join(home, 'offset'), String(-3 * 365 * 86_400));
    const told = await run({ certificates: [wish('clock')] }, 'certificates', 'clock');
    await writeFile(join(home, 'offset'), '0');
    expect(told['certificates/clock']).toBe(
      'fail: the certificate "clock" is not valid yet by the kit\'s clock',
    );
    expect(told['clock']).toMatch(/^fail: the kit's clock is \d years behind this computer's/);
  });
});

describe('clock', () => {
  test.each([
    [0, /^pass: it agrees/],
    [30, /^warn: the kit's clock is (29|30) seconds ahead of/],
    [90, /^fail: the kit's clock is (89|90) seconds ahead of/],
    [-86_400 * 400.5, /^fail: the kit's clock is 400 days behind/],
  ])('%d seconds off', async (seconds, told) => {
    await writeFile(join(home, 'offset'), String(seconds));
    expect((await run({}, 'clock'))['clock']).toMatch(told);
    await writeFile(join(home, 'offset'), '0');
  });
});

describe('disks', () => {
  test('room, a full disk, and one that is not mounted', async () => {
    const small = { disk: { dataMB: 16, plannedMB: 1, parts: [] } };
    // Rules of shares, not of gigabytes: this "card" has 16 MB.
    expect((await run(small, 'disks'))['disks']).toMatch(/^pass: \d+ MB of 17 MB free/);
    await onKit('head -c 20000000 /dev/zero >/srv/commesh/fill; true');
    expect((await run(small, 'disks'))['disks/data-space']).toBe(
      'fail: the data partition is full: 0 MB of 17 MB free',
    );
    await onKit('rm /srv/commesh/fill; mount -o remount,ro /srv/commesh');
    expect((await run(small, 'disks'))['disks/data']).toBe(
      'fail: the data partition can only be read: the kit found a fault on it',
    );
    await onKit('mount -o remount,rw /srv/commesh');
    await onKit(
      'mount -o remount,nr_inodes=10 /srv/commesh; for n in 1 2 3 4 5 6 7 8 9; do touch /srv/commesh/$n; done',
    );
    expect((await run(small, 'disks'))['disks/data-inodes']).toBe(
      'fail: the data partition cannot take more files, though it has room',
    );
    await onKit('rm /srv/commesh/?; mount -o remount,nr_inodes=0 /srv/commesh');
  });
});

describe('backups', () => {
  const status = (more: object): Promise<unknown> =>
    onKit(
      `mkdir -p /srv/commesh/backup; echo '${JSON.stringify({ finished: new Date().toISOString(), ok: true, target: 'the USB disk', snapshot: 'abc', bytes: 12_000_000, message: '', ...more })}' >/srv/commesh/backup/status.json`,
    );
  test('none yet, a fresh one, an old one, a failed one, rubbish', async () => {
    const told = async (): Promise<string | undefined> => (await run({}, 'backups'))['backups'];
    expect(await told()).toBe('warn: no backup has been made yet');
    await status({});
    expect(await told()).toMatch(/^pass: the last one is \d+ seconds old, on the USB disk \(12 MB\)$/);
    await status({ finished: new Date(Date.now() - 50 * 3_600_000).toISOString() });
    expect(await told()).toMatch(/^warn: the last one is 2 days old/);
    await status({ finished: new Date(Date.now() - 100 * 3_600_000).toISOString() });
    expect(await told()).toMatch(/^fail: the last one is 4 days old/);
    await status({ ok: false, message: 'the disk is full' });
    expect(await told()).toBe('fail: the last backup failed: the disk is full; there is no good one yet');
    await onKit('echo "{" >/srv/commesh/backup/status.json');
    expect(await told()).toMatch(/^fail: the note about the last backup cannot be read/);
  });
});

describe('identity', () => {
  test('the right kit, another one, none', async () => {
    const told = async (): Promise<string | undefined> => (await run({}, 'identity'))['identity'];
    expect(await told()).toMatch(/^fail: the kit does not say/);
    await onKit(`echo '{"site":"kit","domain":"kit.home.arpa"}' >/etc/commesh/kit.json`);
    expect(await told()).toBe('pass: it is the kit of the site "kit"');
    await onKit(`echo '{"site":"clinic"}' >/etc/commesh/kit.json`);
    expect(await told()).toBe('fail: the kit belongs to the site "clinic", this profile describes "kit"');
  });
});

test('commands of services', async () => {
  const check = (argv: readonly string[], expected?: string): Plan['checks'][number] => ({
    kind: 'command',
    title: 'a command',
    options: { argv, ...(expected === undefined ? {} : { expect: expected }) },
    service: 'test',
    because,
  });
  expect(await run({ checks: [check(['echo', "it's fine"], 'fine')] }, 'command')).toEqual({
    'command/echo': 'pass: "echo it\'s fine" succeeds',
  });
  expect(await run({ checks: [check(['sh', '-c', 'echo no >&2; exit 3'])] }, 'command')).toEqual({
    'command/sh': 'fail: "sh -c echo no >&2; exit 3" ended with 3: no',
  });
  expect(await run({ checks: [check(['echo', 'a'], 'b')] }, 'command')).toEqual({
    'command/echo': 'fail: "echo a" did not print "b" but: a',
  });
});

test('memory, board and a missing firewall are told', async () => {
  const told = await run({}, 'memory', 'board', 'silence');
  expect(told['memory']).toMatch(/^(pass|warn|fail): .*\d+ of \d+ MiB available/);
  expect(told['board/power']).toBe('skip: a PC does not tell whether its power supply is weak');
  expect(told['silence']).toBe('fail: the firewall is not loaded');
});

test('without SSH the inside checks are skipped, and one failure says why', async () => {
  const report = await verify(host, {
    plan: planWith({}),
    secrets: { value: () => undefined },
    caPem: ca.caPem,
    ssh: () => connectSsh(host, { ...kit.target, port: 1 }),
    dialer: createDialer(SITE.network.address),
    vantage: 'inside',
  });
  expect(report.counts.fail).toBe(1);
  expect(report.results[0]).toMatchObject({
    id: 'ssh',
    state: 'fail',
    reason: expect.stringContaining('nothing listens for SSH') as string,
  });
  expect(report.results.slice(1).every(({ state }) => state === 'skip')).toBe(true);
});

test('an unknown check is a mistake of usage that names the known ones', async () => {
  await expect(run({}, 'weather')).rejects.toMatchObject({
    exitCode: 2,
    hint: expect.stringContaining('certificates') as string,
  });
});
