import { rootCertificates } from 'node:tls';
import type { Check, CheckContext, Finding } from '../check.js';
import { count, fail, list, pass, warn, words } from '../check.js';
import { fetchWeb, lookAtTls } from '../clients/https.js';
import { foreignAddresses, isOwnHost, ownAddresses } from '../page.js';

const DAY_MS = 86_400_000;
const WARN_DAYS = 60;

export const check: Check = {
  kind: 'https-site',
  vantage: 'outside',
  always: false,
  title: 'web pages are encrypted',
  async run(context, options) {
    const { labels } = options;
    if (!Array.isArray(labels)) throw new Error('the check "https-site" needs labels');
    const { domain, network } = context.plan.site;
    const names = (labels as readonly unknown[]).map((label) =>
      String(label) === '' ? domain : `${String(label)}.${domain}`,
    );
    const atAddress = context.plan.certificates.some(
      ({ address, labels: named }) => address && named.includes(''),
    );
    const certificates = await Promise.all(
      [...names, ...(atAddress ? [network.address] : [])].map((name) =>
        certificateOf(this.title, context, name),
      ),
    );
    return [...certificates, await pageOf(context, domain)];
  },
};

async function certificateOf(title: string, context: CheckContext, hostname: string): Promise<Finding> {
  const about = `${title}: ${hostname}`;
  const endpoint = context.dialer.tcp(443);
  const common = { endpoint, hostname, signal: context.signal };
  const hint = 'build and flash the card again, from the profile whose secrets hold this CA';
  try {
    const [own, foreign, old] = await Promise.all([
      lookAtTls({ ...common, caPem: context.caPem }),
      lookAtTls({ ...common, caPem: rootCertificates[0] ?? '' }),
      lookAtTls({ ...common, caPem: context.caPem, old: true }),
    ]);
    if (own.fault !== null)
      return fail(hostname, about, `the certificate does not fit: ${own.fault}`, { hint });
    if (foreign.fault === null)
      return fail(hostname, about, "another CA than the site's vouches for this certificate too", { hint });
    if (old.fault === null)
      return fail(hostname, about, `the outdated ${old.protocol} is accepted`, { hint });
    const days = Math.floor((Date.parse(own.certificate?.valid_to ?? '') - context.host.now()) / DAY_MS);
    const found = `${own.protocol}, trusted by the site's CA only, ${count(days, 'day')} left`;
    return days < WARN_DAYS
      ? warn(hostname, about, found, {
          hint: 'renew it: build the card again from this profile and flash it',
        })
      : pass(hostname, about, found);
  } catch (error) {
    return fail(hostname, about, words(error), { hint: 'is the web server running? See the services above' });
  }
}

async function pageOf(context: CheckContext, domain: string): Promise<Finding> {
  const title = 'the join page loads over HTTPS, all of it from the kit';
  const hint = 'is the web server running? See the services above';
  const load = (path: string): ReturnType<typeof fetchWeb> =>
    fetchWeb({
      endpoint: context.dialer.tcp(443),
      hostname: domain,
      path,
      caPem: context.caPem,
      headers: { 'Accept-Language': context.plan.site.languages[0] ?? 'en' },
      signal: context.signal,
    });
  try {
    const page = await load('/');
    const html = page.body.toString('utf8');
    if (page.status !== 200 || !/<html/i.test(html))
      return fail('page', title, `https://${domain}/ answers with HTTP ${page.status}`, { hint });
    const own = (host: string): boolean => isOwnHost(host, domain, context.plan.site.network.address);
    const parts = ownAddresses(html, `https://${domain}/`, own);
    const loaded = await Promise.all(parts.map(async (path) => ({ path, answer: await load(path) })));
    const missing = loaded.filter(({ answer }) => answer.status !== 200).map(({ path }) => path);
    if (missing.length > 0) return fail('page', title, `parts of it are missing: ${list(missing)}`, { hint });
    const foreign = [html, ...loaded.map(({ answer }) => answer.body.toString('utf8'))].flatMap((text) =>
      foreignAddresses(text, `https://${domain}/`, own),
    );
    if (foreign.length > 0)
      return fail('page', title, `it refers to ${list([...new Set(foreign)])}, which nobody here can reach`, {
        hint: 'a page in the overrides folder, or a text of the profile, names a place on the internet',
      });
    return pass(
      'page',
      title,
      `the page and ${count(parts.length, 'part')} of it; no reference to anywhere else`,
    );
  } catch (error) {
    return fail('page', title, words(error), { hint });
  }
}
