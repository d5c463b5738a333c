import { count } from '../check.js';
import { openXmpp, xml } from '../clients/xmpp.js';
import { chatRoute } from '../people.js';
import { archive, bodyIs, REBUILD, sentence, type Step } from './step.js';

export const message: Step = {
  what: 'message',
  title: 'two people exchange messages',
  hint: REBUILD,
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

export const web: Step = {
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

export const history: Step = {
  what: 'history',
  title: 'what was missed is there after coming back',
  hint: REBUILD,
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
