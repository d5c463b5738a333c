// Two people of a kit, in a process of their own because it runs on the phone's side of the test network.
// Arguments: domain, password of ana and ben. Prints what they found as JSON.
import { client, xml } from '@xmpp/client';
import WebSocket from 'ws';

// Node 20 has none of its own, and @xmpp/websocket takes the global one.
globalThis.WebSocket = WebSocket;

const [domain, password] = process.argv.slice(2);
const groups = `groups.${domain}`;
const NS = {
  mam: 'urn:xmpp:mam:2',
  upload: 'urn:xmpp:http:upload:0',
  services: 'urn:xmpp:extdisco:2',
  pubsub: 'http://jabber.org/protocol/pubsub',
  muc: 'http://jabber.org/protocol/muc',
  form: 'jabber:x:data',
  info: 'http://jabber.org/protocol/disco#info',
};

async function login(username, service) {
  const xmpp = client({ service, domain, username, password });
  xmpp.on('error', () => {});
  const jid = await xmpp.start();
  return { xmpp, jid, bare: jid.bare().toString() };
}
function next(person, wanted) {
  return new Promise((resolve, reject) => {
    const timer = globalThis.setTimeout(() => reject(new Error(`nothing came: ${wanted}`)), 15_000);
    const look = (stanza) => {
      if (!wanted(stanza)) return;
      globalThis.clearTimeout(timer);
      person.xmpp.off('stanza', look);
      resolve(stanza);
    };
    person.xmpp.on('stanza', look);
  });
}
const ask = (person, type, to, child) =>
  person.xmpp.iqCaller.request(xml('iq', { type, ...(to ? { to } : {}) }, child), 15_000);
const condition = (promise) =>
  promise.then(
    () => 'allowed',
    (error) => error.condition ?? String(error),
  );

const ana = await login('ana', `xmpps://${domain}:5223`);
const ben = await login('ben', `xmpps://${domain}:5223`);
await ben.xmpp.send(xml('presence'));
await ana.xmpp.send(xml('presence'));
const found = {};

const arrives = next(ben, (stanza) => stanza.is('message') && stanza.getChildText('body') !== null);
await ana.xmpp.send(xml('message', { to: ben.bare, type: 'chat', id: 'm1' }, xml('body', {}, 'salam')));
found.message = (await arrives).getChildText('body');

const seen = [];
ben.xmpp.on('stanza', (stanza) => {
  const body = stanza
    .getChild('result', NS.mam)
    ?.getChild('forwarded')
    ?.getChild('message')
    ?.getChildText('body');
  if (body) seen.push(body);
});
await ask(ben, 'set', undefined, xml('query', { xmlns: NS.mam }));
found.history = seen;

const size = 12_000_000;
const slotFor = (bytes) =>
  ask(
    ana,
    'get',
    `share.${domain}`,
    xml('request', { xmlns: NS.upload, filename: 'x.bin', size: String(bytes) }),
  );
const slot = (await slotFor(size)).getChild('slot');
const headers = Object.fromEntries(
  slot
    .getChild('put')
    .getChildren('header')
    .map((one) => [one.attrs.name, one.text()]),
);
const put = await globalThis.fetch(slot.getChild('put').attrs.url, {
  method: 'PUT',
  headers,
  body: Buffer.alloc(size, 7),
});
found.upload = put.status;
const got = await globalThis.fetch(slot.getChild('get').attrs.url);
found.download = (await got.arrayBuffer()).byteLength;
found.tooLarge = await condition(slotFor(1_000_000_000));

const services = await ask(ana, 'get', domain, xml('services', { xmlns: NS.services }));
found.turn = services
  .getChild('services')
  .getChildren('service')
  .map((one) => `${one.attrs.type} ${one.attrs.transport} ${one.attrs.host}:${one.attrs.port}`)
  .sort();

const room = `circle@${groups}`;
const join = async (person, nick) => {
  const answer = next(person, (stanza) => stanza.is('presence') && stanza.attrs.from === `${room}/${nick}`);
  await person.xmpp.send(xml('presence', { to: `${room}/${nick}` }, xml('x', { xmlns: NS.muc })));
  const presence = await answer;
  return presence.attrs.type === 'error'
    ? presence.getChild('error').children.find((child) => child.attrs?.xmlns)?.name
    : 'inside';
};
await join(ana, 'Ana');
await ask(
  ana,
  'set',
  room,
  xml('query', { xmlns: `${NS.muc}#owner` }, xml('x', { xmlns: NS.form, type: 'submit' })),
);
found.uninvited = await join(ben, 'Ben');
await ask(
  ana,
  'set',
  room,
  xml('query', { xmlns: `${NS.muc}#admin` }, xml('item', { affiliation: 'member', jid: ben.bare })),
);
found.invited = await join(ben, 'Ben');
const info = await ask(ana, 'get', room, xml('query', { xmlns: NS.info }));
found.room = info
  .getChild('query')
  .getChildren('feature')
  .map((one) => one.attrs.var)
  .filter((name) =>
    /^muc_(hidden|public|membersonly|open|nonanonymous|semianonymous|persistent|temporary)$/.test(name),
  )
  .sort();

const node = 'eu.siacs.conversations.axolotl.bundles:1';
const field = (name, value) => xml('field', { var: name }, xml('value', {}, value));
const big = 'k'.repeat(100_000);
await ask(
  ana,
  'set',
  undefined,
  xml(
    'pubsub',
    { xmlns: NS.pubsub },
    xml(
      'publish',
      { node },
      xml('item', { id: 'current' }, xml('bundle', { xmlns: 'eu.siacs.conversations.axolotl' }, big)),
    ),
    xml(
      'publish-options',
      {},
      xml(
        'x',
        { xmlns: NS.form, type: 'submit' },
        xml('field', { var: 'FORM_TYPE', type: 'hidden' }, xml('value', {}, `${NS.pubsub}#publish-options`)),
        field('pubsub#access_model', 'open'),
        field('pubsub#persist_items', 'true'),
        field('pubsub#max_items', 'max'),
      ),
    ),
  ),
);
const bundle = await ask(ben, 'get', ana.bare, xml('pubsub', { xmlns: NS.pubsub }, xml('items', { node })));
found.bundle = bundle.getChild('pubsub').getChild('items').getChild('item').getChild('bundle').text().length;

const browser = await login('ana', `wss://${domain}/xmpp-websocket`);
found.websocket = browser.bare;
await Promise.all([ana, ben, browser].map((one) => one.xmpp.stop()));
console.log(JSON.stringify(found));
process.exit(0);
