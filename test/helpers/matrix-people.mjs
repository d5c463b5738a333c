// Two people of a kit, as their apps would: node matrix-people.mjs DOMAIN TOKEN PASSWORD. Prints what they saw as JSON.
/* global fetch, TextDecoder */
import { randomBytes } from 'node:crypto';

const [domain, token, password] = process.argv.slice(2);
const wellKnown = await fetch(`https://${domain}/.well-known/matrix/client`);
const { 'm.homeserver': home } = await wellKnown.json();
const base = home.base_url;

async function call(method, path, body, access) {
  const answer = await fetch(`${base}${path}`, {
    method,
    headers: {
      ...(access ? { authorization: `Bearer ${access}` } : {}),
      ...(body instanceof Uint8Array
        ? { 'content-type': 'application/octet-stream' }
        : { 'content-type': 'application/json' }),
    },
    body: body === undefined ? undefined : body instanceof Uint8Array ? body : JSON.stringify(body),
  });
  const bytes = new Uint8Array(await answer.arrayBuffer());
  const text = new TextDecoder().decode(bytes);
  let json = {};
  if (text.startsWith('{')) json = JSON.parse(text);
  return { status: answer.status, json, bytes };
}
const client = '/_matrix/client/v3';
const auth = (type, session, more) => ({ auth: { type, session, ...more } });

async function register(username) {
  const first = await call('POST', `${client}/register`, { username, password });
  const { session } = first.json;
  await call('POST', `${client}/register`, {
    username,
    password,
    ...auth('m.login.registration_token', session, { token }),
  });
  const done = await call('POST', `${client}/register`, {
    username,
    password,
    ...auth('m.login.dummy', session),
  });
  return done.json;
}

const uninvited = await call('POST', `${client}/register`, { username: 'mallory', password });
const guest = await call('POST', `${client}/register?kind=guest`, {});
const wrong = await call(
  'GET',
  `/_matrix/client/v1/register/m.login.registration_token/validity?token=nonsense`,
);
const ana = await register('ana');
const ben = await register('ben');
const login = await call('POST', `${client}/login`, {
  type: 'm.login.password',
  identifier: { type: 'm.id.user', user: 'ana' },
  password,
});
const me = login.json.access_token;
const room = await call(
  'POST',
  `${client}/createRoom`,
  { preset: 'private_chat', invite: [ben.user_id] },
  me,
);
const id = encodeURIComponent(room.json.room_id);
await call('POST', `${client}/join/${id}`, {}, ben.access_token);
const since = (await call('GET', `${client}/sync`, undefined, ben.access_token)).json.next_batch;
await call('PUT', `${client}/rooms/${id}/send/m.room.message/1`, { msgtype: 'm.text', body: 'salam' }, me);
const sync = await call('GET', `${client}/sync?since=${since}&timeout=10000`, undefined, ben.access_token);
const encryption = await call('GET', `${client}/rooms/${id}/state/m.room.encryption`, undefined, me);
const picture = new Uint8Array(randomBytes(9_000_000));
const upload = await call('POST', '/_matrix/media/v3/upload?filename=p.png', picture, me);
const [, , server, media] = (upload.json.content_uri ?? '').split('/');
const download = await call(
  'GET',
  `/_matrix/client/v1/media/download/${server}/${media}`,
  undefined,
  ben.access_token,
);
const { json: limits } = await call('GET', '/_matrix/client/v1/media/config', undefined, me);
const tooLarge = await call(
  'POST',
  '/_matrix/media/v3/upload',
  new Uint8Array(limits['m.upload.size'] + 1),
  me,
);
const found = await call('POST', `${client}/user_directory/search`, { search_term: 'ben' }, me);
const turn = await call('GET', `${client}/voip/turnServer`, undefined, me);
const previews = await call(
  'GET',
  '/_matrix/client/v1/media/preview_url?url=https://example.org/',
  undefined,
  me,
);
const elsewhere = await call('POST', `${client}/join/${encodeURIComponent('#room:example.org')}`, {}, me);
console.log(
  JSON.stringify({
    base,
    anyOrigin: wellKnown.headers.get('access-control-allow-origin'),
    uninvited: uninvited.json.flows?.every((flow) => flow.stages.includes('m.login.registration_token')),
    guest: guest.status,
    wrongToken: wrong.json.valid,
    people: [ana.user_id, ben.user_id],
    message: sync.json.rooms?.join?.[room.json.room_id]?.timeline.events.at(-1)?.content.body,
    encryption: encryption.json.algorithm,
    same: Buffer.from(download.bytes).equals(Buffer.from(picture)),
    tooLarge: tooLarge.status,
    found: found.json.results?.map((one) => one.user_id),
    turn: turn.json,
    previews: previews.status,
    elsewhere: elsewhere.status,
    admin: (await call('GET', '/_synapse/admin/v1/server_version', undefined, me)).status,
    federation: (await call('GET', '/_matrix/federation/v1/version')).status,
  }),
);
