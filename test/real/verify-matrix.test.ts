import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { InterruptedError } from '../../src/diagnostics/errors.js';
import { createHost, type Host } from '../../src/host/host.js';
import { connectSsh } from '../../src/host/ssh.js';
import { createDialer } from '../../src/verify/dialer.js';
import { verify, type VerifyInput } from '../../src/verify/run.js';
import type { Report } from '../../src/verify/types.js';
import { planWith, SITE } from '../fixtures/verify-plan.js';
import { startCoturn, type TestCoturn } from '../helpers/coturn.js';
import { type MatrixFaults, startMatrix, type TestMatrix } from '../helpers/matrix-kit.js';
import { createTestCa, type TestCa } from '../helpers/site-ca.js';
import { startSshd, type TestSshd } from '../helpers/sshd.js';

const host = createHost();
const { domain } = SITE;
const SCRIPT = 'templates/synapse/usr/libexec/commesh/people.d/synapse';
let ca: TestCa;
let coturn: TestCoturn;
let matrix: TestMatrix;
let sshd: TestSshd;

/** An SSH server on which the kit's own program for people of Synapse speaks to this server. */
async function doorTo(server: TestMatrix): Promise<TestSshd> {
  const settings = join(server.folder, 'people.json');
  await writeFile(
    settings,
    JSON.stringify({ api: server.url, server: domain, secret: server.secret, inviteDays: 7 }),
  );
  const text = await readFile(SCRIPT, 'utf8');
  const bin = join(server.folder, 'people.d');
  await mkdir(bin, { recursive: true });
  await writeFile(
    join(bin, 'synapse'),
    text.replace('"/etc/commesh/people/synapse.json"', JSON.stringify(settings)),
    { mode: 0o755 },
  );
  return startSshd(
    host,
    [],
    `mount -t tmpfs tmpfs /usr/libexec
mkdir -p /usr/libexec/commesh/people.d
cp ${bin}/synapse /usr/libexec/commesh/people.d/`,
  );
}

beforeAll(async () => {
  ca = await createTestCa(host);
  coturn = await startCoturn(host, ca);
  matrix = await startMatrix(host, ca, domain, coturn);
  sshd = await doorTo(matrix);
});
afterAll(() => host.close());

const because = ['services', 'synapse'];
function input(server = matrix, door = sshd, by: Host = host): VerifyInput {
  return {
    plan: planWith({
      checks: [
        {
          kind: 'matrix-talk',
          title: 'two people talk over Matrix',
          options: { server: domain, baseUrl: `https://matrix.${domain}` },
          service: 'synapse',
          because,
        },
        {
          kind: 'turn-relay',
          title: 'a call can be relayed',
          options: { host: `turn.${domain}`, port: coturn.port, tlsPort: 5349 },
          service: 'coturn',
          because,
        },
      ],
    }),
    secrets: { value: () => undefined },
    caPem: ca.caPem,
    ssh: (signal) => connectSsh(by, { ...door.target, ...(signal ? { signal } : {}) }),
    dialer: createDialer(SITE.network.address, {
      address: '127.0.0.1',
      tcp: { 443: server.https, 8448: 1, [coturn.port]: coturn.port },
      udp: { [coturn.port]: coturn.port },
    }),
    only: ['matrix-talk'],
  };
}
const told = (report: Report): Record<string, string> =>
  Object.fromEntries(
    report.results.map(({ id, state, reason }) => [id.replace('matrix-talk/', ''), `${state}: ${reason}`]),
  );
const failures = (report: Report): Record<string, string> =>
  Object.fromEntries(Object.entries(told(report)).filter(([, text]) => text.startsWith('fail')));

/** What the database says; -readonly, for the server is running. */
async function ask(server: TestMatrix, sql: string): Promise<string> {
  const script = `import sqlite3, sys
for row in sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True).execute(sys.argv[2]): print(*row)`;
  return (await host.exec(['python3', '-c', script, server.database, sql])).stdout.trim();
}

const GOOD = {
  'well-known': `pass: ${domain} leads to https://matrix.${domain}`,
  versions: expect.stringMatching(/^pass: it speaks Matrix up to v1\.\d+$/) as string,
  strangers: 'pass: without an invite, with a guessed one and as a guest: all refused',
  administration: 'pass: the web server does not pass it on',
  federation: 'pass: closed',
  login: 'pass: two temporary accounts were made',
  password: 'pass: refused',
  calls: 'pass: 2 ways to the relay, with credentials that work',
  room: 'pass: made by one, joined by the other',
  message: 'pass: both ways, and the server keeps only what it cannot read',
  file: 'pass: 150 kB went up encrypted and came back unchanged; strangers cannot load it',
  history: expect.stringMatching(/^pass: [4-9] messages found and read$/) as string,
};

/** Accounts still in use, rooms and files in the database. */
const left = async (server: TestMatrix): Promise<string> =>
  [
    await ask(server, "SELECT name FROM users WHERE name LIKE '@verify-%' AND deactivated = 0"),
    await ask(server, 'SELECT room_id FROM rooms'),
    await ask(server, 'SELECT media_id FROM local_media_repository'),
  ].join('');

test('two people talk, and nothing of them is left', async () => {
  expect(told(await verify(host, input()))).toEqual(GOOD);
  expect(await left(matrix)).toBe('');
});

test('Ctrl-C in the middle leaves no account behind', async () => {
  const interrupted = createHost();
  const running = verify(interrupted, input(matrix, sshd, interrupted));
  running.catch(() => {});
  for (let tries = 0; tries < 300 && !(await left(matrix)).includes('verify-'); tries += 1);
  expect(await left(matrix)).toContain('verify-');
  interrupted.interrupt();
  await expect(running).rejects.toBeInstanceOf(InterruptedError);
  expect(await left(matrix)).toBe('');
  await interrupted.close();
});

test('what an aborted run left is removed by the next, and people stay', async () => {
  const ssh = await connectSsh(host, sshd.target);
  const say = async (verb: string, input: unknown): Promise<void> => {
    const { code, stderr } = await ssh.exec(`/usr/libexec/commesh/people.d/synapse ${verb}`, {
      stdin: JSON.stringify(input),
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  };
  await say('temporary', { count: 2 });
  await say('add', { people: [{ name: 'verity', password: 'correct horse battery' }] });
  ssh.close();
  expect(await left(matrix)).toContain('verify-');
  expect(told(await verify(host, input()))).toEqual({
    ...GOOD,
    login: 'pass: two temporary accounts were made; 2 of an earlier run were removed',
  });
  expect(await left(matrix)).toBe('');
  expect(await ask(matrix, `SELECT deactivated FROM users WHERE name = '@verity:${domain}'`)).toBe('0');
});

test('a server with a certificate of another CA is not talked to', async () => {
  const other = await createTestCa(host);
  const report = await verify(host, { ...input(), caPem: other.caPem });
  const found = told(report);
  expect(found['versions']).toMatch(/^fail: .*certificate/);
  expect(found['login']).toMatch(/^fail: .*certificate/);
  expect(report.counts.pass).toBe(0);
  expect(await left(matrix)).toBe('');
});

const WRONG: readonly (readonly [string, MatrixFaults, Record<string, string>])[] = [
  [
    'open registration',
    { synapse: { registration_requires_token: false, enable_registration_without_verification: true } },
    { strangers: 'fail: an account could be made without an invite' },
  ],
  [
    'an administration open to everybody',
    { everything: true },
    {
      administration: `fail: https://matrix.${domain}/_synapse/admin/v1/register answers HTTP 200 to everybody`,
    },
  ],
  [
    'another secret than the relay',
    { synapse: { turn_shared_secret: 'another' } },
    { calls: expect.stringMatching(/^fail: refused with 401/) as string },
  ],
  [
    'a well-known answer that leads elsewhere',
    { baseUrl: 'https://matrix.example.org' },
    { 'well-known': `fail: apps are sent to https://matrix.example.org instead of https://matrix.${domain}` },
  ],
  [
    'no room for files',
    { refuse: { '/_matrix/media/v3/upload': 413 } },
    { file: 'fail: refused with HTTP 413' },
  ],
  [
    'federation passed on',
    {
      everything: true,
      refuse: { '/_synapse': 404, '/_matrix/federation': 200 },
    },
    {
      federation: `fail: https://matrix.${domain}/_matrix/federation/v1/version answers HTTP 200`,
    },
  ],
];
test.each(WRONG)('a server with %s is found', async (_name, faults, expected) => {
  const wrong = await startMatrix(host, ca, domain, coturn, faults);
  const door = await doorTo(wrong);
  try {
    expect(failures(await verify(host, input(wrong, door)))).toMatchObject(expected);
    expect(await left(wrong)).toBe('');
  } finally {
    await door.stop();
    await wrong.stop();
  }
});
