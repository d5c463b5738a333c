import type { Check, CheckContext, Finding } from '../check.js';
import { count, fail, pass, skip, words } from '../check.js';
import { fetchWeb, lookAtTls } from '../clients/https.js';
import { type Element, openXmpp, registerWithoutInvite, xml } from '../clients/xmpp.js';
import {
  chatRoute,
  externalServices,
  newLogin,
  type People,
  people,
  PREFIX,
  removeLater,
} from '../people.js';

const MAM = 'urn:xmpp:mam:2';
const OMEMO = 'urn:xmpp:omemo:2:devices';

interface Talk {
  readonly context: CheckContext;
  readonly domain: string;
  readonly groups: string;
  readonly share: string;
  readonly people: People;
}

/** One step of the conversation: gives what was seen, throws when it does not work. */
interface Step {
  readonly what: string;
  readonly title: string;
  readonly hint: string;
  run(talk: Talk): Promise<string>;
}

const BUILT = 'build and flash the card again; if this stays, report it with this text';
const bodyIs = (text: string, type: string) => (stanza: Element) =>
  stanza.is('message') && stanza.attrs['type'] === type && stanza.getChildText('body') === text;

function sentence(context: CheckContext): string {
  return `${PREFIX}${context.host.random(6).toString('hex')}: 安 здравствуйте مرحبا`;
}

/** Asks an archive (XEP-0313) and gives the bodies it holds. */
async function archive(
  session: People['anna']['session'],
  to: string | undefined,
  context: CheckContext,
): Promise<readonly string[]> {
  const queryid = context.host.random(6).toString('hex');
  await session.iq('set', to, xml('query', { xmlns: MAM, queryid }));
  const bodies: string[] = [];
  for (;;) {
    // The results come before the answer to the query, so all of them are there by now.
    const next = await session
      .expect(
        'a message of the archive',
        (stanza) => stanza.getChild('result', MAM)?.attrs['queryid'] === queryid,
        50,
      )
      .catch(() => null);
    if (!next) return bodies;
    const forwarded = next.getChild('result', MAM)?.getChild('forwarded', 'urn:xmpp:forward:0');
    bodies.push(forwarded?.getChild('message')?.getChildText('body') ?? '');
  }
}

const message: Step = {
  what: 'message',
  title: 'two people exchange messages',
  hint: BUILT,
  async run({ context, people: { anna, ben } }) {
    for (const [from, to] of [
      [anna, ben],
      [ben, anna],
    ] as const) {
      const text = sentence(context);
      await from.session.send(xml('message', { to: to.account, type: 'chat' }, xml('body', {}, text)));
      await to.session.expect('a message', bodyIs(text, 'chat'));
    }
    return 'both ways, over direct TLS and STARTTLS';
  },
};

const web: Step = {
  what: 'websocket',
  title: 'a browser can chat, and sees what the phone sees',
  hint: 'is the web server running? See the services above',
  async run({ context, domain, people: { anna, ben } }) {
    const second = await openXmpp(
      chatRoute(context, domain, 'websocket'),
      { ...anna.login, resource: 'verify-web' },
      { signal: context.signal },
    );
    try {
      // Message carbons, XEP-0280: the copy for the other device.
      await second.iq('set', undefined, xml('enable', { xmlns: 'urn:xmpp:carbons:2' }));
      await second.send(xml('presence'));
      const text = sentence(context);
      await ben.session.send(xml('message', { to: anna.session.jid, type: 'chat' }, xml('body', {}, text)));
      await second.expect('the copy of a message', (stanza) => {
        const copy = stanza
          .getChild('received', 'urn:xmpp:carbons:2')
          ?.getChild('forwarded', 'urn:xmpp:forward:0');
        return copy?.getChild('message')?.getChildText('body') === text;
      });
      return 'over a websocket, with copies between the devices of one person';
    } finally {
      await second.close();
    }
  },
};

const file: Step = {
  what: 'file',
  title: 'a file can be sent',
  hint: 'is there room on the card, and is the web server running? See the checks above',
  async run({ context, share, people: { anna, ben } }) {
    const bytes = context.host.random(150_000);
    const answer = await anna.session.iq(
      'get',
      share,
      xml('request', {
        xmlns: 'urn:xmpp:http:upload:0',
        filename: 'verify.bin',
        size: String(bytes.length),
        'content-type': 'application/octet-stream',
      }),
    );
    const slot = answer.getChild('slot', 'urn:xmpp:http:upload:0');
    const put = slot?.getChild('put');
    const get = slot?.getChild('get');
    if (!put?.attrs['url'] || !get?.attrs['url'])
      throw new Error('the chat server gave no place for the file');
    const at = (
      address: string,
    ): { endpoint: ReturnType<CheckContext['dialer']['tcp']>; hostname: string; path: string } => {
      const url = new URL(address);
      if (url.protocol !== 'https:')
        throw new Error(`the file would go over ${url.protocol} instead of https`);
      return {
        endpoint: context.dialer.tcp(Number(url.port || 443)),
        hostname: url.hostname,
        path: url.pathname + url.search,
      };
    };
    const headers = Object.fromEntries(
      put.getChildren('header').map((header) => [header.attrs['name'] ?? '', header.text()]),
    );
    const sent = await fetchWeb({
      ...at(put.attrs['url']),
      caPem: context.caPem,
      method: 'PUT',
      headers: { 'Content-Type': 'application/octet-stream', ...headers },
      body: bytes,
      signal: context.signal,
    });
    if (sent.status !== 200 && sent.status !== 201)
      throw new Error(`the file was not taken (HTTP ${sent.status})`);
    await anna.session.send(
      xml('message', { to: ben.account, type: 'chat' }, xml('body', {}, get.attrs['url'])),
    );
    const received = await ben.session.expect('the message with the file', bodyIs(get.attrs['url'], 'chat'));
    const loaded = await fetchWeb({
      ...at(received.getChildText('body') ?? ''),
      caPem: context.caPem,
      signal: context.signal,
    });
    if (!loaded.body.equals(bytes))
      throw new Error(`the file did not come back as it was (HTTP ${loaded.status})`);
    return `${Math.round(bytes.length / 1000)} kB went up and came back unchanged`;
  },
};

const room: Step = {
  what: 'room',
  title: 'a group can be made, joined and read later',
  hint: BUILT,
  async run({ context, groups, people: { anna, ben } }) {
    const address = `${PREFIX}${context.host.random(5).toString('hex')}@${groups}`;
    const MUC = 'http://jabber.org/protocol/muc';
    const OWNER = `${MUC}#owner`;
    const enter = async (person: People['anna'], nick: string): Promise<void> => {
      await person.session.send(xml('presence', { to: `${address}/${nick}` }, xml('x', { xmlns: MUC })));
      const answer = await person.session.expect(
        'the answer of the room',
        (stanza) =>
          stanza.is('presence') &&
          stanza.attrs['from'] === `${address}/${nick}` &&
          (stanza.attrs['type'] === 'error' ||
            stanza
              .getChild('x', `${MUC}#user`)
              ?.getChildren('status')
              .some((status) => status.attrs['code'] === '110') === true),
      );
      if (answer.attrs['type'] === 'error')
        throw new Error(
          `the group lets nobody in (${answer.getChild('error')?.getChildElements()[0]?.name})`,
        );
    };
    await enter(anna, 'anna');
    try {
      await anna.session.iq(
        'set',
        address,
        xml('query', { xmlns: OWNER }, xml('x', { xmlns: 'jabber:x:data', type: 'submit' })),
      );
      await anna.session.iq(
        'set',
        address,
        xml('query', { xmlns: `${MUC}#admin` }, xml('item', { affiliation: 'member', jid: ben.account })),
      );
      await enter(ben, 'ben');
      const text = sentence(context);
      await ben.session.send(xml('message', { to: address, type: 'groupchat' }, xml('body', {}, text)));
      for (const person of [anna, ben])
        await person.session.expect('a message in the group', bodyIs(text, 'groupchat'));
      if (!(await archive(anna.session, address, context)).includes(text))
        throw new Error("the message is not in the group's archive");
      return 'made, joined, a message to all, found again in its archive';
    } finally {
      await anna.session
        .iq(
          'set',
          address,
          xml('query', { xmlns: OWNER }, xml('destroy', {}, xml('reason', {}, 'verify is done'))),
        )
        .catch(() => {});
    }
  },
};

const history: Step = {
  what: 'history',
  title: 'what was missed is there after coming back',
  hint: BUILT,
  async run({ context, domain, people: { anna, ben } }) {
    const resource = 'verify-later';
    const route = chatRoute(context, domain, 'direct');
    const first = await openXmpp(route, { ...ben.login, resource }, { signal: context.signal });
    await first.close();
    const text = sentence(context);
    await anna.session.send(xml('message', { to: ben.account, type: 'chat' }, xml('body', {}, text)));
    await ben.session.expect('a message', bodyIs(text, 'chat'));
    const again = await openXmpp(route, { ...ben.login, resource }, { signal: context.signal });
    try {
      const bodies = await archive(again, undefined, context);
      if (!bodies.includes(text)) throw new Error('the archive does not hold the last message');
      return `a device that was away finds ${count(bodies.length, 'message')} in the archive`;
    } finally {
      await again.close();
    }
  },
};

const keys: Step = {
  what: 'keys',
  title: 'keys for end-to-end encryption can be published and found',
  hint: BUILT,
  async run({ people: { anna, ben } }) {
    const PUBSUB = 'http://jabber.org/protocol/pubsub';
    const device = String(Math.floor(Math.random() * 2 ** 31));
    const field = (name: string, value: string): Element =>
      xml('field', { var: name }, xml('value', {}, value));
    // XEP-0384, section 5.3.1: the device list, readable by everybody.
    await anna.session.iq(
      'set',
      undefined,
      xml(
        'pubsub',
        { xmlns: PUBSUB },
        xml(
          'publish',
          { node: OMEMO },
          xml(
            'item',
            { id: 'current' },
            xml('devices', { xmlns: 'urn:xmpp:omemo:2' }, xml('device', { id: device })),
          ),
        ),
        xml(
          'publish-options',
          {},
          xml(
            'x',
            { xmlns: 'jabber:x:data', type: 'submit' },
            xml('field', { var: 'FORM_TYPE', type: 'hidden' }, xml('value', {}, `${PUBSUB}#publish-options`)),
            field('pubsub#access_model', 'open'),
          ),
        ),
      ),
    );
    const answer = await ben.session.iq(
      'get',
      anna.account,
      xml('pubsub', { xmlns: PUBSUB }, xml('items', { node: OMEMO })),
    );
    if (!answer.toString().includes(`id="${device}"`)) throw new Error('the published list is not found');
    return 'published by one, found by the other';
  },
};

const calls: Step = {
  what: 'calls',
  title: 'apps are told how to make calls',
  hint: BUILT,
  async run({ context, people: { anna } }) {
    const services = await externalServices(context, anna.session);
    const turn = services.filter(({ type }) => type === 'turn' || type === 'turns');
    if (turn.length === 0) throw new Error('the chat server names no relay for calls');
    if (turn.some(({ username, password }) => !username || !password))
      throw new Error('the chat server names a relay but no credentials for it');
    return `${count(services.length, 'service')} for calls, with credentials`;
  },
};

const strangers: Step = {
  what: 'strangers',
  title: 'nobody gets in without an invite or with a wrong password',
  hint: 'the kit is open to strangers: build and flash the card again before handing it over',
  async run({ context, domain, people: { anna } }) {
    const route = chatRoute(context, domain, 'direct');
    const stranger = newLogin(context, 'verify');
    const refused = removeLater(context, domain, stranger);
    const refusal = await registerWithoutInvite(route, stranger, context.signal);
    if (refusal === null) throw new Error('an account could be made without an invite');
    refused();
    const wrong = await openXmpp(
      route,
      { ...anna.login, password: 'wrong', resource: 'verify-wrong' },
      { signal: context.signal },
    ).catch((error: unknown) => words(error));
    if (typeof wrong !== 'string') {
      await wrong.close();
      throw new Error('a wrong password was accepted');
    }
    if (!/not-authorized/.test(wrong)) throw new Error(`a wrong password ended with: ${wrong}`);
    return 'both are refused';
  },
};

const encryption: Step = {
  what: 'encryption',
  title: "chat connections are encrypted by today's rules",
  hint: BUILT,
  async run({ context, domain }) {
    const look = (old: boolean): ReturnType<typeof lookAtTls> =>
      lookAtTls({
        endpoint: context.dialer.tcp(5223),
        hostname: domain,
        caPem: context.caPem,
        old,
        alpn: ['xmpp-client'],
        signal: context.signal,
      });
    const [now, old] = await Promise.all([look(false), look(true)]);
    if (now.fault !== null) throw new Error(`the certificate is not trusted: ${now.fault}`);
    if (old.fault === null) throw new Error(`the outdated ${old.protocol} is accepted`);
    return `${now.protocol}; TLS 1.0 and 1.1 are refused`;
  },
};

export const check: Check = {
  kind: 'xmpp-talk',
  vantage: 'outside',
  always: false,
  title: 'two people talk',
  async run(context, options) {
    const { domain, groups, share } = options;
    if (typeof domain !== 'string' || typeof groups !== 'string' || typeof share !== 'string')
      throw new Error('the check "xmpp-talk" needs domain, groups and share');
    const two = await people(context, domain);
    const invited = pass(
      'invite',
      'invited people can join',
      two.leftovers.length === 0
        ? 'two temporary accounts were made by invites'
        : `two temporary accounts were made by invites; ${two.leftovers.length} of an earlier run were removed`,
    );
    const talk: Talk = { context, domain, groups, share, people: two };
    const relay = context.plan.checks.some(({ kind }) => kind === 'turn-relay');
    const attempt = async (step: Step): Promise<Finding> => {
      try {
        return pass(step.what, step.title, await step.run(talk));
      } catch (error) {
        return fail(step.what, step.title, words(error), { hint: step.hint });
      }
    };
    return [
      invited,
      ...(await Promise.all([
        attempt(encryption),
        attempt(message),
        attempt(web),
        attempt(file),
        attempt(room),
        attempt(history),
        attempt(keys),
        relay
          ? attempt(calls)
          : skip(calls.what, calls.title, 'the profile has no relay for calls', { because: ['services'] }),
        attempt(strangers),
      ])),
    ];
  },
};
