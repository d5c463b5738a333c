import { X509Certificate } from 'node:crypto';
import type { Check, CheckContext, Finding } from '../check.js';
import { fail, list, pass, words } from '../check.js';
import { fetchWeb, type WebAnswer } from '../clients/https.js';
import { foreignAddresses, isOwnHost, linksTo } from '../page.js';

/** What must not be had without encryption. */
const CLOSED = [
  '/xmpp-websocket',
  '/http-bind',
  '/register',
  '/invite',
  '/.well-known/host-meta',
  '/file_share/x',
  '/index.php',
];

export const check: Check = {
  kind: 'http-join',
  vantage: 'outside',
  always: false,
  title: 'the join page is there without encryption, and nothing else',
  async run(context) {
    const { domain } = context.plan.site;
    const page = await get(context, '/').catch((error: unknown) => words(error));
    const running = 'is the web server running? See the services above';
    if (typeof page === 'string') return [fail('page', this.title, page, { hint: running })];
    const html = page.body.toString('utf8');
    if (page.status !== 200 || !/<html/i.test(html))
      return [
        fail('page', this.title, `http://${domain}/ answers with HTTP ${page.status}`, { hint: running }),
      ];
    const foreign = foreignAddresses(html, `http://${domain}/`, (host) =>
      isOwnHost(host, domain, context.plan.site.network.address),
    );
    return [
      foreign.length === 0
        ? pass('page', 'the join page shows', 'it loads, and refers to nothing but the kit')
        : fail('page', 'the join page shows', `it refers to ${list(foreign)}`, {
            hint: 'a page in the overrides folder names a place on the internet',
          }),
      await authority(context, html),
      await profile(context, html),
      await nothingElse(context),
    ];
  },
};

function get(context: CheckContext, path: string, headers: Record<string, string> = {}): Promise<WebAnswer> {
  const { domain, languages } = context.plan.site;
  return fetchWeb({
    endpoint: context.dialer.tcp(80),
    hostname: domain,
    path,
    headers: { 'Accept-Language': languages[0] ?? 'en', ...headers },
    signal: context.signal,
  });
}

async function authority(context: CheckContext, html: string): Promise<Finding> {
  const title = 'the certificate of the site can be downloaded';
  const hint = 'build and flash the card again, from the profile whose secrets hold this CA';
  const [path] = linksTo(html, 'http://kit/', '.crt');
  if (path === undefined) return fail('ca', title, 'the join page has no link to it', { hint });
  const answer = await get(context, path).catch((error: unknown) => words(error));
  if (typeof answer === 'string') return fail('ca', title, answer, { hint });
  if (answer.status !== 200) return fail('ca', title, `${path} answers with HTTP ${answer.status}`, { hint });
  // Phones take it only as DER under this type.
  if (!answer.body.equals(new X509Certificate(context.caPem).raw))
    return fail('ca', title, "it is not this site's certificate", { hint });
  const type = String(answer.headers['content-type'] ?? 'none').split(';')[0];
  if (type !== 'application/x-x509-ca-cert')
    return fail('ca', title, `it comes as ${type}, which phones do not install`, { hint });
  return pass('ca', title, `${path}, as phones install it`);
}

async function profile(context: CheckContext, html: string): Promise<Finding> {
  const title = 'iPhones get the certificate as a profile';
  const hint = 'build and flash the card again';
  const [path] = linksTo(html, 'http://kit/', '.mobileconfig');
  if (path === undefined) return fail('mobileconfig', title, 'the join page has no link to it', { hint });
  const answer = await get(context, path).catch((error: unknown) => words(error));
  if (typeof answer === 'string') return fail('mobileconfig', title, answer, { hint });
  const holds = answer.body
    .toString('utf8')
    .replace(/\s+/g, '')
    .includes(new X509Certificate(context.caPem).raw.toString('base64'));
  if (answer.status !== 200 || !holds)
    return fail(
      'mobileconfig',
      title,
      answer.status === 200
        ? "it does not hold this site's certificate"
        : `${path} answers with HTTP ${answer.status}`,
      { hint },
    );
  const type = String(answer.headers['content-type'] ?? 'none').split(';')[0];
  if (type !== 'application/x-apple-aspen-config')
    return fail('mobileconfig', title, `it comes as ${type}, which iPhones do not install`, { hint });
  return pass('mobileconfig', title, path);
}

async function nothingElse(context: CheckContext): Promise<Finding> {
  const title = 'nothing else is given without encryption';
  const upgrade = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': context.host.random(16).toString('base64'),
    'Sec-WebSocket-Protocol': 'xmpp',
  };
  const open: readonly (string | null)[] = await Promise.all(
    CLOSED.map(async (path) => {
      const answer = await get(context, path, path === '/xmpp-websocket' ? upgrade : {});
      const location = String(answer.headers.location ?? '');
      const closed = answer.status >= 400 || (answer.status >= 300 && location.startsWith('https://'));
      return closed ? null : `${path} (HTTP ${answer.status})`;
    }),
  ).catch((error: unknown) => [words(error)]);
  const found = open.filter((path): path is string => path !== null);
  return found.length === 0
    ? pass('closed', title, 'chat, registration and files are refused')
    : fail('closed', title, list(found), { hint: 'build and flash the card again' });
}
