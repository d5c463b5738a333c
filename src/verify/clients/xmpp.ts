import { client, type Client, type Element, xml } from '@xmpp/client';
import { useRoute, type XmppRoute } from './xmpp-transport.js';

export type { XmppRoute } from './xmpp-transport.js';
export { xml, type Element } from '@xmpp/client';

export interface XmppLogin {
  readonly username: string;
  readonly password: string;
  readonly resource: string;
}

/** One logged-in session. */
export interface XmppSession {
  /** The full address. */
  readonly jid: string;
  send(stanza: Element): Promise<void>;
  /** Sends an IQ and gives the answer. @throws Error with the condition when it is refused. */
  iq(type: 'get' | 'set', to: string | undefined, child: Element): Promise<Element>;
  /** The first stanza, already received or still to come, that fits; each is taken once. */
  expect(what: string, fits: (stanza: Element) => boolean, timeoutMs?: number): Promise<Element>;
  close(): Promise<void>;
}

/** How long the kit may take for one answer; emulated and small boards are slow. */
const ANSWER_MS = 20_000;

/** What ends a stream that was only opened to try something before the log-in. */
class Enough extends Error {}

/** In-band registration (XEP-0077) on a stream before the log-in, with an invite (XEP-0445, XEP-0379). */
async function register(
  entity: Client,
  domain: string,
  login: XmppLogin,
  token: string | null,
): Promise<void> {
  const ask = (type: string, child: Element): Promise<Element> =>
    entity.iqCaller.request(xml('iq', { type, to: domain }, child), ANSWER_MS);
  if (token !== null) await ask('set', xml('preauth', { xmlns: 'urn:xmpp:pars:0', token }));
  const NS = 'jabber:iq:register';
  await ask('get', xml('query', { xmlns: NS }));
  await ask(
    'set',
    xml('query', { xmlns: NS }, xml('username', {}, login.username), xml('password', {}, login.password)),
  );
}

/**
 * Takes stream management (XEP-0198) out of what the server offers. The library begins to count at zero after it
 * has read what came in one packet with `<enabled/>`; a server then sees the count fall and ends the session.
 */
function hideStreamManagement(element: Element): void {
  const NS = 'urn:xmpp:sm:3';
  element.children = element.children.filter(
    (child) => typeof child === 'string' || (child.getNS() !== NS && child.attrs['var'] !== NS),
  );
  for (const child of element.children) if (typeof child !== 'string') hideStreamManagement(child);
}

async function connect(
  route: XmppRoute,
  resource: string,
  signal: AbortSignal | undefined,
  beforeLogin: (entity: Client) => Promise<XmppLogin>,
): Promise<{ entity: Client; received: Element[]; onStanza: Set<() => void> }> {
  const entity = client({
    service: 'pinned://kit',
    domain: route.domain,
    resource,
    timeout: ANSWER_MS,
    credentials: async (authenticate, mechanisms, _fast, self) => {
      const login = await beforeLogin(self);
      const mechanism = ['SCRAM-SHA-1', 'PLAIN'].find((name) => mechanisms.includes(name));
      if (mechanism === undefined) throw new Error(`no common way to log in (${mechanisms.join(', ')})`);
      await authenticate({ username: login.username, password: login.password }, mechanism);
    },
  });
  entity.reconnect.stop();
  useRoute(entity, route);
  entity.prependListener('element', (element: Element) => {
    if (element.is('features', 'http://etherx.jabber.org/streams')) hideStreamManagement(element);
  });
  const received: Element[] = [];
  const onStanza = new Set<() => void>();
  entity.on('stanza', (stanza: Element) => {
    received.push(stanza);
    for (const wake of [...onStanza]) wake();
  });
  // Errors reach whoever waits below; one more listener keeps late ones from ending the process.
  entity.on('error', () => {});
  let timer: NodeJS.Timeout | undefined;
  let onAbort: () => void = () => {};
  const online = new Promise<void>((resolve, reject) => {
    entity.once('online', () => resolve());
    entity.once('error', reject);
    onAbort = () => reject(new Error('given up'));
    signal?.addEventListener('abort', onAbort, { once: true });
    timer = setTimeout(() => reject(new Error('the log-in takes too long')), 3 * ANSWER_MS);
  });
  online.catch(() => {});
  try {
    await Promise.race([
      (async () => {
        await entity.connect('pinned://kit');
        await entity.open({ domain: route.domain });
      })(),
      online.then(() => new Promise<never>(() => {})),
    ]);
    await online;
    return { entity, received, onStanza };
  } catch (error) {
    void entity.stop().catch(() => {});
    throw error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

/**
 * Logs in; with `invite`, makes the account on the same stream first, as an app does.
 * @throws Error when there is no connection, the certificate does not fit, or the server refuses.
 */
export async function openXmpp(
  route: XmppRoute,
  login: XmppLogin,
  options: { invite?: string; signal?: AbortSignal } = {},
): Promise<XmppSession> {
  const { entity, received, onStanza } = await connect(
    route,
    login.resource,
    options.signal,
    async (self) => {
      if (options.invite !== undefined) await register(self, route.domain, login, options.invite);
      return login;
    },
  );
  return {
    jid: String(entity.jid),
    send: (stanza) => entity.send(stanza),
    iq: (type, to, child) =>
      entity.iqCaller.request(xml('iq', { type, ...(to === undefined ? {} : { to }) }, child), ANSWER_MS),
    expect(what, fits, timeoutMs = ANSWER_MS) {
      return new Promise((resolve, reject) => {
        const end = (action: () => void): void => {
          clearTimeout(timer);
          onStanza.delete(look);
          options.signal?.removeEventListener('abort', onAbort);
          action();
        };
        const look = (): void => {
          const at = received.findIndex((stanza) => fits(stanza));
          const [found] = at < 0 ? [] : received.splice(at, 1);
          if (found) end(() => resolve(found));
        };
        const onAbort = (): void => end(() => reject(new Error('given up')));
        const timer = setTimeout(() => end(() => reject(new Error(`${what} did not arrive`))), timeoutMs);
        options.signal?.addEventListener('abort', onAbort, { once: true });
        onStanza.add(look);
        look();
      });
    },
    async close() {
      await entity.stop().catch(() => {});
    },
  };
}

/** Tries to make an account without an invite; gives the server's refusal, or null when it let us. */
export async function registerWithoutInvite(
  route: XmppRoute,
  login: XmppLogin,
  signal?: AbortSignal,
): Promise<string | null> {
  let refusal: string | null = null;
  try {
    const { entity } = await connect(route, login.resource, signal, async (self) => {
      try {
        await register(self, route.domain, login, null);
      } catch (error) {
        refusal = error instanceof Error ? error.message : String(error);
      }
      throw new Enough('enough');
    });
    await entity.stop().catch(() => {});
  } catch (error) {
    if (!(error instanceof Enough)) throw error;
  }
  return refusal;
}
