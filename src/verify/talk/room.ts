import { xml } from '../clients/xmpp.js';
import { type People, PREFIX } from '../people.js';
import { archive, bodyIs, REBUILD, sentence, type Step } from './step.js';

export const room: Step = {
  what: 'room',
  title: 'a group can be made, joined and read later',
  hint: REBUILD,
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
