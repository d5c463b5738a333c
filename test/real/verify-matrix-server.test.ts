import { Readable } from 'node:stream';
import { afterAll, expect, test } from 'vitest';
import { createHost } from '../../src/host/host.js';
import type { Ssh } from '../../src/host/ssh.js';
import type { Plan } from '../../src/plan/types.js';
import { createDialer } from '../../src/verify/dialer.js';
import { verify } from '../../src/verify/run.js';
import { SITE } from '../fixtures/verify-plan.js';
import { kitTree, systemPlan } from '../helpers/kit-tree.js';

const host = createHost();
afterAll(() => host.close());

const profile = (database: string): string => `
site: { name: quickstart, title: Quickstart }
board: pc
memory: 4 GiB
network: { mode: lan }
services: { synapse: { database: ${database} }, prosody: false }
`;
const KEY = `ed25519 a_Test ${'k'.repeat(43)}`;
const MEDIA = '/srv/commesh/synapse/media';
const SIGNING_KEY = '/srv/commesh/synapse/signing.key';
const AS = 'runuser -u matrix-synapse --';

/** Starts PostgreSQL as its units do. */
const SERVER = `
line() { sed -n 's/^ExecStart=//p' "/etc/systemd/system/$1.service"; }
as="setpriv --reuid postgres --regid postgres --clear-groups"
mkdir -p -m 1777 /dev/shm; mkdir -p /run/postgresql; chown postgres:postgres /run/postgresql
$as $(line commesh-postgresql-cluster) > /dev/null < /dev/null
$as $(line postgresql) > /dev/null 2>&1 < /dev/null & server=$!
until runuser -u postgres -- pg_isready --quiet < /dev/null; do kill -0 $server; sleep 0.2; done
sql() { runuser -u "$1" -- psql -X -q -v ON_ERROR_STOP=1 -d "$2" -c "$3" < /dev/null; }
`;
const TABLES = `sql matrix-synapse synapse 'CREATE TABLE schema_version (version int); INSERT INTO schema_version VALUES (92)'`;
const HALT = 'kill -INT $server; wait $server';
const FILE = '/srv/commesh/synapse/homeserver.db';
const lite = (sql: string): string => `${AS} sqlite3 ${FILE} "${sql}" < /dev/null`;
const LITE = lite(
  'CREATE TABLE schema_version (version int); INSERT INTO schema_version VALUES (92); CREATE TABLE t (x text)',
);

/** What verify tells of a kit on which `before` and `after` ran around its one visit. */
async function told(
  database: 'postgres' | 'sqlite',
  before: string,
  { after = '', mediaMB = 100 } = {},
): Promise<Record<string, string>> {
  const plan: Plan = await systemPlan(profile(database));
  const kit = await kitTree(host, plan, (id) => (id === 'synapse-signing' ? KEY : `value-of-${id}`), [
    'synapse',
  ]);
  const ssh: Ssh = {
    exec: async (command, { stdin } = {}) => {
      if (stdin instanceof Readable) throw new Error('no check here sends a stream');
      // The kit's programs run only while this one does: of all visits, the one with the probes gets them.
      const script =
        stdin === undefined
          ? command
          : `cd /\n${before}\nset +e\n${command.replaceAll('exec ', '')}\n${after}\nexit 0`;
      const { exitCode, stdout, stderr } = await kit.sh(script, [], {
        allowFailure: true,
        ...(stdin === undefined ? {} : { input: stdin }),
      });
      return { code: exitCode, stdout, stderr };
    },
    close: () => {},
  };
  const report = await verify(host, {
    plan: {
      ...plan,
      checks: plan.checks
        .filter(({ kind }) => kind === 'matrix-server')
        .map((check) => ({ ...check, options: { ...check.options, mediaMB } })),
    },
    secrets: { value: (id) => (id === 'synapse-signing' ? KEY : undefined) },
    caPem: '',
    ssh: () => Promise.resolve(ssh),
    dialer: createDialer(SITE.network.address),
    only: ['matrix-server'],
  });
  return Object.fromEntries(
    report.results
      .slice(1)
      .map(({ id, state, reason }) => [id.replace('matrix-server/', ''), `${state}: ${reason}`]),
  );
}
const match = (pattern: RegExp): string => expect.stringMatching(pattern) as string;

test('PostgreSQL as planned', async () => {
  expect(await told('postgres', `${SERVER}${TABLES}`, { after: HALT })).toEqual({
    database: match(/^pass: PostgreSQL, \d+ MB, UTF8\/C, with fsync and checksums, tables of version 92$/),
    media: 'pass: 0 MB of 105 MB used (0 %)',
    key: "pass: there, and the one of the site's secrets",
    version: match(/^pass: Synapse \d+\.\d+\.\d+$/),
  });
});

test('PostgreSQL that would lose and mix up what it is given; a card with more files than planned; no key, another version', async () => {
  const wrong = `echo 'fsync = off' >> /etc/commesh/postgresql/postgresql.conf
${SERVER}
sql postgres postgres 'ALTER DATABASE synapse RENAME TO old'
sql postgres postgres "CREATE DATABASE synapse OWNER \\"matrix-synapse\\" TEMPLATE template0 LOCALE 'C.UTF-8'"
head -c 1200000 /dev/urandom > ${MEDIA}/photo; rm ${SIGNING_KEY}
cd /usr/lib/commesh/synapse/lib/python3*/site-packages; mv matrix_synapse-*.dist-info matrix_synapse-1.2.3.dist-info; cd /`;
  expect(await told('postgres', wrong, { after: HALT, mediaMB: 1 })).toEqual({
    database:
      "fail: its collation is C.UTF-8 instead of C; fsync is off, so that a pulled plug can destroy it; the chat server's tables are missing",
    media: match(/^fail: 1 MB of 1 MB used \(11\d %\)$/),
    key: `fail: ${SIGNING_KEY} is missing`,
    version: match(/^fail: Synapse 1\.2\.3 instead of \d/),
  });
});

test('no PostgreSQL, files near the limit, the key of another server', async () => {
  const wrong = `head -c 900000 /dev/urandom > ${MEDIA}/photo; sed -i s/Test/Best/ ${SIGNING_KEY}`;
  expect(await told('postgres', wrong, { mediaMB: 1 })).toMatchObject({
    database: match(/^fail: PostgreSQL does not let matrix-synapse in: psql: error: /),
    media: match(/^warn: 1 MB of 1 MB used \(8\d %\)$/),
    key: match(/ is another one than in the site's secrets/),
  });
});

test('SQLite as planned, and a key that its server cannot read', async () => {
  expect(await told('sqlite', `${LITE}; chmod 0600 ${SIGNING_KEY}`)).toMatchObject({
    database: 'pass: SQLite, 0 MB, no fault in it',
    key: `fail: ${SIGNING_KEY} cannot be read by matrix-synapse`,
  });
});

test('SQLite with a page of nonsense, and something that is no key', async () => {
  const wrong = `${LITE}
${lite('WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000) INSERT INTO t SELECT hex(randomblob(50)) FROM n')}
dd if=/dev/urandom of=${FILE} bs=4096 seek=8 count=4 conv=notrunc status=none
echo secret > ${SIGNING_KEY}`;
  expect(await told('sqlite', wrong)).toMatchObject({
    database: match(/^fail: .*(malformed|in database main|btree|Tree)/),
    key: match(/ is not a key of the form /),
  });
});

test('no SQLite file', async () => {
  expect(await told('sqlite', 'true')).toMatchObject({ database: `fail: ${FILE} is missing` });
});
