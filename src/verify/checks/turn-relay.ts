import type { Check, CheckContext, CheckOptions, Finding } from '../check.js';
import { fail, list, pass, skip, words } from '../check.js';
import { encodeQuery } from '../clients/dns.js';
import { encodeNtpRequest } from '../clients/ntp.js';
import { CLASS, encodeStun, METHOD } from '../clients/stun.js';
import {
  openTurn,
  sharedSecretCredentials,
  type TurnClient,
  type TurnCredentials,
  TurnRefusal,
  type TurnServer,
} from '../clients/turn.js';
import { externalServices, people } from '../people.js';

/** Places outside the kit, in the spellings that have fooled relays before (CVE-2020-26262, CVE-2026-27624). */
const FORBIDDEN = [
  '192.0.2.1',
  '127.0.0.1',
  '0.0.0.0',
  '169.254.169.254',
  '::1',
  '::ffff:127.0.0.1',
  '64:ff9b::7f00:1',
];
/** Seconds the credentials made here are good for. */
const LIFETIME_S = 600;
/** What a service of the kit would need to answer, at most. */
const SILENCE_MS = 2500;
const ANSWER_MS = 8000;

interface Relay {
  readonly context: CheckContext;
  /** The relay's port on the kit itself. */
  readonly port: number;
  readonly server: (transport: TurnServer['transport']) => TurnServer;
  readonly credentials: TurnCredentials;
}

export const check: Check = {
  kind: 'turn-relay',
  vantage: 'outside',
  always: false,
  title: 'calls can be relayed',
  async run(context, options) {
    const got = await credentialsFor(context, options);
    if (typeof got === 'string') return [skip('', this.title, got)];
    const port = Number(options['port']);
    const tlsPort = Number(options['tlsPort']);
    const relay: Relay = {
      context,
      port,
      credentials: got.credentials,
      server: (transport) => ({
        transport,
        endpoint:
          transport === 'udp'
            ? context.dialer.udp(port)
            : context.dialer.tcp(transport === 'tls' ? tlsPort : port),
        tls: { caPem: context.caPem, servername: String(options['host']) },
      }),
    };
    const attempt = async (
      what: string,
      title: string,
      hint: string,
      run: () => Promise<string>,
    ): Promise<Finding> => {
      try {
        return pass(what, title, await run());
      } catch (error) {
        return fail(what, title, words(error), { hint });
      }
    };
    const running = 'is the relay running? See the services above';
    const open =
      'the relay would serve strangers: build and flash the card again before handing the kit over';
    const transports = await Promise.all(
      (['udp', 'tcp', 'tls'] as const).map((transport) =>
        attempt(
          transport,
          `a call can be relayed over ${transport === 'tls' ? 'TLS' : transport.toUpperCase()}`,
          running,
          async () => `${await bothWays(relay, transport)}, credentials from ${got.source}`,
        ),
      ),
    );
    return [
      ...transports,
      await attempt('strangers', 'strangers cannot use the relay', open, () => strangers(relay)),
      await attempt('peers', 'the relay leads nowhere outside the kit', open, () => peers(relay)),
      await attempt('services', "the relay does not lead to the kit's own services", open, () =>
        services(relay),
      ),
    ];
  },
};

/** As an app gets them: from the chat server. Without one, or when it fails, from the shared secret. */
async function credentialsFor(
  context: CheckContext,
  options: CheckOptions,
): Promise<{ credentials: TurnCredentials; source: string } | string> {
  const talk = context.plan.checks.find(({ kind }) => kind === 'xmpp-talk');
  let why = '';
  if (talk) {
    try {
      const { anna } = await people(context, String(talk.options['domain']));
      const given = (await externalServices(context, anna.session)).find(
        ({ type, username }) => type === 'turn' && username !== '',
      );
      if (given) {
        if (given.host !== options['host'] || given.port !== options['port'])
          throw new Error(`the chat server sends apps to ${given.host}:${given.port}`);
        return { credentials: given, source: 'the chat server' };
      }
      why = ' (the chat server gave none)';
    } catch (error) {
      why = ` (from the chat server: ${words(error)})`;
    }
  }
  const secret = context.secrets.value('turn-secret');
  if (secret === undefined) return `there are no credentials to try it with${why}`;
  const expires = Math.floor(context.host.now() / 1000) + LIFETIME_S;
  return {
    credentials: sharedSecretCredentials(secret, 'verify', expires),
    source: `the site's secret${why}`,
  };
}

async function withClients<T>(
  relay: Relay,
  transport: TurnServer['transport'],
  number: number,
  work: (clients: readonly TurnClient[]) => Promise<T>,
): Promise<T> {
  const clients: TurnClient[] = [];
  try {
    for (let index = 0; index < number; index += 1)
      clients.push(await openTurn(relay.server(transport), relay.credentials, relay.context.signal));
    return await work(clients);
  } finally {
    await Promise.all(clients.map((client) => client.close()));
  }
}

/** UDP may lose a datagram: sends until it arrives, a few times. */
async function delivered(send: () => void, to: TurnClient, text: Buffer): Promise<boolean> {
  for (let tries = 0; tries < 4; tries += 1) {
    send();
    const got = await to.receive(ANSWER_MS / 4);
    if (got?.data.equals(text)) return true;
  }
  return false;
}

async function bothWays(relay: Relay, transport: TurnServer['transport']): Promise<string> {
  return withClients(relay, transport, 2, async ([a, b]) => {
    if (!a || !b) throw new Error('no connection');
    const [one, two] = await Promise.all([a.allocate(), b.allocate()]);
    await Promise.all([a.createPermission(two.relayed.ip), b.bindChannel(0x4001, one.relayed)]);
    const [there, back] = [relay.context.host.random(160), relay.context.host.random(160)];
    if (!(await delivered(() => a.send(two.relayed, there), b, there)))
      throw new Error('the relay gives an address, but nothing sent to it arrives');
    if (!(await delivered(() => b.sendChannel(0x4001, back), a, back)))
      throw new Error('the relay carries data one way only');
    return 'data went both ways';
  });
}

async function refusal(work: Promise<unknown>): Promise<number> {
  try {
    await work;
    return 0;
  } catch (error) {
    if (error instanceof TurnRefusal) return error.code;
    throw error;
  }
}

async function strangers(relay: Relay): Promise<string> {
  const cases = [
    ['without credentials', null],
    ['with a wrong password', { ...relay.credentials, password: 'wrong' }],
  ] as const;
  for (const [how, credentials] of cases) {
    const client = await openTurn(relay.server('udp'), credentials, relay.context.signal);
    try {
      const code = await refusal(client.allocate());
      if (code !== 401) throw new Error(code === 0 ? `it can be used ${how}` : `${how} it answers ${code}`);
    } finally {
      await client.close();
    }
  }
  return 'no credentials and wrong ones are refused';
}

async function peers(relay: Relay): Promise<string> {
  const { address, broadcast } = relay.context.plan.site.network;
  await withClients(relay, 'udp', 2, async ([client, other]) => {
    if (!client || !other) throw new Error('no connection');
    await client.allocate();
    const codes = await Promise.all(
      [...FORBIDDEN, broadcast]
        .filter((ip) => ip !== address)
        .map(async (ip) => ({ ip, code: await refusal(client.createPermission(ip)) })),
    );
    // 403 Forbidden, or 443 Peer Address Family Mismatch (RFC 8656, section 19).
    const open = codes.filter(({ code }) => code !== 403 && code !== 443).map(({ ip }) => ip);
    if (open.length > 0) throw new Error(`it leads to ${list(open, 8)}`);
    // 6 is TCP (RFC 6062): through it every service would be open.
    if ((await refusal(other.allocateFor(6))) === 0) throw new Error('it relays TCP connections too');
  });
  return `${FORBIDDEN.length + 1} addresses outside the kit are refused, and so are TCP relays`;
}

async function services(relay: Relay): Promise<string> {
  const { site } = relay.context.plan;
  const ip = site.network.address;
  const questions: readonly (readonly [string, number, Buffer])[] = [
    ['the name server', 53, encodeQuery(4711, site.domain, 'A')],
    ['the time server', 123, encodeNtpRequest(relay.context.host.now())],
    [
      'the relay itself',
      relay.port,
      encodeStun({
        method: METHOD.binding,
        class: CLASS.request,
        transaction: relay.context.host.random(12),
        attributes: [],
      }),
    ],
  ];
  await withClients(relay, 'udp', 1, async ([client]) => {
    if (!client) throw new Error('no connection');
    await client.allocate();
    // Being refused the kit's own address outright is fine too, but then two people could not be relayed.
    await client.createPermission(ip);
    const answered: string[] = [];
    for (const [, port, question] of questions) client.send({ ip, port }, question);
    const until = relay.context.host.now() + SILENCE_MS;
    for (;;) {
      const got = await client.receive(Math.max(1, until - relay.context.host.now()));
      if (!got) break;
      answered.push(questions.find(([, port]) => port === got.peer?.port)?.[0] ?? `port ${got.peer?.port}`);
    }
    if (answered.length > 0) throw new Error(`${list(answered)} can be reached through it`);
  });
  // Silence counts only while the relay works. A new pair: the firewall's refusal may have ended the first.
  await bothWays(relay, 'udp');
  return `${list(questions.map(([name]) => name))} do not answer through it`;
}
