import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHost } from '../../src/host/host.js';
import { packageRoot } from '../../src/host/paths.js';
import type { Site } from '../../src/services/contract.js';
import { service as coturn } from '../../src/services/coturn/service.js';
import { service as synapse } from '../../src/services/synapse/service.js';
import { service as web } from '../../src/services/web/service.js';
import { planOf, secretOf, startChatKit, type ChatKit } from '../helpers/chat-kit.js';
import { kitTree, systemPlan } from '../helpers/kit-tree.js';
import { createTestCa } from '../helpers/site-ca.js';

const DOMAIN = 'clinic.home.arpa';
const ADDRESS = '10.77.0.1';
const site = (memoryMiB: number): Site => ({
  name: 'clinic',
  title: 'Clinic',
  domain: DOMAIN,
  languages: ['en', 'ar'],
  timezone: 'UTC',
  board: 'pi4',
  arch: 'arm64',
  base: 'debian',
  memoryMiB,
  storageGB: 32,
  mirror: 'auto',
  people: 8,
  network: {
    mode: 'lan',
    address: ADDRESS,
    prefix: 24,
    network: '10.77.0.0',
    netmask: '255.255.255.0',
    broadcast: '10.77.0.255',
    dhcp: { enabled: true, from: '10.77.0.50', to: '10.77.0.250', leaseHours: 12 },
    wifi: null,
  },
  admin: { keys: [] },
  backup: { enabled: true, at: '02:30', keep: { daily: 7, weekly: 4, monthly: 6 } },
  federation: [],
  services: {},
});

const host = createHost();
afterAll(() => host.close());

const PASSWORD = 'a-long-password';
const PYTHON = '/usr/lib/commesh/synapse/bin/python';
/** Makes the first administrator and a token: what the `people` program of a kit does. */
const TOKEN = `
import json, sys, urllib.request
base = 'http://127.0.0.1:8008'
def call(path, body, token=None):
    request = urllib.request.Request(base + path, json.dumps(body).encode(), {'Content-Type': 'application/json'})
    if token: request.add_header('Authorization', 'Bearer ' + token)
    return json.load(urllib.request.urlopen(request))
login = call('/_matrix/client/v3/login', {'type': 'm.login.password', 'identifier': {'type': 'm.id.user', 'user': 'admin'}, 'password': sys.argv[1]})
print(call('/_synapse/admin/v1/registration_tokens/new', {'uses_allowed': 2}, login['access_token'])['token'])
`;

interface Seen {
  readonly turn: { readonly username: string; readonly password: string; readonly uris: readonly string[] };
}

describe.each([
  ['PostgreSQL', 4096],
  ['SQLite', 2048],
] as const)('Synapse with %s', (database, memoryMiB) => {
  let kit: ChatKit;
  let seen: Seen;
  beforeAll(async () => {
    kit = await startChatKit(host, site(memoryMiB), [coturn, synapse, web]);
    // A way out, so that whoever wants to go there is seen.
    await kit.kit('ip', 'route', 'add', 'default', 'via', '10.77.0.2');
    await kit.kit('nft', 'add', 'table', 'inet', 'seen');
    await kit.kit('nft', 'add chain inet seen out { type filter hook output priority 0; }');
    const outward = `add rule inet seen out ip daddr != { 127.0.0.0/8, 10.77.0.0/24 } counter`;
    expect(await kit.kit('nft', outward)).toMatchObject({ exitCode: 0, stderr: '' });
  }, 900_000);
  afterAll(() => host.close());

  it('lets two people with a token register, talk, share a file, and nobody else', async () => {
    const admin = ['-u', 'admin', '-p', PASSWORD, '--admin', '-c', '/etc/matrix-synapse/homeserver.yaml'];
    const made = await kit.kit(
      ...[PYTHON, '-m', 'synapse._scripts.register_new_matrix_user', ...admin, 'http://127.0.0.1:8008'],
    );
    expect(made.stdout).toContain('Success');
    const { stdout: token } = await kit.kit(PYTHON, '-c', TOKEN, PASSWORD);
    const script = join(packageRoot(), 'test/helpers/matrix-people.mjs');
    const { stdout, stderr } = await kit.phone('node', script, DOMAIN, token.trim(), PASSWORD);
    expect(stderr).toBe('');
    seen = JSON.parse(stdout) as Seen;
    expect(seen).toMatchObject({
      base: `https://matrix.${DOMAIN}`,
      anyOrigin: '*',
      uninvited: true,
      guest: 403,
      wrongToken: false,
      people: [`@ana:${DOMAIN}`, `@ben:${DOMAIN}`],
      message: 'salam',
      encryption: 'm.megolm.v1.aes-sha2',
      same: true,
      tooLarge: 413,
      found: [`@ben:${DOMAIN}`],
      previews: 404,
      elsewhere: 502,
      admin: 404,
      federation: 404,
    });
  });

  it('hands out credentials the relay takes', async () => {
    expect(seen.turn.uris).toEqual([
      `turn:turn.${DOMAIN}:3478?transport=udp`,
      `turn:turn.${DOMAIN}:3478?transport=tcp`,
    ]);
    const call = (password: string) =>
      kit.kit(
        ...['timeout', '60', 'turnutils_uclient', '-u', seen.turn.username, '-w', password],
        ...['-n', '4', '-m', '1', '-p', '3478', '-y', ADDRESS],
      );
    expect((await call(seen.turn.password)).stdout).toContain('Total lost packets 0 ');
    const { stdout, stderr } = await call('wrong');
    expect(stdout + stderr).toContain('Cannot complete Allocation');
  });

  it('listens where the plan says and nowhere else', async () => {
    const { stdout } = await kit.kit('ss', '-Hltnp');
    const heard = stdout
      .split('\n')
      .filter((line) => line !== '' && !line.includes('"dnsmasq"'))
      .map((line) => ({ port: Number(/:(\d+) /.exec(line)?.[1]), name: /\(\("([^"]+)"/.exec(line)?.[1] }))
      .map(({ port, name }) => `${port} ${name}`);
    const planned = kit.plan.ports
      .filter(({ listening, protocol }) => listening && protocol === 'tcp')
      .map(({ port, process }) => `${port} ${process}`);
    expect([...new Set(heard)].sort()).toEqual([...new Set(planned)].sort());
    expect(stdout).toContain('127.0.0.1:8008 ');
  });

  it('tries to reach nobody outside', async () => {
    // Its hourly and daily tasks begin within the first minute.
    await sleep(20_000);
    const { stdout } = await kit.kit('nft', 'list', 'table', 'inet', 'seen');
    expect(stdout).toContain('counter packets 0 ');
    const { stdout: asked } = await kit.kit('cat', '/tmp/dns.log');
    const names = [...asked.matchAll(/query\[\w+\] (\S+) from/g)].map((match) => match[1] ?? '');
    // `kit` is its own host name.
    expect(names.filter((name) => name !== 'kit' && !name.endsWith(DOMAIN))).toEqual([]);
  });

  it('has nothing to complain about, names nobody in its log, and stays small', async () => {
    const log = await kit.log('synapse');
    expect(log.split('\n').filter((line) => /ana|ben|mallory|10\.77/.test(line))).toEqual([]);
    expect(log.split('\n').filter((line) => /WARNING|ERROR|CRITICAL/.test(line))).toEqual([]);
    const script = `for p in /proc/[0-9]*; do
      case $(cat $p/comm 2>/dev/null) in python|postgres) echo "$(cat $p/comm) $(sed -n 's/^Pss: *\\([0-9]*\\) kB/\\1/p' $p/smaps_rollup)";; esac; done`;
    const { stdout } = await kit.kit('sh', '-c', script);
    const used = new Map<string, number>();
    for (const [, name = '', size] of stdout.matchAll(/^(\w+) (\d+)$/gm))
      used.set(name, (used.get(name) ?? 0) + Number(size));
    console.info(
      `${database}: ${[...used].map(([name, size]) => `${name} ${Math.round(size / 1024)} MiB`).join(', ')}`,
    );
    const whole = [...used.values()].reduce((sum, size) => sum + size, 0);
    expect(whole).toBeGreaterThan(50 * 1024);
    expect(whole).toBeLessThan(350 * 1024);
  });

  it('keeps all it stores in what is backed up', async () => {
    const { stdout } = await kit.kit('find', '/srv/commesh', '-type', 'f', '-size', '+0');
    const backups = kit.plan.backups;
    const covered = backups.flatMap(({ paths, sqlite }) => [...paths, ...sqlite]);
    const stored = stdout.trim().split('\n');
    const other = stored.filter((path) => !covered.some((start) => path.startsWith(start)));
    if (database === 'SQLite') expect(other).toEqual([]);
    else {
      expect(other.filter((path) => !path.startsWith('/srv/commesh/postgresql/17/'))).toEqual([]);
      expect(backups.flatMap(({ postgres }) => postgres)).toEqual(['synapse']);
    }
  });

  it.runIf(database === 'PostgreSQL')('has a cluster as it should be', async () => {
    const ask = async (sql: string): Promise<string> => {
      const command = ['-u', 'matrix-synapse', '--', 'psql', '-X', '-A', '-t', '-d', 'synapse', '-c', sql];
      const { stdout, stderr } = await kit.kit('runuser', ...command);
      return (stdout + stderr).trim();
    };
    expect((await kit.log('postgres')).split('\n').filter((line) => !/^(LOG: |$)/.test(line))).toEqual([]);
    expect(
      await ask(`SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype
        FROM pg_database WHERE datname = 'synapse'`),
    ).toBe('matrix-synapse|UTF8|C|C');
    expect(
      await ask(`SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings
        WHERE name IN ('data_checksums', 'fsync', 'full_page_writes', 'jit', 'listen_addresses', 'shared_buffers')`),
    ).toBe('data_checksums=on fsync=on full_page_writes=on jit=off listen_addresses= shared_buffers=16384');
    expect(await ask('SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = current_user')).toBe('f');
    // Another account is nobody there.
    const { exitCode, stderr } = await kit.kit('runuser', '-u', 'www-data', '--', 'psql', '-d', 'synapse');
    expect([exitCode, stderr.includes('FATAL')]).toEqual([2, true]);
  });

  it('has units systemd accepts', async () => {
    const units = kit.plan.units
      .filter(({ service }) => service === 'synapse')
      .map(({ name }) => `/etc/systemd/system/${name}`);
    const { stdout, stderr } = await kit.kit('systemd-analyze', 'verify', '--man=no', ...units);
    const about = (stdout + stderr).split('\n').filter((line) => units.some((unit) => line.includes(unit)));
    expect(about).toEqual([]);
  });
});

describe('with sister sites', () => {
  it('opens a second port for them, and only that one', async () => {
    const { caPem } = await createTestCa(host);
    const federation = [{ domain: 'north.home.arpa', address: '10.78.0.1', ca: caPem }];
    const plan = planOf({ ...site(2048), federation }, [synapse]);
    const kit = await kitTree(host, plan, secretOf, ['synapse']);
    const ask = `
import sys, time, urllib.error, urllib.request
def ask(url):
    try: return urllib.request.urlopen(url).status
    except urllib.error.HTTPError as error: return error.code
for _ in range(300):
    try: ask('http://127.0.0.1:8009/'); break
    except OSError: time.sleep(0.2)
for port in (8008, 8009):
    for path in ('/_matrix/client/versions', '/_matrix/federation/v1/version', '/_matrix/key/v2/server', '/_synapse/admin/v2/users'):
        print(port, path, ask(f'http://127.0.0.1:{port}{path}'))
`;
    const { stdout } = await kit.sh(
      `ip link set lo up; mkdir -p /etc/commesh/federation; printf %s "$1" > /etc/commesh/federation/north.home.arpa.crt
       cd /; setpriv --reuid matrix-synapse --regid matrix-synapse --clear-groups $(sed -n 's/^ExecStart=//p' /etc/systemd/system/synapse.service) &
       ${PYTHON} -c "$2"`,
      [caPem, ask],
    );
    expect(stdout.trim().split('\n')).toEqual([
      '8008 /_matrix/client/versions 200',
      '8008 /_matrix/federation/v1/version 404',
      '8008 /_matrix/key/v2/server 404',
      '8008 /_synapse/admin/v2/users 401',
      '8009 /_matrix/client/versions 404',
      '8009 /_matrix/federation/v1/version 200',
      '8009 /_matrix/key/v2/server 200',
      '8009 /_synapse/admin/v2/users 404',
    ]);
  });
});

describe('the cluster', () => {
  it('is made whole or not at all, whenever the plug is pulled', async () => {
    const plan = await systemPlan(`
site: { name: clinic, title: Clinic }
board: pc
memory: 4 GiB
network: { mode: lan }
services: { synapse: true }
`);
    const kit = await kitTree(host, plan, () => 'ed25519 a_test ' + 'A'.repeat(43), ['synapse']);
    const { stdout } = await kit.sh(
      `make() { setpriv --reuid postgres --regid postgres --clear-groups "$@" /usr/libexec/commesh/postgresql-cluster; }
       cd /
       for seconds in 0.05 0.4 0.8 1.2; do
         make timeout --signal=KILL $seconds || true
         [ ! -e /srv/commesh/postgresql/17 ] || [ -e /srv/commesh/postgresql/17/PG_VERSION ]
       done
       make
       id() { /usr/lib/postgresql/17/bin/pg_controldata /srv/commesh/postgresql/17 | grep 'system identifier'; }
       one=$(id); make; [ "$one" = "$(id)" ]
       stat -c '%U %a' /srv/commesh/postgresql/17; ls -A /srv/commesh/postgresql`,
    );
    expect(stdout).toBe('postgres 700\n17\n');
  });
});
