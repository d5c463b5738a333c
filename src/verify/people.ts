import { WorkError } from '../diagnostics/errors.js';
import { tail } from '../host/host.js';
import type { CheckContext } from './check.js';
import { openXmpp, type XmppLogin, type XmppRoute, type XmppSession, xml } from './clients/xmpp.js';
import { AS_ROOT, quote } from './facts.js';

/** Names of temporary accounts begin with this; whatever is left of an aborted run is known by it. */
export const PREFIX = 'verify-';

export interface Person {
  readonly login: XmppLogin;
  /** `name@domain`. */
  readonly account: string;
  readonly session: XmppSession;
}

export interface People {
  readonly anna: Person;
  readonly ben: Person;
  /** Accounts of earlier, aborted runs that were removed. */
  readonly leftovers: readonly string[];
}

/** The way to the chat server for one kind of connection. */
export function chatRoute(context: CheckContext, domain: string, kind: XmppRoute['kind']): XmppRoute {
  const port = kind === 'direct' ? 5223 : kind === 'starttls' ? 5222 : 443;
  return { kind, endpoint: context.dialer.tcp(port), domain, caPem: context.caPem };
}

/** A name and a password nobody else has. */
export function newLogin(context: CheckContext, resource: string): XmppLogin {
  return {
    username: `${PREFIX}${context.host.random(5).toString('hex')}`,
    password: context.host.random(18).toString('base64url'),
    resource,
  };
}

/** Accounts in the output of `prosodyctl shell user list` that verify has made. */
export function ownAccounts(output: string, domain: string): readonly string[] {
  const found = output.match(
    new RegExp(`\\b${PREFIX}[0-9a-f]{10}@${domain.replaceAll('.', '\\.')}(?![\\w.-])`, 'g'),
  );
  return [...new Set(found ?? [])];
}

/** The token in what `prosodyctl shell invite create_account` prints: an `xmpp:` link or a page's address. */
export function inviteToken(output: string): string | null {
  return (
    /[?;&]preauth=([\w-]+)/.exec(output)?.[1] ??
    /https?:\/\/\S+[?/=#]([\w-]{12,})\s*$/m.exec(output)?.[1] ??
    null
  );
}

/**
 * Two people with temporary accounts, made as people make theirs: an invite each, then registration in the app.
 * Made once and shared by the checks; removed after all checks, whatever happens.
 */
export function people(context: CheckContext, domain: string): Promise<People> {
  return context.once('people', async () => {
    const accounts = new Map<string, XmppSession | null>();
    const tokens = new Set<string>();
    context.cleanup(async (undo) => {
      const left: string[] = [];
      for (const [account, session] of accounts)
        if (!session || undo.interrupted || !(await leave(session))) left.push(account);
      if (left.length === 0 && tokens.size === 0) return;
      await remove(await undo.ssh(), domain, left, [...tokens]);
    });

    const { leftovers, invites } = await prepare(context, domain);
    for (const token of invites) tokens.add(token);
    const join = async (kind: XmppRoute['kind'], invite: string): Promise<Person> => {
      const login = newLogin(context, 'verify');
      const account = `${login.username}@${domain}`;
      accounts.set(account, null);
      const session = await openXmpp(chatRoute(context, domain, kind), login, {
        invite,
        signal: context.interrupted,
      });
      tokens.delete(invite);
      accounts.set(account, session);
      await session.send(xml('presence'));
      return { login, account, session };
    };
    const [anna, ben] = await Promise.allSettled([join('direct', invites[0]), join('starttls', invites[1])]);
    if (anna.status === 'rejected')
      throw new WorkError(`an invited person cannot join over port 5223: ${message(anna.reason)}`, {
        cause: anna.reason,
      });
    if (ben.status === 'rejected')
      throw new WorkError(`an invited person cannot join over port 5222: ${message(ben.reason)}`, {
        cause: ben.reason,
      });
    return { anna: anna.value, ben: ben.value, leftovers };
  });
}

const message = (reason: unknown): string => (reason instanceof Error ? reason.message : String(reason));

/** Two invites, and what earlier runs left, in one round trip. */
async function prepare(
  context: CheckContext,
  domain: string,
): Promise<{ leftovers: readonly string[]; invites: readonly [string, string] }> {
  const ssh = await context.ssh();
  const invite = `prosodyctl shell invite create_account ${quote(domain)} --expires-after 1h`;
  const { stdout } = await ssh.exec(AS_ROOT, {
    stdin: `t=$(mktemp -d) || exit 1
trap 'rm -rf "$t"' EXIT
prosodyctl shell user list ${quote(domain)} ${quote(`^${PREFIX.replace('-', '%-')}`)} >"$t/list" 2>&1 </dev/null &
${invite} >"$t/one" 2>&1 </dev/null &
${invite} >"$t/two" 2>&1 </dev/null
wait
for part in list one two; do printf '\\n@@ %s\\n' "$part"; cat "$t/$part"; done`,
    timeoutMs: 60_000,
  });
  const part = (name: string): string => stdout.split(`\n@@ ${name}\n`)[1]?.split('\n@@ ')[0] ?? '';
  const [one, two] = [inviteToken(part('one')), inviteToken(part('two'))];
  if (one === null || two === null)
    throw new WorkError(`no invite could be made: ${tail(part('one') || 'prosodyctl said nothing', 3)}`, {
      hint: 'is the chat server running? See the services above',
    });
  const leftovers = ownAccounts(part('list'), domain);
  if (leftovers.length > 0) await remove(ssh, domain, leftovers, []);
  return { leftovers, invites: [one, two] };
}

/** Removes the account of a session (XEP-0077, section 3.2); false when the server did not confirm it. */
async function leave(session: XmppSession): Promise<boolean> {
  try {
    await session.iq('set', undefined, xml('query', { xmlns: 'jabber:iq:register' }, xml('remove')));
    return true;
  } catch {
    return false;
  } finally {
    await session.close();
  }
}

/** Removes an account that should not come to be after all checks; the function given back says that it did not. */
export function removeLater(context: CheckContext, domain: string, { username }: XmppLogin): () => void {
  let possible = true;
  context.cleanup(async (undo) => {
    if (possible) await remove(await undo.ssh(), domain, [`${username}@${domain}`], []);
  });
  return () => {
    possible = false;
  };
}

async function remove(
  ssh: Awaited<ReturnType<CheckContext['ssh']>>,
  domain: string,
  accounts: readonly string[],
  tokens: readonly string[],
): Promise<void> {
  const commands = [
    ...accounts.map((account) => `prosodyctl shell user delete ${quote(account)}`),
    ...tokens.map((token) => `prosodyctl shell invite delete ${quote(domain)} ${quote(token)}`),
  ];
  const { stdout } = await ssh.exec(AS_ROOT, {
    stdin: `${commands.map((command) => `${command} </dev/null 2>&1`).join('\n')}
echo @@
prosodyctl shell user list ${quote(domain)} ${quote(`^${PREFIX.replace('-', '%-')}`)} </dev/null 2>&1`,
    timeoutMs: 60_000,
  });
  const [said = '', list = ''] = stdout.split('@@');
  // Prosody 13 ends the list with "OK: Showing …"; without it nothing is known.
  if (!/^OK: /m.test(list))
    throw new WorkError(`it is not known whether temporary accounts are left: ${tail(list || said, 2)}`);
  const still = ownAccounts(list, domain).filter((account) => accounts.includes(account));
  if (still.length > 0)
    throw new WorkError(`the temporary account ${still[0]} could not be removed: ${tail(said, 2)}`);
}

export interface ExternalService {
  readonly type: string;
  readonly host: string;
  readonly port: number;
  readonly transport: string;
  readonly username: string;
  readonly password: string;
}

/** Services for calls that the chat server names (XEP-0215). */
export async function externalServices(
  context: CheckContext,
  session: XmppSession,
): Promise<readonly ExternalService[]> {
  const answer = await session.iq(
    'get',
    context.plan.site.domain,
    xml('services', { xmlns: 'urn:xmpp:extdisco:2' }),
  );
  return (
    answer
      .getChild('services', 'urn:xmpp:extdisco:2')
      ?.getChildren('service')
      .map(({ attrs }) => ({
        type: attrs['type'] ?? '',
        host: attrs['host'] ?? '',
        port: Number(attrs['port']),
        transport: attrs['transport'] ?? '',
        username: attrs['username'] ?? '',
        password: attrs['password'] ?? '',
      })) ?? []
  );
}
