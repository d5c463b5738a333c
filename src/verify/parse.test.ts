import { describe, expect, test } from 'vitest';
import { throttled } from './checks/board.js';
import { offset, span } from './checks/clock.js';
import { parseMounts, parsePartitions, parseSpace } from './checks/disks.js';
import { parseStat } from './checks/files.js';
import { parseMeminfo } from './checks/memory.js';
import { complaints, missingFeatures } from './checks/prosody-check.js';
import { installedVersion, parsePostgres, parseSqlite, postgresFaults } from './checks/matrix-server.js';
import { countedPackets, destinations } from './checks/silence.js';
import { parseUnits } from './checks/units.js';
import { quote } from './facts.js';
import { covers, isLoopback, parseListeners } from './listeners.js';
import { foreignAddresses, isOwnHost, linksTo, ownAddresses } from './page.js';
import { inviteToken, ownAccounts } from './people.js';
import { loadChecks } from './registry.js';

test('every check is found under its own name, and says what it looks at', async () => {
  const checks = await loadChecks();
  for (const kind of ['units', 'files', 'xmpp-talk', 'turn-relay', 'dns-zone'])
    expect(checks.has(kind)).toBe(true);
  for (const check of checks.values()) {
    expect(check.title).toMatch(/^\S.*\S$/);
    if (check.probe) expect(check.vantage).toBe('inside');
  }
});

test('ss: addresses in all forms, several holders, no holder', () => {
  const text = `udp   UNCONN 0      0          10.77.0.1%kit0:67         0.0.0.0:*    users:(("dnsmasq",pid=311,fd=4))
tcp   LISTEN 0      511            0.0.0.0:80         0.0.0.0:*    users:(("nginx",pid=2,fd=6),("nginx",pid=1,fd=6))
tcp   LISTEN 0      128                  *:22               *:*    users:(("sshd",pid=9,fd=3))
tcp   LISTEN 0      128               [::1]:5280          [::]:*
tcp   LISTEN 0      128  [fe80::1]%kit0:5222          [::]:*    users:(("lua5.4",pid=7,fd=8))
`;
  expect(parseListeners(text)).toEqual([
    { protocol: 'udp', address: '10.77.0.1', port: 67, processes: ['dnsmasq'] },
    { protocol: 'tcp', address: '0.0.0.0', port: 80, processes: ['nginx', 'nginx'] },
    { protocol: 'tcp', address: '*', port: 22, processes: ['sshd'] },
    { protocol: 'tcp', address: '::1', port: 5280, processes: [] },
    { protocol: 'tcp', address: 'fe80::1', port: 5222, processes: ['lua5.4'] },
  ]);
  expect(['127.0.0.53', '::1', '::ffff:127.0.0.1'].every(isLoopback)).toBe(true);
  expect(['10.77.0.1', '*', '::', '0.0.0.0'].some(isLoopback)).toBe(false);
  const relay = { protocol: 'udp' as const, port: 61_000, to: 61_035 };
  const at = (port: number): Parameters<typeof covers>[1] => ({
    protocol: 'udp',
    address: '',
    port,
    processes: [],
  });
  expect([60_999, 61_000, 61_035, 61_036].map((port) => covers(relay, at(port)))).toEqual([
    false,
    true,
    true,
    false,
  ]);
});

test('systemctl show: aliases, values with "=", units that are not there', () => {
  const text = `Id=ssh.service
Names=ssh.service sshd.service
LoadState=loaded
ActiveState=failed
SubState=failed
Result=exit-code

Id=gone.service
Names=gone.service
LoadState=not-found
ActiveState=inactive
SubState=dead
Result=success
`;
  const [ssh, gone] = parseUnits(text);
  expect(ssh).toMatchObject({ active: 'failed', result: 'exit-code' });
  expect(ssh?.names).toContain('sshd.service');
  expect(gone?.load).toBe('not-found');
  expect(parseUnits('')).toEqual([]);
});

test('stat, mounts, space, partitions, memory', () => {
  expect(parseStat('81a4|root|www-data|12|/a b\na1ff|root|root|9|/l -> /x\n').get('/a b')).toEqual({
    mode: 0o100644,
    owner: 'root',
    group: 'www-data',
    size: 12,
    target: '',
  });
  expect(parseStat('a1ff|root|root|9|/l -> /x\n').get('/l')?.target).toBe('/x');
  expect(parseMounts('/dev/vda3 /srv/commesh ext4 ro,relatime 0 0\n').get('/srv/commesh')).toEqual({
    device: '/dev/vda3',
    type: 'ext4',
    options: ['ro', 'relatime'],
  });
  expect(parseSpace('/|4096|1000|10|500|5\n').get('/')).toEqual({
    bytes: 4_096_000,
    freeBytes: 40_960,
    inodes: 500,
    freeInodes: 5,
  });
  expect(parsePartitions('/dev/vda3 2048 4096 10240\n').get('/dev/vda3')).toEqual({
    start: 1_048_576,
    size: 2_097_152,
    disk: 5_242_880,
  });
  expect(
    parseMeminfo('MemTotal:     1000 kB\nHugePages_Total:  0\nMemAvailable: 500 kB\n').get('MemAvailable'),
  ).toBe(500);
});

test('clocks: the time between two looks is no difference', () => {
  expect([offset(50, 100, 200), offset(150, 100, 200), offset(61_200, 100, 200)]).toEqual([-0, 0, 61]);
  expect([59, 119, 120, 7200, 86_400 * 3, 86_400 * 800].map(span)).toEqual([
    '59 seconds',
    '119 seconds',
    '2 minutes',
    '2 hours',
    '3 days',
    '2 years',
  ]);
});

test('vcgencmd get_throttled', () => {
  expect(throttled(0)).toEqual([]);
  expect(throttled(0x50005).map(({ state }) => state)).toEqual(['fail', 'fail', 'warn', 'warn']);
});

test('nft: the counter of what was kept in', () => {
  const table = `table inet commesh {
	counter in_denied {
		packets 7 bytes 400
	}
	counter out_denied {
		comment "kept in"
		packets 3 bytes 180
	}
}`;
  expect(countedPackets(table, 'out_denied')).toBe(3);
  expect(countedPackets(table, 'in_denied')).toBe(7);
  expect(countedPackets('table inet commesh {\n}', 'out_denied')).toBeNull();
});

test('prosodyctl: complaints and missing features', () => {
  expect(
    complaints(
      'Checking config...\nDone.\n\nChecking certificates...\n    No certificate for x\nProblems found, see above.\n',
    ),
  ).toEqual(['No certificate for x']);
  expect(
    missingFeatures(
      'Feature report\n\tOK\tMulti-device sync\n\t(!)\tGroup chats\n\t\t\tSuggested modules:\n',
    ),
  ).toEqual(['Group chats']);
});

test('invites and accounts', () => {
  expect(inviteToken('xmpp:kit.home.arpa?register;preauth=aB3_-9xyz;ibr=y\n')).toBe('aB3_-9xyz');
  expect(inviteToken('https://kit.home.arpa/invite?kXz_19-abcDEF0123456789\n')).toBe(
    'kXz_19-abcDEF0123456789',
  );
  expect(inviteToken('Error: no such host\n')).toBeNull();
  const output =
    'verify-0123456789@kit.home.arpa\nverify-anna@kit.home.arpa\nverify-aaaaaaaaaa@kit.home.arpa.evil\nOK: 3 users\n';
  expect(ownAccounts(output, 'kit.home.arpa')).toEqual(['verify-0123456789@kit.home.arpa']);
});

describe('pages', () => {
  const base = 'https://kit.home.arpa/';
  const own = (host: string): boolean => isOwnHost(host, 'kit.home.arpa', '10.77.0.1');
  test('what a page loads and leads to', () => {
    const html = `<link rel="stylesheet" href="/style.css"><img src='x.png'><script src="https://cdn.example/a.js"></script>
<a href="xmpp:kit.home.arpa">chat</a><a href="http://10.77.0.1/">page</a><svg xmlns="http://www.w3.org/2000/svg"></svg>
<img srcset="/a.png 1x, //evil.example/b.png 2x"><style>@import "https://fonts.example/f.css"; b { background: url(http://i.example/i.png) }</style>
<a href="/site-ca.crt?x=1">CA</a>`;
    expect(foreignAddresses(html, base, own)).toEqual([
      'https://cdn.example/a.js',
      'https://evil.example/b.png',
      'https://fonts.example/f.css',
      'http://i.example/i.png',
    ]);
    expect(ownAddresses(html, base, own)).toEqual(['/style.css']);
    expect(linksTo(html, base, '.crt')).toEqual(['/site-ca.crt']);
  });
  test('a name that only looks like the kit’s is foreign', () => {
    expect([own('share.kit.home.arpa'), own('evilkit.home.arpa'), own('kit.home.arpa.evil')]).toEqual([
      true,
      false,
      false,
    ]);
  });
});

test('shell words', () => {
  expect(quote("it's $HOME")).toBe(`'it'\\''s $HOME'`);
});

test('packets that wanted out: to where, and from whom', () => {
  const log = `commesh out denied: IN= OUT=eth0 SRC=10.77.0.1 DST=1.2.3.4 LEN=60 PROTO=TCP SPT=4 DPT=443 SYN URGP=0 UID=990 GID=990
commesh out denied: IN= OUT=eth0 SRC=10.77.0.1 DST=1.2.3.4 LEN=60 PROTO=TCP SPT=5 DPT=443 SYN URGP=0 UID=990 GID=990
commesh out denied: IN= OUT=eth0 SRC=10.77.0.1 DST=9.9.9.9 LEN=60 PROTO=UDP SPT=5 DPT=53 LEN=40 UID=77 GID=77
commesh out denied: IN= OUT=eth0 SRC=10.77.0.1 DST=224.0.0.22 LEN=40 PROTO=2
`;
  expect(destinations(log, 'root:x:0:0::/root:/bin/sh\nmatrix-synapse:x:990:990::/:/x\n')).toEqual([
    '1.2.3.4 tcp 443 from matrix-synapse',
    '9.9.9.9 udp 53 from account 77',
    '224.0.0.22 2',
  ]);
});

test('PostgreSQL: a sound database, each fault in words, no answer', () => {
  const good = { encoding: 'UTF8', collation: 'C', fsync: 'on', checksums: 'on', bytes: 9_000_000 };
  const state = parsePostgres(`${JSON.stringify({ ...good, tables: true })}\n92\n`);
  expect(state).toEqual({ ...good, schema: 92 });
  expect(state && postgresFaults(state)).toEqual([]);
  expect(
    postgresFaults({
      encoding: 'LATIN1',
      collation: 'en_US.UTF-8',
      fsync: 'off',
      checksums: 'off',
      bytes: 1,
      schema: null,
    }),
  ).toHaveLength(5);
  expect(parsePostgres(`${JSON.stringify({ ...good, tables: false })}\nERROR: no`)?.schema).toBeNull();
  expect(parsePostgres('psql: error: connection refused')).toBeNull();
});

test('SQLite: sound, damaged, without tables, too large, missing', () => {
  expect(parseSqlite('4096\n0\nok\nschema 92\n')).toEqual({ bytes: 4096, examined: true, faults: [] });
  expect(parseSqlite('4096\n0\n*** in database main ***\n')?.faults).toEqual(['*** in database main ***']);
  expect(parseSqlite('4096\n1\nok\nError: no such table')?.faults).toEqual([
    "the chat server's tables are missing",
  ]);
  expect(parseSqlite('4096\n124\n')).toEqual({ bytes: 4096, examined: false, faults: [] });
  expect(parseSqlite('')).toBeNull();
});

test("the version in a wheel's folder", () => {
  const at = '/usr/lib/commesh/synapse/lib/python3.13/site-packages/matrix_synapse-';
  expect(installedVersion(`${at}1.163.2.dist-info\n`)).toBe('1.163.2');
  expect(installedVersion(`${at}*.dist-info\n`)).toBeNull();
});
