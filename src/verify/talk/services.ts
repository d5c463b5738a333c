import { count } from '../check.js';
import { type Element, xml } from '../clients/xmpp.js';
import { externalServices } from '../people.js';
import { REBUILD, type Step } from './step.js';

const OMEMO = 'urn:xmpp:omemo:2:devices';

export const keys: Step = {
  what: 'keys',
  title: 'keys for end-to-end encryption can be published and found',
  hint: REBUILD,
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

export const calls: Step = {
  what: 'calls',
  title: 'apps are told how to make calls',
  hint: REBUILD,
  async run({ context, people: { anna } }) {
    const services = await externalServices(context, anna.session);
    const turn = services.filter(({ type }) => type === 'turn' || type === 'turns');
    if (turn.length === 0) throw new Error('the chat server names no relay for calls');
    if (turn.some(({ username, password }) => !username || !password))
      throw new Error('the chat server names a relay but no credentials for it');
    return `${count(services.length, 'service')} for calls, with credentials`;
  },
};
