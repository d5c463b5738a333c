import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  AutoDiscovery,
  ClientEvent,
  createClient,
  EventType,
  MsgType,
  Preset,
  SyncState,
  type IContent,
  type MatrixClient,
} from 'matrix-js-sdk';
import { logger as commonLogger, type Logger } from 'matrix-js-sdk/lib/logger.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHost } from '../../src/host/host.js';
import type { Site } from '../../src/services/contract.js';
import { service as coturn } from '../../src/services/coturn/service.js';
import { service as synapse } from '../../src/services/synapse/service.js';
import { service as web } from '../../src/services/web/service.js';
import { fetchWeb } from '../../src/verify/clients/https.js';
import { openMatrix } from '../../src/verify/clients/matrix.js';
import { createDialer } from '../../src/verify/dialer.js';
import { SITE } from '../fixtures/verify-plan.js';
import { startChatKit, type ChatKit } from '../helpers/chat-kit.js';

// Clients people really use, against the kit's own programs: nginx, Synapse from its wheels, PostgreSQL.

// The SDK is made for Node 22; this is all that Node 20 lacks.
if (!('withResolvers' in Promise))
  Object.assign(Promise, {
    withResolvers() {
      let settle: unknown;
      const promise = new Promise((resolve, reject) => (settle = { resolve, reject }));
      return Object.assign({ promise }, settle);
    },
  });

const host = createHost();
const site: Site = { ...SITE, memoryMiB: 4096 };
const { domain } = site;
const PASSWORD = 'a-long-password';
const PYTHON = '/usr/lib/commesh/synapse/bin/python';
const MEGOLM = 'm.megolm.v1.aes-sha2';
const person = (name: string): string => `@${name}:${domain}`;

let kit: ChatKit;
let https: number;
let baseUrl: string;

/** Fetch over the site's CA alone, names of the site at the kit. */
const fetchFn: typeof fetch = async (input, init = {}) => {
  const url = new URL(input instanceof Request ? input.url : input);
  const answer = await fetchWeb({
    endpoint: { host: '127.0.0.1', port: https },
    hostname: url.hostname,
    path: url.pathname + url.search,
    caPem: kit.caPem,
    method: init.method ?? 'GET',
    headers: Object.fromEntries(new Headers(init.headers)),
    ...(init.body === undefined || init.body === null ? {} : { body: Buffer.from(String(init.body)) }),
    ...(init.signal ? { signal: init.signal } : {}),
  });
  return new Response(answer.body.length === 0 ? null : new Uint8Array(answer.body), {
    status: answer.status,
    headers: { 'Content-Type': answer.headers['content-type'] ?? '' },
  });
};

/** What the clients complain about; the rest of what they say is of no use here. */
const complaints: string[] = [];
const ignore = (): void => {};
const logger: Logger = {
  ...{ trace: ignore, debug: ignore, info: ignore, warn: ignore },
  error: (...words: readonly unknown[]) => void complaints.push(words.join(' ')),
  getChild: () => logger,
};
// Not all of the SDK asks for the one it is given.
Object.assign(commonLogger, logger, { log: ignore });

/** What a client asks for until it is there. */
async function until<T>(what: string, look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (let tries = 0; tries < 600; tries += 1) {
    const found = await look();
    if (found !== undefined) return found;
    await sleep(200);
  }
  throw new Error(`${what} did not come`);
}

const logIn = (name: string) =>
  createClient({ baseUrl, fetchFn, logger }).loginRequest({
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: name },
    password: PASSWORD,
  });

/** A device of somebody: logged in, with new keys, and in sync. */
async function device(name: string): Promise<MatrixClient> {
  const login = await logIn(name);
  const client = createClient({
    baseUrl,
    fetchFn,
    logger,
    userId: login.user_id,
    deviceId: login.device_id,
    accessToken: login.access_token,
  });
  await client.initRustCrypto({ useIndexedDB: false });
  const ready = new Promise<void>((done) =>
    client.on(ClientEvent.Sync, (state) => state === SyncState.Prepared && done()),
  );
  await client.startClient({ pollTimeout: 5000 });
  await ready;
  return client;
}

/** An encrypted room with somebody invited. */
async function makeRoom(client: MatrixClient, name: string, invite: readonly string[]): Promise<string> {
  const { room_id } = await client.createRoom({
    name,
    preset: Preset.PrivateChat,
    invite: invite.map(person),
    initial_state: [{ type: EventType.RoomEncryption, state_key: '', content: { algorithm: MEGOLM } }],
  });
  await until('the room', () => client.getRoom(room_id) ?? undefined);
  return room_id;
}

async function joined(client: MatrixClient, room: string, name: string): Promise<void> {
  await until(`${name} in the room`, () =>
    client.getRoom(room)?.getMember(person(name))?.membership === 'join' ? true : undefined,
  );
}

const say = async (client: MatrixClient, room: string, body: string): Promise<string> =>
  (await client.sendEvent(room, EventType.RoomMessage, { msgtype: MsgType.Text, body })).event_id;

/** The message with this text, once it is there and read. @returns who sent it, and as what it came over the wire. */
const hear = (client: MatrixClient, room: string, body: string): Promise<readonly (string | undefined)[]> =>
  until(`"${body}"`, () => {
    const events = client.getRoom(room)?.getLiveTimeline().getEvents() ?? [];
    const found = events.find((event) => event.getContent<IContent>()['body'] === body);
    return found && [found.getSender(), found.getWireType()];
  });

const asDatabaseUser = (...argv: string[]) => kit.kit('runuser', '-u', 'matrix-synapse', '--', ...argv);
/** Everything the server keeps in its database, as text. */
async function dump(): Promise<string> {
  const { stdout, exitCode } = await asDatabaseUser('pg_dump', '--data-only', 'synapse');
  expect(exitCode).toBe(0);
  return stdout;
}
/** Rows of a query, columns divided by a bar. */
const ask = async (sql: string): Promise<string> =>
  (await asDatabaseUser('psql', '-X', '-A', '-t', '-d', 'synapse', '-c', sql)).stdout.trim();

let anna: MatrixClient;
let ben: MatrixClient;

beforeAll(async () => {
  kit = await startChatKit(host, site, [coturn, synapse, web]);
  https = await kit.reach(443);
  for (const name of ['anna', 'ben', 'cleo', 'emil']) {
    const account = ['-u', name, '-p', PASSWORD, '--no-admin', '-c', '/etc/matrix-synapse/homeserver.yaml'];
    const made = await kit.kit(
      ...[PYTHON, '-m', 'synapse._scripts.register_new_matrix_user', ...account, 'http://127.0.0.1:8008'],
    );
    expect(made.stdout).toContain('Success');
  }
  // As an app does that is told nothing but the domain.
  AutoDiscovery.setFetchFn(fetchFn);
  const found = (await AutoDiscovery.findClientConfig(domain))['m.homeserver'];
  expect(found).toMatchObject({ state: 'SUCCESS', base_url: `https://matrix.${domain}` });
  baseUrl = found.base_url ?? '';
  anna = await device('anna');
  ben = await device('ben');
}, 900_000);
afterAll(async () => {
  anna?.stopClient();
  ben?.stopClient();
  await host.close();
  expect(complaints).toEqual([]);
});

describe('matrix-js-sdk', () => {
  it('reads in an encrypted room what the server cannot', async () => {
    const room = await makeRoom(anna, 'Night shift', ['ben']);
    await ben.joinRoom(room);
    await joined(anna, room, 'ben');
    await say(anna, room, 'the-generator-is-running');
    expect(await hear(ben, room, 'the-generator-is-running')).toEqual([person('anna'), 'm.room.encrypted']);
    await say(ben, room, 'only-until-six');
    expect(await hear(anna, room, 'only-until-six')).toEqual([person('ben'), 'm.room.encrypted']);

    // In a room without encryption the server does keep the text: it is looked for in the right place.
    const open = (await anna.createRoom({ preset: Preset.PrivateChat })).room_id;
    await say(anna, open, 'anybody-may-read-this');
    const kept = await dump();
    expect(kept).toContain('anybody-may-read-this');
    expect(kept).not.toContain('the-generator-is-running');
    expect(kept).not.toContain('only-until-six');
    const messages = `select type, count(*) from events where room_id = '${room}'
      and type in ('m.room.encrypted', 'm.room.message') group by type`;
    expect(await ask(messages)).toBe('m.room.encrypted|2');
    // Nor is it in the log of the database or in a file of the server.
    const { stdout: files } = await kit.kit(
      'grep',
      '-rlaE',
      'generator-is-running|only-until-six',
      '/srv',
      '/var',
    );
    expect(files).toBe('');
  });

  it('and the client of "commeshctl verify" read each other', async () => {
    const dialer = createDialer(site.network.address, {
      address: '127.0.0.1',
      tcp: { 443: https },
      udp: {},
    });
    const cleo = await openMatrix(
      { baseUrl, dialer, caPem: kit.caPem },
      { name: 'cleo', password: PASSWORD },
    );
    const room = await makeRoom(anna, 'Two kinds', ['cleo']);
    await cleo.call('POST', `/_matrix/client/v3/join/${encodeURIComponent(room)}`, {});
    await cleo.sync();
    await joined(anna, room, 'cleo');
    const id = await say(anna, room, 'can-you-read-this');
    const event = await cleo.expect('the message', (one) => one.id === id, 60_000);
    expect([event.type, (await cleo.decrypt(event, room))['body']]).toEqual([
      'm.room.encrypted',
      'can-you-read-this',
    ]);
    await cleo.sendEncrypted(room, [person('anna'), person('cleo')], {
      msgtype: 'm.text',
      body: 'word-for-word',
    });
    expect(await hear(anna, room, 'word-for-word')).toEqual([person('cleo'), 'm.room.encrypted']);
    await cleo.close();
    expect(await dump()).not.toMatch(/can-you-read-this|word-for-word/);
  });
});

/** Arguments: a folder with the site's CA; it is trusted as by a computer it is installed on. */
const NHEKO = `
mount --bind "$1/ca.pem" /etc/ssl/certs/ca-certificates.crt
cd "$1/nheko"
export HOME=$PWD XDG_CONFIG_HOME=$PWD XDG_DATA_HOME=$PWD XDG_CACHE_HOME=$PWD XDG_RUNTIME_DIR=$PWD/run
export QT_QPA_PLATFORM=offscreen QT_QUICK_BACKEND=software
nheko --log-level debug > log 2>&1 &
echo $! > pid
wait $! || true`;

describe('nheko', () => {
  it('starts with an account of the kit, publishes its keys and takes that of an encrypted room', async () => {
    const emil = await logIn('emil');
    const home = join(kit.work, 'nheko');
    await mkdir(join(home, 'nheko'), { recursive: true });
    await mkdir(join(home, 'run'), { mode: 0o700 });
    const profile = {
      access_token: emil.access_token,
      device_id: emil.device_id,
      home_server: baseUrl,
      user_id: emil.user_id,
    };
    const lines = Object.entries(profile).map(([name, value]) => `${name}=${value}`);
    await writeFile(
      join(home, 'nheko/nheko.conf'),
      ['[General]', 'run_without_secure_secrets_service=true', '[auth]', ...lines, ''].join('\n'),
    );
    const room = await makeRoom(anna, 'Desktop', ['emil']);
    await createClient({ baseUrl, fetchFn, logger, accessToken: emil.access_token }).joinRoom(room);
    await joined(anna, room, 'emil');

    const running = kit.phone('unshare', '--mount', 'sh', '-euc', NHEKO, 'sh', kit.work);
    const log = (): Promise<string> => readFile(join(home, 'log'), 'utf8').catch(() => '');
    const says = (text: string): Promise<true> =>
      until(`"${text}" in the log of nheko`, async () => ((await log()).includes(text) ? true : undefined));
    try {
      await says('initial sync completed');
      const devices = await anna.getCrypto()?.getUserDeviceInfo([person('emil')], true);
      const theirs = [...(devices?.get(person('emil'))?.values() ?? [])];
      expect(theirs.map(({ deviceId }) => deviceId)).toEqual([emil.device_id]);
      expect(await log()).toContain(`ed25519   : ${theirs[0]?.getFingerprint()}`);
      await say(anna, room, 'good-evening-desktop');
      await says(`established inbound megolm session (${room}, ${person('anna')})`);
    } finally {
      await kit.phone('sh', '-c', 'kill "$(cat "$1")"', 'sh', join(home, 'pid'));
      await running;
    }
  });
});
