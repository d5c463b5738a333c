import type { Check, CheckContext, Finding } from '../check.js';
import { count, fail, list, pass, words } from '../check.js';
import { fetchWeb, type WebAnswer } from '../clients/https.js';
import { foreignAddresses, isOwnHost, ownAddresses } from '../page.js';

const AGAIN = 'build and flash the card again';

export const check: Check = {
  kind: 'webchat',
  vantage: 'outside',
  always: false,
  title: 'the chat for browsers is there',
  async run(context, options) {
    const { label, parts } = options;
    if (typeof label !== 'string' || !Array.isArray(parts))
      throw new Error('the check "webchat" needs a label and parts');
    const { domain, network } = context.plan.site;
    const place: Place = {
      host: `${label}.${domain}`,
      own: (host) => isOwnHost(host, domain, network.address),
      get: (path) => get(context, `${label}.${domain}`, path),
    };
    const looks: readonly [string, string, () => Promise<Finding>][] = [
      ['page', 'the chat loads in a browser, all of it from the kit', () => page(place, parts.map(String))],
      ['policy', 'browsers may ask nobody but the kit', () => policy(place)],
      ['config', 'it is set to the servers of this kit only', () => config(place)],
      ['join', 'invited people can make an account', () => join(place)],
    ];
    return Promise.all(
      looks.map(([what, title, look]) =>
        look()
          .then((finding) => ({ ...finding, what, title }))
          .catch((error: unknown) =>
            fail(what, title, words(error), { hint: 'is the web server running? See the services above' }),
          ),
      ),
    );
  },
};

interface Place {
  readonly host: string;
  own(host: string): boolean;
  get(path: string): Promise<WebAnswer>;
}

function get(context: CheckContext, hostname: string, path: string): Promise<WebAnswer> {
  return fetchWeb({
    endpoint: context.dialer.tcp(443),
    hostname,
    path,
    caPem: context.caPem,
    signal: context.signal,
  });
}

async function html(place: Place, path: string): Promise<{ text: string; parts: readonly string[] }> {
  const answer = await place.get(path);
  const text = answer.body.toString('utf8');
  if (answer.status !== 200 || !/<html/i.test(text))
    throw new Error(`https://${place.host}${path} answers with HTTP ${answer.status}`);
  return { text, parts: ownAddresses(text, `https://${place.host}${path}`, (host) => place.own(host)) };
}

async function page(place: Place, more: readonly string[]): Promise<Finding> {
  const { text, parts } = await html(place, '/');
  const paths = [...new Set([...parts, ...more])];
  const missing = await missingOf(place, paths);
  if (missing.length > 0) return fail('', '', `parts of it are missing: ${list(missing)}`, { hint: AGAIN });
  const foreign = foreignAddresses(text, `https://${place.host}/`, (host) => place.own(host));
  return foreign.length === 0
    ? pass('', '', `the page and ${count(paths.length, 'part')} of it`)
    : fail('', '', `it refers to ${list(foreign)}, which nobody here can reach`, {
        hint: 'a page in the overrides folder names a place on the internet',
      });
}

async function missingOf(place: Place, paths: readonly string[]): Promise<readonly string[]> {
  const answers = await Promise.all(paths.map(async (path) => ({ path, answer: await place.get(path) })));
  return answers.filter(({ answer }) => answer.status !== 200).map(({ path }) => path);
}

/** Content-Security-Policy, level 3: sources with a host have to be the kit's. */
async function policy(place: Place): Promise<Finding> {
  const { headers } = await place.get('/');
  const rules = String(headers['content-security-policy'] ?? '')
    .split(';')
    .map((rule) => rule.trim().split(/\s+/));
  if (!rules.some(([name]) => name === 'default-src') || !rules.some(([name]) => name === 'connect-src'))
    return fail('', '', 'the page comes without a Content-Security-Policy', { hint: AGAIN });
  const sources = rules.flatMap(([, ...allowed]) => allowed);
  const hosts = sources
    .filter((source) => !source.startsWith("'") && !/^[a-z]+:$/.test(source))
    .map((source) => source.replace(/^[a-z]+:\/\//, '').replace(/[:/].*$/, ''));
  const foreign = hosts.filter((host) => !place.own(host));
  const anything = sources.filter((source) => ['*', 'https:', 'http:', 'ws:', 'wss:'].includes(source));
  return foreign.length + anything.length === 0
    ? pass('', '', `the page's policy names ${list([...new Set(hosts)])}`)
    : fail('', '', `the page's policy allows ${list([...foreign, ...anything])}`, { hint: AGAIN });
}

async function config(place: Place): Promise<Finding> {
  const answer = await place.get('/config.json');
  if (answer.status !== 200)
    return fail('', '', `/config.json answers with HTTP ${answer.status}`, { hint: AGAIN });
  const values = strings(JSON.parse(answer.body.toString('utf8')) as unknown);
  const hosts = values.flatMap((value) => (URL.canParse(value) ? [new URL(value).hostname] : []));
  const foreign = hosts.filter((host) => !place.own(host));
  if (foreign.length > 0)
    return fail('', '', `it names ${list([...new Set(foreign)])}`, {
      hint: 'a config.json in the overrides folder names a place on the internet',
    });
  const named = values.filter((value) => place.own(URL.canParse(value) ? new URL(value).hostname : value));
  return named.length > 0
    ? pass('', '', `it names ${list([...new Set(named)])}`)
    : fail('', '', 'it names no server of this kit', { hint: AGAIN });
}

function strings(value: unknown): readonly string[] {
  if (typeof value === 'string') return [value];
  if (value === null || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([key, inner]) => [
    ...(URL.canParse(key) ? [key] : []),
    ...strings(inner),
  ]);
}

async function join(place: Place): Promise<Finding> {
  const { parts } = await html(place, '/join/');
  const missing = await missingOf(place, parts);
  return missing.length === 0
    ? pass('', '', `https://${place.host}/join/ loads`)
    : fail('', '', `parts of the page are missing: ${list(missing)}`, { hint: AGAIN });
}
