import { createHash } from 'node:crypto';
import type { Check, CheckContext, CheckOptions, Finding } from '../check.js';
import { fail, pass, warn } from '../check.js';
import type { Facts } from '../facts.js';
import { lines, quote } from '../facts.js';
import { size } from './disks.js';

const MIB = 2 ** 20;
/** Share of the planned room for files from which it is worth a warning. */
const NEARLY = 0.8;
// A check of SQLite's file keeps the server from writing; this is short enough for people not to notice.
const EXAMINE_SECONDS = 20;

interface Wanted {
  readonly database: 'postgres' | 'sqlite';
  /** Name of the database in PostgreSQL, or SQLite's file. */
  readonly source: string;
  readonly account: string;
  readonly media: string;
  /** Planned for all uploads, MiB as the server counts them. */
  readonly mediaMB: number;
  readonly signingKey: string;
  /** Id of the site's secret that is the signing key. */
  readonly signingSecret: string;
  /** Folder of the virtual environment. */
  readonly program: string;
  readonly version: string;
}

function wanted(options: CheckOptions): Wanted {
  const text = (key: string): string => {
    const value = options[key];
    if (typeof value !== 'string') throw new Error(`the check "matrix-server" needs ${key}`);
    return value;
  };
  const { mediaMB, database } = options;
  if (typeof mediaMB !== 'number' || (database !== 'postgres' && database !== 'sqlite'))
    throw new Error('the check "matrix-server" needs mediaMB and database');
  return {
    database,
    source: text('source'),
    account: text('account'),
    media: text('media'),
    mediaMB,
    signingKey: text('signingKey'),
    signingSecret: text('signingSecret'),
    program: text('program'),
    version: text('version'),
  };
}

/** What PostgreSQL tells of Synapse's database. */
export interface PostgresState {
  readonly encoding: string;
  readonly collation: string;
  readonly fsync: string;
  readonly checksums: string;
  readonly bytes: number;
  /** Version of Synapse's tables; null without them. */
  readonly schema: number | null;
}

// `to_regclass` first: a table that is not there would be an error and hide the rest.
const SQL = `SELECT json_build_object('encoding', pg_encoding_to_char(encoding), 'collation', datcollate,
 'fsync', current_setting('fsync'), 'checksums', current_setting('data_checksums'), 'bytes', pg_database_size(oid),
 'tables', to_regclass('schema_version') IS NOT NULL)::text FROM pg_database WHERE datname = current_database()`;
const SCHEMA_SQL = 'SELECT version FROM schema_version';

/** Reads the JSON line and the line with the version of the tables; null when the server did not answer. */
export function parsePostgres(text: string): PostgresState | null {
  const [first = '', second = ''] = lines(text);
  if (!first.startsWith('{')) return null;
  const { tables, ...state } = JSON.parse(first) as Omit<PostgresState, 'schema'> & { tables: boolean };
  return { ...state, schema: tables && /^\d+$/.test(second) ? Number(second) : null };
}

/** What is wrong with a database that answers, in words. */
export function postgresFaults(state: PostgresState): readonly string[] {
  return [
    ...(state.encoding === 'UTF8' ? [] : [`its encoding is ${state.encoding} instead of UTF8`]),
    ...(state.collation === 'C' ? [] : [`its collation is ${state.collation} instead of C`]),
    ...(state.fsync === 'on' ? [] : ['fsync is off, so that a pulled plug can destroy it']),
    ...(state.checksums === 'on'
      ? []
      : ['it has no checksums, so that a worn-out card would damage it unnoticed']),
    ...(state.schema === null ? ["the chat server's tables are missing"] : []),
  ];
}

/** What SQLite tells: `quick_check` (sqlite.org, "PRAGMA quick_check") and the version of Synapse's tables. */
export interface SqliteState {
  readonly bytes: number;
  /** False when it took too long. */
  readonly examined: boolean;
  readonly faults: readonly string[];
}

/** Reads `size`, `code` (of timeout(1)) and what sqlite3 printed; null when there is no such file. */
export function parseSqlite(text: string): SqliteState | null {
  const [bytes = '', code = '', ...said] = lines(text);
  if (!/^\d+$/.test(bytes)) return null;
  if (code === '124') return { bytes: Number(bytes), examined: false, faults: [] };
  const sound = said[0] === 'ok';
  const tables = said.some((line) => /^schema \d+$/.test(line));
  return {
    bytes: Number(bytes),
    examined: true,
    faults: [
      ...(sound ? [] : [said[0] ?? 'sqlite3 said nothing']),
      ...(sound && !tables ? ["the chat server's tables are missing"] : []),
    ],
  };
}

/** The version in the name of a wheel's `NAME-VERSION.dist-info` folder (PyPA, "Recording installed projects"); null without one. */
export function installedVersion(text: string): string | null {
  return /matrix_synapse-(\d[^/\s]*)\.dist-info/.exec(text)?.[1] ?? null;
}

const RESTORE = 'restore the last backup with "commeshctl restore"; if this returns, take a new card';
const REBUILD = 'build and flash the card again, then restore the last backup';

function database(facts: Facts, want: Wanted): Finding {
  const title = "the chat server's database is reachable and sound";
  const text = facts.of('matrix-server', 'database');
  if (want.database === 'postgres') {
    const state = parsePostgres(text);
    if (!state)
      return fail(
        'database',
        title,
        `PostgreSQL does not let ${want.account} in: ${lines(text)[0] ?? 'no answer'}`,
        { hint: 'see the services above; switch the kit off and on' },
      );
    const faults = postgresFaults(state);
    if (faults.length > 0) return fail('database', title, faults.join('; '), { hint: REBUILD });
    return pass(
      'database',
      title,
      `PostgreSQL, ${size(state.bytes)}, UTF8/C, with fsync and checksums, tables of version ${state.schema}`,
    );
  }
  const state = parseSqlite(text);
  if (!state)
    return fail('database', title, `${want.source} is missing`, {
      hint: 'see the services above; switch the kit off and on',
    });
  if (state.faults.length > 0) return fail('database', title, state.faults.join('; '), { hint: RESTORE });
  return pass(
    'database',
    title,
    `SQLite, ${size(state.bytes)}${state.examined ? ', no fault in it' : ', too large to be examined while people chat'}`,
  );
}

function media(facts: Facts, want: Wanted): Finding {
  const title = 'files in chats have room';
  const used = /^(\d+)\t/.exec(facts.of('matrix-server', 'media').trim())?.[1];
  if (used === undefined)
    return fail('media', title, `${want.media} is missing`, {
      hint: REBUILD,
    });
  const planned = want.mediaMB * MIB;
  const share = planned > 0 ? Number(used) / planned : 1;
  const found = `${size(Number(used))} of ${size(planned)} used (${Math.floor(share * 100)} %)`;
  const hint =
    'files make room when they expire: lower "upload: keep" of synapse in the profile, or raise "total" if the card has room';
  if (share >= 1) return fail('media', title, found, { hint });
  return share >= NEARLY ? warn('media', title, found, { hint }) : pass('media', title, found);
}

function signingKey(facts: Facts, want: Wanted, context: CheckContext): Finding {
  const title = "the chat server's signing key is the site's";
  const [there, readable, form, hash] = facts.of('matrix-server', 'key').trim().split('\n');
  const fault = (reason: string): Finding =>
    fail('key', title, `${want.signingKey} ${reason}`, { hint: REBUILD });
  if (there !== 'there') return fault('is missing');
  if (readable !== 'yes') return fault(`cannot be read by ${want.account}`);
  if (form !== 'yes') return fault('is not a key of the form "ed25519 a_… …"');
  const secret = context.secrets.value(want.signingSecret);
  if (secret === undefined) return pass('key', title, 'there, and of the right form');
  return hash === createHash('sha256').update(secret.trim()).digest('hex')
    ? pass('key', title, "there, and the one of the site's secrets")
    : fault("is another one than in the site's secrets, so that this kit is another server");
}

function version(facts: Facts, want: Wanted): Finding {
  const title = 'the chat server is the planned version';
  const found = installedVersion(facts.of('matrix-server', 'version'));
  if (found === want.version) return pass('version', title, `Synapse ${found}`);
  return fail(
    'version',
    title,
    found === null ? `no Synapse in ${want.program}` : `Synapse ${found} instead of ${want.version}`,
    { hint: 'build and flash the card again' },
  );
}

export const check: Check = {
  kind: 'matrix-server',
  vantage: 'inside',
  always: false,
  title: 'the chat server has a sound database, room for files and its key',
  // Asked as the server's own account, so that what it may do is tried too. Of the key only a hash leaves the kit.
  probe(_plan, options) {
    const want = wanted(options);
    const as = `runuser -u ${quote(want.account)} --`;
    const key = quote(want.signingKey);
    const source = quote(want.source);
    return [
      'cd /',
      'part database',
      ...(want.database === 'postgres'
        ? [
            `ask() { timeout 20 ${as} psql -X -q -A -t -w -d ${source} -c "$1" 2>&1; }`,
            `ask ${quote(SQL)} && ask ${quote(SCHEMA_SQL)}`,
          ]
        : [
            `if stat -c %s -- ${source}; then`,
            `said=$(timeout ${EXAMINE_SECONDS} ${as} sqlite3 -readonly ${source} 'PRAGMA quick_check(1)' "SELECT 'schema ' || version FROM schema_version" 2>&1)`,
            `printf '%s\\n%s\\n' "$?" "$said"; fi`,
          ]),
      `part media; du -s -x -B1 -- ${quote(want.media)}`,
      'part key',
      `yes() { if "$@"; then echo yes; else echo no; fi; }`,
      `if [ -f ${key} ]; then echo there; yes ${as} test -r ${key}`,
      `yes grep -Eqzx 'ed25519 a_[A-Za-z0-9]+ [A-Za-z0-9+/]{43}[[:space:]]*' ${key}`,
      `printf %s "$(cat ${key})" | sha256sum | cut -d ' ' -f 1; fi`,
      `part version; echo ${quote(want.program)}/lib/python3*/site-packages/matrix_synapse-*.dist-info`,
    ].join('\n');
  },
  async run(context, options) {
    const want = wanted(options);
    const facts = await context.facts();
    return [
      database(facts, want),
      media(facts, want),
      signingKey(facts, want, context),
      version(facts, want),
    ];
  },
};
