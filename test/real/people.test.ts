import { readdirSync, readFileSync, statSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runPeople, type PeopleOptions } from '../../src/cli/commands/people.js';
import {
  carryOut,
  listAccounts,
  type Order,
  type Outcome,
  type Verb,
} from '../../src/cli/commands/people/kit.js';
import { loadProject } from '../../src/cli/commands/project.js';
import type { Cli } from '../../src/cli/context.js';
import { createTheme } from '../../src/cli/output/theme.js';
import { createHost } from '../../src/host/host.js';
import { packageRoot } from '../../src/host/paths.js';
import { connectSsh, type Ssh } from '../../src/host/ssh.js';
import { ensureIdentity, readIdentity } from '../../src/pki/identity.js';
import { service as coturn } from '../../src/services/coturn/service.js';
import { service as prosody } from '../../src/services/prosody/service.js';
import { service as web } from '../../src/services/web/service.js';
import { startChatKit, type ChatKit } from '../helpers/chat-kit.js';
import { startSshd, type TestSshd } from '../helpers/sshd.js';
import { startSynapse, type TestSynapse } from '../helpers/synapse.js';

const DOMAIN = 'moyo.home.arpa';
const PROFILE = `site:
  name: moyo
  title: Moyo clinic
board: pi4
network:
  mode: lan
services:
  prosody: true
  coturn: true
`;

// The operator's account, on this machine as sshd sees it.
const KIT = `
mount -t tmpfs tmpfs /srv
mkdir -p /srv/etc /srv/work
mount -t overlay overlay -o lowerdir=/etc,upperdir=/srv/etc,workdir=/srv/work /etc
echo 'kit:x:0:0::/:/bin/sh' >>/etc/passwd
echo 'kit:*:20000:0:99999:7:::' >>/etc/shadow
`;

const host = createHost();
let home: string;
let profile: string;
let forwards: string;
let kit: ChatKit;
let synapse: TestSynapse;
let sshd: TestSshd;
let ssh: Ssh;

beforeAll(async () => {
  home = await host.temporary('people');
  await chmod(home, 0o755);
  profile = join(home, 'moyo.yaml');
  await writeFile(profile, PROFILE);
  const { plan, profile: loaded } = await loadProject(profile);
  await ensureIdentity(host, {
    profilePath: profile,
    site: plan.site,
    certificates: plan.certificates,
    secrets: plan.secrets,
    given: loaded.given,
  });
  const { secrets } = await readIdentity(host, profile);
  [kit, synapse] = await Promise.all([
    startChatKit(host, plan.site, [coturn, prosody, web]),
    startSynapse(host, DOMAIN),
  ]);

  // Synapse runs on this machine: its program for accounts is the kit's but for where its settings lie.
  const script = await readFile(
    join(packageRoot(), 'templates/synapse/usr/libexec/commesh/people.d/synapse'),
    'utf8',
  );
  const settings = join(home, 'synapse.json');
  const moved = script.replace('"/etc/commesh/people/synapse.json"', JSON.stringify(settings));
  expect(moved).not.toBe(script);
  await writeFile(join(home, 'people-synapse'), moved);
  await writeFile(
    settings,
    JSON.stringify({ api: synapse.url, server: DOMAIN, secret: synapse.secret, inviteDays: 7 }),
  );
  await mkdir(join(home, 'bin'));
  await writeFile(
    join(home, 'bin/sudo'),
    `#!/bin/sh
test "$1" = -n && test $# = 3 || { echo "sudo: odd arguments: $*" >&2; exit 1; }
printf '%s\\n' "$*" >>${home}/asked
case $2 in
  /usr/libexec/commesh/people.d/prosody) exec ${kit.enterKit.join(' ')} "$2" "$3" ;;
  /usr/libexec/commesh/people.d/synapse) exec python3 -I ${home}/people-synapse "$3" ;;
esac
echo "sudo: $2: command not found" >&2
exit 1
`,
    { mode: 0o755 },
  );
  sshd = await startSshd(host, [join(home, 'bin')], KIT, {
    hostKey: secrets.value('ssh-host'),
    authorized: secrets.value('ssh-operator.pub'),
  });
  forwards = join(home, 'forwards.json');
  await writeFile(forwards, JSON.stringify({ address: '127.0.0.1', tcp: { 22: sshd.target.port }, udp: {} }));
  ssh = await connectSsh(host, {
    ...sshd.target,
    user: 'kit',
    privateKey: secrets.value('ssh-operator'),
    hostKeyPublic: secrets.value('ssh-host.pub'),
  });
}, 900_000);
afterAll(async () => {
  ssh.close();
  await host.close();
});

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly said: string;
}

/** Runs `commeshctl people` against the kit. */
async function people(options: Partial<PeopleOptions>, json = false): Promise<Ran> {
  let out = '';
  let said = '';
  const cli: Cli = {
    host,
    flags: { json, plain: true, quiet: false, verbose: false, cache: 'offline-cache' },
    theme: createTheme(false),
    out: (text) => {
      out += text;
    },
    say: (text) => {
      said += `${text}\n`;
    },
    concerns: () => {},
    interactive: false,
  };
  const code = await runPeople(cli, { profile, forwards, action: 'add', names: [], ...options });
  return { code, out, said };
}

/** Orders to one service, and what came of them. */
async function order(service: string, verb: Verb, orders: readonly Order[]): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = [];
  await carryOut(host, ssh, service, verb, orders, (outcome) => outcomes.push(outcome));
  return outcomes;
}

/** The last column of the line that begins with the name. */
function passphraseOf(text: string, name: string): string {
  return new RegExp(`^${name} .* (\\S+)$`, 'm').exec(text)?.[1] ?? `no line for ${name}`;
}

/** Logs in to Prosody from the phone: "in", or why not. */
async function xmppLogin(name: string, password: string): Promise<string> {
  const file = join(kit.work, 'password');
  await writeFile(file, password);
  const script = join(packageRoot(), 'test/helpers/chat-login.mjs');
  const { stdout, stderr } = await kit.phone(
    ...['sh', '-c', 'exec node "$1" "$2" "$3" <"$4"', 'sh', script, DOMAIN, name, file],
  );
  return stdout + stderr;
}

/** A request to Synapse as an app makes it. */
async function matrix(
  method: string,
  path: string,
  body?: unknown,
  token?: string,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const answer = await fetch(`${synapse.url}${path}`, {
    method,
    headers: {
      'Content-Type': 'application/json',
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

async function matrixLogin(name: string, password: string): Promise<string | number> {
  const { status, body } = await matrix('POST', '/_matrix/client/v3/login', {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: name },
    password,
  });
  return typeof body['access_token'] === 'string' ? body['access_token'] : status;
}

/** Command lines and environments of everything that runs, looked at again and again until `work` is done. */
async function watched(work: () => Promise<void>): Promise<string> {
  const seen = new Set<string>();
  let working = true;
  const look = (async () => {
    while (working) {
      for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
        for (const part of ['cmdline', 'environ']) {
          try {
            seen.add(readFileSync(`/proc/${pid}/${part}`, 'utf8').replaceAll('\0', ' '));
          } catch {
            // It has ended.
          }
        }
      await sleep(5);
    }
  })();
  await work().finally(() => {
    working = false;
  });
  await look;
  return [...seen].join('\n');
}

describe('commeshctl people, with Prosody', () => {
  it('makes people who can log in, and shows each passphrase once', async () => {
    const { code, out, said } = await people({ names: ['anna', 'ben'] });
    expect([code, said]).toEqual([0, '']);
    expect(out).toMatch(
      /^anna {2}anna@moyo\.home\.arpa {2}[a-z]+(-[a-z]+){3}\nben {3}ben@moyo\.home\.arpa {3}[a-z]+(-[a-z]+){3}$/,
    );
    expect(await xmppLogin('anna', passphraseOf(out, 'anna'))).toBe('in');
    expect(await xmppLogin('anna', passphraseOf(out, 'ben'))).toBe('not-authorized');
  });

  it('leaves people who are there as they are, says so, and ends with 1', async () => {
    const { code, out, said } = await people({ names: ['anna', 'cleo'], admin: true });
    expect(code).toBe(1);
    expect(said).toBe('anna (prosody): the name is taken; nothing was changed\n');
    expect(out).toMatch(/^cleo {2}cleo@/);
    const list = await people({ action: 'list' });
    expect(list.out.split('\n').map((line) => line.replace(/ +since .*/, ''))).toEqual([
      'anna@moyo.home.arpa',
      'ben@moyo.home.arpa',
      'cleo@moyo.home.arpa    administrator',
    ]);
  });

  it('sets a new passphrase; the one before is void', async () => {
    const before = passphraseOf((await people({ names: ['dora'] })).out, 'dora');
    const after = passphraseOf((await people({ action: 'reset', names: ['dora'] })).out, 'dora');
    expect(await xmppLogin('dora', after)).toBe('in');
    expect(await xmppLogin('dora', before)).toBe('not-authorized');
    const nobody = await people({ action: 'reset', names: ['nobody'] });
    expect(nobody).toEqual({ code: 1, out: '', said: 'nobody (prosody): there is nobody of this name\n' });
  });

  it('invites with links that open the page of the kit, for a name or for anybody', async () => {
    const { code, out } = await people({ action: 'invite', names: ['emil'] });
    expect(code).toBe(0);
    const link = /https:\/\/\S+/.exec(out)?.[0] ?? out;
    expect(out).toMatch(/^emil {2}https:\/\/moyo\.home\.arpa\/invite\?\S+ {2}until \d+ \w+ \d{4}$/);
    const page = await kit.phone('curl', '--silent', '--cacert', join(kit.work, 'ca.pem'), link);
    expect(page.stdout).toContain('Moyo clinic');
    const many = await people({ action: 'invite', number: 3 }, true);
    const links = (JSON.parse(many.out) as { people: { accounts: { link: string }[] }[] }).people.map(
      ({ accounts }) => accounts[0]?.link,
    );
    expect(new Set(links).size).toBe(3);
    expect((await people({ action: 'invite', names: ['anna'] })).said).toContain(
      'anna (prosody): the name is taken',
    );
  });

  it('removes a person, also from groups, so that nobody inherits them', async () => {
    const passphrase = passphraseOf((await people({ names: ['femi'] })).out, 'femi');
    const room = `prosody.hosts["groups.${DOMAIN}"].modules.muc.create_room("team@groups.${DOMAIN}")`;
    const inRoom = async (): Promise<string> =>
      (
        await kit.kit(
          ...['prosodyctl', 'shell'],
          `> tostring(prosody.hosts["groups.${DOMAIN}"].modules.muc.get_room_from_jid("team@groups.${DOMAIN}"):get_affiliation("femi@${DOMAIN}"))`,
        )
      ).stdout;
    await kit.kit('prosodyctl', 'shell', `> ${room}:set_affiliation(true, "femi@${DOMAIN}", "member")`);
    expect(await inRoom()).toContain('member');
    expect(await people({ action: 'remove', names: ['femi'] })).toMatchObject({
      code: 0,
      out: 'femi  femi@moyo.home.arpa  removed',
    });
    expect(await xmppLogin('femi', passphrase)).toBe('not-authorized');
    expect(await inRoom()).toContain('nil');
  });

  it('makes a whole village from a list, on cards only the operator can read', async () => {
    const names = Array.from({ length: 30 }, (_none, index) => `person${index + 1}`);
    const file = join(home, 'village.csv');
    await writeFile(file, ['name,called', ...names.map((name) => `${name},"Person, ${name}"`)].join('\r\n'));
    const cards = join(home, 'cards.html');
    const { code, out, said } = await people({ from: file, cards });
    expect([code, said]).toEqual([0, '']);
    expect(out).toMatch(/^30 cards are in /);
    expect(statSync(cards).mode & 0o777).toBe(0o600);
    const html = await readFile(cards, 'utf8');
    expect(html.match(/<section>/g)?.length).toBe(30);
    expect(html).toContain('Person, person30');
    expect(html).not.toMatch(/src=|@import|url\(/);
    const passphrase = /person17@[^]*?([a-z]+(?:-[a-z]+){3})</.exec(html)?.[1] ?? '';
    expect(out).not.toContain(passphrase);
    expect(await xmppLogin('person17', passphrase)).toBe('in');
    await expect(people({ names: ['late'], cards })).rejects.toThrow('exists already');
    expect((await people({ action: 'list' })).out).not.toContain('late@');
  });

  it('puts no passphrase into a command line, an environment or a log', async () => {
    let ran: Ran | undefined;
    const seen = await watched(async () => {
      ran = await people({ names: Array.from({ length: 20 }, (_none, index) => `quiet${index}`) });
    });
    const passphrases = (ran?.out ?? '').split('\n').map((line) => line.split(/ +/)[2] ?? '');
    expect(passphrases.length).toBe(20);
    // It was seen at all.
    expect(seen).toContain('/usr/libexec/commesh/people.d/prosody add');
    const logs = seen + (await kit.log('prosody')) + (await readFile(join(home, 'asked'), 'utf8'));
    for (const passphrase of passphrases) {
      expect(passphrase).toMatch(/^[a-z]+(-[a-z]+){3}$/);
      expect(logs).not.toContain(passphrase);
    }
  });

  it('says when the kit has no such program', async () => {
    await expect(order('jabber', 'add', [{ name: 'anna', password: 'long-enough' }])).rejects.toThrow(
      'the kit has no program for the accounts of jabber',
    );
  });

  it('makes temporary people for verify and takes them away again, and nobody else', async () => {
    const command = 'sudo -n /usr/libexec/commesh/people.d/prosody';
    const made = await ssh.exec(`${command} temporary`, { stdin: '{"count":2}' });
    const guests = JSON.parse(made.stdout) as { name: string; address: string; password: string }[];
    expect(guests.map(({ address }) => address)).toEqual(guests.map(({ name }) => `${name}@${DOMAIN}`));
    expect(await xmppLogin(guests[0]?.name ?? '', guests[0]?.password ?? '')).toBe('in');
    const refused = await ssh.exec(`${command} tidy`, { stdin: '{"names":["anna"],"rooms":[],"media":[]}' });
    expect([refused.code, refused.stderr]).toEqual([
      1,
      'only accounts of commeshctl verify are tidied, not "anna"\n',
    ]);
    const names = guests.map(({ name }) => name);
    const tidied = await ssh.exec(`${command} tidy`, {
      stdin: JSON.stringify({ names, rooms: [], media: [] }),
    });
    expect([tidied.code, tidied.stdout]).toEqual([0, '{"left":[]}\n']);
    const { out } = await people({ action: 'list' });
    expect(out).not.toContain('verify-');
    expect(out).toContain('anna@');
  });
});

describe('the accounts of Synapse', () => {
  const person = (name: string, more: Partial<Order> = {}): Order => ({
    name,
    password: `words-for-${name}`,
    ...more,
  });

  it('are made, also for administrators, and their people can log in', async () => {
    expect(
      await order('synapse', 'add', [
        person('anna', { display: 'Anna Moyo' }),
        person('ben', { admin: true }),
      ]),
    ).toEqual([
      { name: 'anna', state: 'done', address: `@anna:${DOMAIN}` },
      { name: 'ben', state: 'done', address: `@ben:${DOMAIN}` },
    ]);
    expect(await matrixLogin('anna', 'words-for-anna')).toEqual(expect.any(String));
    expect(await matrixLogin('anna', 'words-for-ben')).toBe(403);
    expect(await listAccounts(ssh, 'synapse')).toMatchObject([
      {
        name: 'anna',
        address: `@anna:${DOMAIN}`,
        admin: false,
        display: 'Anna Moyo',
        created: expect.any(Number),
      },
      { name: 'ben', admin: true },
    ]);
    const [{ created = 0 } = {}] = await listAccounts(ssh, 'synapse');
    expect(Math.abs(created - Date.now() / 1000)).toBeLessThan(3600);
  });

  it('leaves people who are there as they are, and refuses odd names', async () => {
    expect(
      await order('synapse', 'add', [
        person('anna', { password: 'another-one' }),
        person('Zoé'),
        person('123'),
        person('verify-me'),
        person('kit-service'),
      ]),
    ).toMatchObject([
      { name: 'anna', state: 'exists' },
      { state: 'refused', why: expect.stringContaining('small letters') },
      { state: 'refused', why: expect.stringContaining('digits only') },
      { state: 'refused', why: expect.stringContaining('commeshctl verify') },
      { state: 'refused', why: expect.stringContaining('commeshctl itself') },
    ]);
    expect(await matrixLogin('anna', 'another-one')).toBe(403);
  });

  it('get a new passphrase; other devices are logged out', async () => {
    await order('synapse', 'add', [person('cleo')]);
    const token = String(await matrixLogin('cleo', 'words-for-cleo'));
    expect((await matrix('GET', '/_matrix/client/v3/account/whoami', undefined, token)).status).toBe(200);
    expect(
      await order('synapse', 'reset', [person('cleo', { password: 'new-words-for-her' })]),
    ).toMatchObject([{ state: 'done' }]);
    expect((await matrix('GET', '/_matrix/client/v3/account/whoami', undefined, token)).status).toBe(401);
    expect(await matrixLogin('cleo', 'words-for-cleo')).toBe(403);
    expect(await matrixLogin('cleo', 'new-words-for-her')).toEqual(expect.any(String));
    expect(await order('synapse', 'reset', [person('nobody')])).toMatchObject([{ state: 'unknown' }]);
  });

  it('are removed for good: the name is never given out again', async () => {
    await order('synapse', 'add', [person('dora')]);
    expect(await order('synapse', 'remove', [{ name: 'dora' }])).toMatchObject([{ state: 'done' }]);
    expect(await matrixLogin('dora', 'words-for-dora')).toBe(403);
    expect(await order('synapse', 'add', [person('dora')])).toMatchObject([{ state: 'removed' }]);
    expect(await order('synapse', 'remove', [{ name: 'dora' }])).toMatchObject([{ state: 'removed' }]);
    expect((await listAccounts(ssh, 'synapse')).map(({ name }) => name)).not.toContain('dora');
  });

  it('can be made with an invitation, once', async () => {
    const word = 'hand-made-words-here';
    const [invited] = await order('synapse', 'invite', [{ name: null, word }]);
    expect(invited).toMatchObject({ state: 'done', word });
    expect(((invited?.expires ?? 0) - Date.now() / 1000) / 86_400).toBeCloseTo(7, 1);
    const register = async (username: string): Promise<number> => {
      const path = '/_matrix/client/v3/register';
      const account = { username, password: 'words-of-their-own' };
      const begun = await matrix('POST', path, account);
      const session = begun.body['session'];
      const token = { type: 'm.login.registration_token', token: word, session };
      const passed = await matrix('POST', path, { ...account, auth: token });
      if (passed.status === 200) return 200;
      return (await matrix('POST', path, { ...account, auth: { type: 'm.login.dummy', session } })).status;
    };
    expect(await register('emil')).toBe(200);
    expect(await register('emilia')).toBe(401);
  });

  it('leave no passphrase in a command line, an environment or a log, and no session behind', async () => {
    const seen = await watched(async () => {
      await order('synapse', 'add', [person('femi', { password: 'quiet-words-of-femi' }), person('gus')]);
      await listAccounts(ssh, 'synapse');
    });
    expect(seen).toContain('people-synapse add');
    const logs = seen + (await synapse.log()) + (await readFile(join(home, 'asked'), 'utf8'));
    expect(logs).not.toContain('quiet-words-of-femi');
    expect(logs).not.toContain(synapse.secret);
    const devices = await host.exec(
      [
        ...[
          'python3',
          '-c',
          'import sqlite3,sys;print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall())',
        ],
        synapse.database,
        `select count(*) from access_tokens where user_id = '@kit-service:${DOMAIN}'`,
      ],
      {},
    );
    expect(devices.stdout.trim()).toBe('[(0,)]');
  });

  it('made for verify go away with their rooms and files, and nobody else', async () => {
    const command = 'sudo -n /usr/libexec/commesh/people.d/synapse';
    const made = await ssh.exec(`${command} temporary`, { stdin: '{"count":2}' });
    const guests = JSON.parse(made.stdout) as { name: string; address: string; password: string }[];
    const tokens: string[] = [];
    for (const guest of guests) tokens.push(String(await matrixLogin(guest.name, guest.password)));
    const [first = '', second = ''] = tokens;
    const created = await matrix(
      'POST',
      '/_matrix/client/v3/createRoom',
      { preset: 'private_chat', invite: [guests[1]?.address] },
      first,
    );
    const room = String(created.body['room_id']);
    await matrix('POST', `/_matrix/client/v3/join/${encodeURIComponent(room)}`, {}, second);
    const upload = await fetch(`${synapse.url}/_matrix/media/v3/upload`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${first}`, 'Content-Type': 'application/octet-stream' },
      body: 'bytes of verify',
    });
    const { content_uri: media } = (await upload.json()) as { content_uri: string };
    // A room that verify's account is in together with somebody else is not verify's to purge.
    const anna = String(await matrixLogin('anna', 'words-for-anna'));
    const other = await matrix('POST', '/_matrix/client/v3/createRoom', { preset: 'public_chat' }, anna);
    const shared = String(other.body['room_id']);
    await matrix('POST', `/_matrix/client/v3/join/${encodeURIComponent(shared)}`, {}, first);

    const names = guests.map(({ name }) => name);
    const tidied = await ssh.exec(`${command} tidy`, {
      stdin: JSON.stringify({ names, rooms: [room], media: [media] }),
    });
    expect([tidied.code, tidied.stderr, tidied.stdout]).toEqual([0, '', '{"left": []}\n']);
    const count = async (question: string): Promise<number> => {
      const { stdout } = await host.exec([
        ...[
          'python3',
          '-c',
          'import sqlite3,sys;print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])',
        ],
        synapse.database,
        question,
      ]);
      return Number(stdout);
    };
    expect(await count(`select count(*) from events where room_id = '${room}'`)).toBe(0);
    expect(await count(`select count(*) from events where room_id = '${shared}'`)).toBeGreaterThan(0);
    expect(await count(`select count(*) from local_media_repository`)).toBe(0);
    expect(await count(`select count(*) from users where name like '@verify-%' and deactivated = 0`)).toBe(0);
    expect((await matrix('GET', '/_matrix/client/v3/account/whoami', undefined, anna)).status).toBe(200);
    const again = await ssh.exec(`${command} tidy`, {
      stdin: JSON.stringify({ names, rooms: [room], media: [media] }),
    });
    expect([again.code, again.stderr]).toEqual([0, '']);
    const refused = await ssh.exec(`${command} tidy`, { stdin: '{"names":["anna"],"rooms":[],"media":[]}' });
    expect([refused.code, refused.stderr]).toEqual([
      1,
      'only accounts of commeshctl verify are tidied, not "anna"\n',
    ]);
  });

  it('cannot be looked after while the server is stopped, and the kit says so', async () => {
    await synapse.stop();
    await expect(order('synapse', 'add', [person('late')])).rejects.toThrow(
      'the Matrix server (Synapse) does not answer',
    );
  });
});
