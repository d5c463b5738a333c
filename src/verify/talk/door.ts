import { words } from '../check.js';
import { lookAtTls } from '../clients/https.js';
import { openXmpp, registerWithoutInvite } from '../clients/xmpp.js';
import { chatRoute, newLogin, removeLater } from '../people.js';
import { REBUILD, type Step } from './step.js';

export const strangers: Step = {
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

export const encryption: Step = {
  what: 'encryption',
  title: "chat connections are encrypted by today's rules",
  hint: REBUILD,
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
