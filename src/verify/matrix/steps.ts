import type { CheckContext } from '../check.js';
import { count, words } from '../check.js';
import {
  askMatrix,
  at,
  callMatrix,
  type JsonObject,
  jsonOf,
  listAt,
  MatrixRefusal,
  type MatrixRoute,
  openMatrix,
} from '../clients/matrix.js';
import { openTurn, type TurnClient } from '../clients/turn.js';
import { PREFIX } from '../people.js';
import { type MatrixPeople, removeStranger } from './people.js';

export interface MatrixTalk {
  readonly context: CheckContext;
  readonly route: MatrixRoute;
  /** What stands behind the colon of an address. */
  readonly server: string;
}

/** One step: gives what was seen, throws when it does not work. */
export interface MatrixStep<T = unknown> {
  readonly what: string;
  readonly title: string;
  readonly hint: string;
  run(talk: MatrixTalk, more: T): Promise<string>;
}

const REBUILD = 'build and flash the card again; if this stays, report it with this text';
const OPEN = 'the kit is open to strangers: build and flash the card again before handing it over';
const CLIENT = '/_matrix/client/v3';

/** A text nobody else sends, in several scripts. */
const sentence = ({ context }: MatrixTalk): string =>
  `${PREFIX}${context.host.random(6).toString('hex')}: 安 здравствуйте مرحبا`;

export const wellKnown: MatrixStep = {
  what: 'well-known',
  title: 'apps find the Matrix server by the domain',
  hint: REBUILD,
  async run({ context, route, server }) {
    const answer = await askMatrix(route, 'GET', `https://${server}/.well-known/matrix/client`);
    if (answer.status !== 200) throw new Error(`the web server answers HTTP ${answer.status}`);
    const found = at(jsonOf(answer), 'm.homeserver')['base_url'];
    if (typeof found !== 'string') throw new Error('the answer names no server');
    if (found.replace(/\/$/, '') !== route.baseUrl)
      throw new Error(`apps are sent to ${found} instead of ${route.baseUrl}`);
    // Element Web asks from a page of another name.
    if (answer.headers['access-control-allow-origin'] !== '*')
      throw new Error('apps in a browser may not read the answer');
    if (context.plan.site.federation.length === 0) {
      const sisters = await askMatrix(route, 'GET', `https://${server}/.well-known/matrix/server`);
      if (sisters.status === 200) throw new Error('other servers are told where this one is');
    }
    return `${server} leads to ${route.baseUrl}`;
  },
};

export const versions: MatrixStep = {
  what: 'versions',
  title: 'the Matrix server answers',
  hint: 'is it running? See the services above',
  async run({ route }) {
    const spoken = listAt(await callMatrix(route, 'GET', '/_matrix/client/versions'), 'versions').map(String);
    // v1.11 brought files that only people who are logged in can load.
    if (!spoken.includes('v1.11')) throw new Error(`it speaks no version apps need (${spoken.join(', ')})`);
    return `it speaks Matrix up to ${spoken.at(-1)}`;
  },
};

export const strangers: MatrixStep = {
  what: 'strangers',
  title: 'nobody makes an account without an invite',
  hint: OPEN,
  async run({ context, route }) {
    const username = `${PREFIX}${context.host.random(5).toString('hex')}`;
    const register = (auth: object | null): ReturnType<typeof askMatrix> =>
      askMatrix(route, 'POST', `${route.baseUrl}${CLIENT}/register`, {
        body: Buffer.from(
          JSON.stringify({
            username,
            password: context.host.random(18).toString('base64url'),
            inhibit_login: true,
            ...(auth === null ? {} : { auth }),
          }),
        ),
      });
    const first = await register(null);
    const offered = jsonOf(first);
    let open = first.status === 200;
    if (!open && first.status === 401) {
      const easy = listAt(offered, 'flows').some((flow) =>
        listAt(at(flow), 'stages').every((stage) => stage === 'm.login.dummy'),
      );
      const session = offered['session'];
      if (easy) open = (await register({ type: 'm.login.dummy', session })).status === 200;
      else {
        const guess = await register({ type: 'm.login.registration_token', token: 'guessed', session });
        if (guess.status === 200) open = true;
      }
    } else if (!open && first.status !== 403)
      throw new Error(`a stranger who wants an account is answered with HTTP ${first.status}`);
    if (open) {
      await removeStranger(context, username);
      throw new Error('an account could be made without an invite');
    }
    const guest = await askMatrix(route, 'POST', `${route.baseUrl}${CLIENT}/register?kind=guest`, {
      body: Buffer.from('{}'),
    });
    if (guest.status === 200) throw new Error('guests get in without an account');
    return 'without an invite, with a guessed one and as a guest: all refused';
  },
};

export const administration: MatrixStep = {
  what: 'administration',
  title: 'the administration of the Matrix server cannot be reached from outside',
  hint: OPEN,
  async run({ route, server }) {
    const names = [new URL(route.baseUrl).host, server];
    for (const name of new Set(names))
      for (const path of [
        '/_synapse/admin/v1/register',
        '/_synapse/admin/v1/server_version',
        '/_synapse//admin/v1/register',
      ]) {
        const { status } = await askMatrix(route, 'GET', `https://${name}${path}`);
        if (status !== 404 && status !== 403)
          throw new Error(`https://${name}${path} answers HTTP ${status} to everybody`);
      }
    return 'the web server does not pass it on';
  },
};

export const federation: MatrixStep = {
  what: 'federation',
  title: 'other servers cannot talk to this one',
  hint: OPEN,
  async run({ context, route, server }) {
    if (context.plan.site.federation.length > 0) {
      const { status } = await askMatrix(route, 'GET', `${route.baseUrl}/_matrix/federation/v1/version`);
      if (status !== 200) throw new Error(`sister sites get HTTP ${status}`);
      return `only ${count(context.plan.site.federation.length, 'sister site')} may`;
    }
    for (const name of new Set([new URL(route.baseUrl).host, server]))
      for (const path of ['/_matrix/federation/v1/version', '/_matrix/key/v2/server']) {
        const { status } = await askMatrix(route, 'GET', `https://${name}${path}`);
        if (status !== 404 && status !== 403)
          throw new Error(`https://${name}${path} answers HTTP ${status}`);
      }
    // No way to the port, or nobody there: both are what should be.
    const direct = await askMatrix(route, 'GET', `https://${server}:8448/_matrix/federation/v1/version`).then(
      ({ status }) => `HTTP ${status}`,
      (error: unknown) => (/certificate|self.signed/i.test(words(error)) ? words(error) : null),
    );
    if (direct !== null) throw new Error(`port 8448 answers: ${direct}`);
    return 'closed';
  },
};

export const password: MatrixStep<MatrixPeople> = {
  what: 'password',
  title: 'a wrong password is refused',
  hint: OPEN,
  async run({ route }, { anna }) {
    try {
      await (await openMatrix(route, { name: anna.login.name, password: 'wrong' })).close();
    } catch (error) {
      if (error instanceof MatrixRefusal && error.status === 403) return 'refused';
      throw error;
    }
    throw new Error('a wrong password was accepted');
  },
};

/** Makes the encrypted room both are in. */
export async function makeRoom(two: MatrixPeople): Promise<string> {
  const { anna, ben, made } = two;
  const answer = await anna.session.call('POST', `${CLIENT}/createRoom`, {
    preset: 'private_chat',
    invite: [ben.session.user],
    initial_state: [
      { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } },
    ],
  });
  const room = String(answer['room_id']);
  made.rooms.add(room);
  await ben.session.call('POST', `${CLIENT}/join/${encodeURIComponent(room)}`, {});
  await anna.session.sync();
  await ben.session.sync();
  return room;
}

interface InRoom {
  readonly two: MatrixPeople;
  readonly room: string;
}

export const messages: MatrixStep<InRoom> = {
  what: 'message',
  title: 'two people exchange encrypted messages',
  hint: REBUILD,
  async run(talk, { two: { anna, ben }, room }) {
    const members = [anna.session.user, ben.session.user];
    for (const [from, to] of [
      [anna.session, ben.session],
      [ben.session, anna.session],
    ] as const) {
      const text = sentence(talk);
      const id = await from.sendEncrypted(room, members, { msgtype: 'm.text', body: text });
      const event = await to.expect('an encrypted message', (found) => found.id === id);
      if ((await to.decrypt(event, room))['body'] !== text) throw new Error('another text came out');
      // What the server keeps, as anybody who reads its database would see it.
      const kept = await from.call(
        'GET',
        `${CLIENT}/rooms/${encodeURIComponent(room)}/event/${encodeURIComponent(id)}`,
      );
      if (kept['type'] !== 'm.room.encrypted' || JSON.stringify(kept).includes(text.slice(0, 19)))
        throw new Error('the server can read the message');
    }
    return 'both ways, and the server keeps only what it cannot read';
  },
};

export const file: MatrixStep<InRoom> = {
  what: 'file',
  title: 'an encrypted file can be sent',
  hint: 'is there room on the card, and is the web server running? See the checks above',
  async run(talk, { two: { anna, ben, made }, room }) {
    const bytes = talk.context.host.random(150_000);
    const sent = await anna.session.upload(bytes);
    made.media.add(sent.url);
    const id = await anna.session.sendEncrypted(room, [anna.session.user, ben.session.user], {
      msgtype: 'm.file',
      body: 'verify.bin',
      file: { ...at(JSON.parse(sent.info) as JsonObject), url: sent.url },
    });
    const event = await ben.session.expect('the message with the file', (found) => found.id === id);
    const told = at(await ben.session.decrypt(event, room), 'file');
    const stored = await ben.session.download(String(told['url']));
    if (stored.status !== 200) throw new Error(`the file cannot be loaded (HTTP ${stored.status})`);
    if (stored.body.includes(bytes.subarray(0, 64))) throw new Error('the server can read the file');
    const back = await ben.session.open(
      { url: String(told['url']), info: JSON.stringify(told) },
      stored.body,
    );
    if (!back.equals(bytes)) throw new Error('the file did not come back as it was');
    const path = sent.url.replace(/^mxc:\/\//, '');
    for (const address of [`_matrix/client/v1/media/download/${path}`, `_matrix/media/v3/download/${path}`]) {
      const { status } = await askMatrix(talk.route, 'GET', `${talk.route.baseUrl}/${address}`);
      if (status === 200) throw new Error('everybody can load the file without logging in');
    }
    return '150 kB went up encrypted and came back unchanged; strangers cannot load it';
  },
};

export const history: MatrixStep<InRoom> = {
  what: 'history',
  title: 'what was missed is there after coming back',
  hint: REBUILD,
  async run(talk, { two: { anna, ben }, room }) {
    const text = sentence(talk);
    const id = await anna.session.sendEncrypted(room, [anna.session.user, ben.session.user], {
      msgtype: 'm.text',
      body: text,
    });
    await ben.session.sync();
    const page = await ben.session.call(
      'GET',
      `${CLIENT}/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=20`,
    );
    const chunk = listAt(page, 'chunk').map((entry) => at(entry));
    const raw = chunk.find((event) => event['event_id'] === id);
    if (!raw) throw new Error('the history does not hold the last message');
    const event = { id, type: String(raw['type']), sender: String(raw['sender']), raw };
    if ((await ben.session.decrypt(event, room))['body'] !== text)
      throw new Error('the message from the history reads differently');
    return `${count(chunk.filter(({ type }) => type === 'm.room.encrypted').length, 'message')} found and read`;
  },
};

export const calls: MatrixStep<MatrixPeople> = {
  what: 'calls',
  title: 'a call between two apps can be relayed',
  hint: 'is the relay running, with the secret of this site? See the services above; else build and flash the card again',
  async run({ context }, { anna }) {
    const given = await anna.session.call('GET', `${CLIENT}/voip/turnServer`);
    const uris = listAt(given, 'uris').map(String);
    if (uris.length === 0) throw new Error('the Matrix server names no relay for calls');
    const credentials = { username: String(given['username']), password: String(given['password']) };
    const planned = context.plan.checks.find(({ kind }) => kind === 'turn-relay')?.options['host'];
    for (const uri of uris) {
      // RFC 7065: turn:host:port?transport=udp|tcp
      const match = /^turns?:([^:?]+)(?::(\d+))?(?:\?transport=(udp|tcp))?$/.exec(uri);
      if (!match) throw new Error(`apps cannot read the address of the relay: ${uri}`);
      const [, name, port = '3478', transport = 'udp'] = match;
      if (planned !== undefined && name !== planned)
        throw new Error(`apps are sent to ${name} for calls instead of ${String(planned)}`);
      const clients: TurnClient[] = [];
      try {
        for (let index = 0; index < 2; index += 1)
          clients.push(
            await openTurn(
              {
                transport: transport === 'tcp' ? 'tcp' : 'udp',
                endpoint:
                  transport === 'tcp' ? context.dialer.tcp(Number(port)) : context.dialer.udp(Number(port)),
              },
              credentials,
              context.signal,
            ),
          );
        const [a, b] = clients;
        if (!a || !b) throw new Error('no connection');
        const [one, two] = [await a.allocate(), await b.allocate()];
        await a.createPermission(two.relayed.ip);
        await b.createPermission(one.relayed.ip);
        const data = context.host.random(160);
        let arrived = false;
        for (let tries = 0; tries < 4 && !arrived; tries += 1) {
          a.send(two.relayed, data);
          arrived = (await b.receive(2000))?.data.equals(data) === true;
        }
        if (!arrived) throw new Error(`${uri} gives an address, but nothing sent to it arrives`);
      } finally {
        await Promise.all(clients.map((client) => client.close()));
      }
    }
    return `${count(uris.length, 'way')} to the relay, with credentials that work`;
  },
};
