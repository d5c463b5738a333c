import type { Check, CheckContext, Finding } from '../check.js';
import { fail, pass, warn, words } from '../check.js';
import { askDns } from '../clients/dns.js';
import { fetchWeb } from '../clients/https.js';

/** What devices ask to see whether there is internet, and what they take for a yes. */
const PROBES = [
  {
    what: 'android',
    name: 'Android',
    host: 'connectivitycheck.gstatic.com',
    path: '/generate_204',
    yes: /^204/,
  },
  {
    what: 'apple',
    name: 'iPhone, iPad and Mac',
    host: 'captive.apple.com',
    path: '/hotspot-detect.html',
    yes: /Success/,
  },
  {
    what: 'windows',
    name: 'Windows',
    host: 'www.msftconnecttest.com',
    path: '/connecttest.txt',
    yes: /Microsoft Connect Test/,
  },
  {
    what: 'firefox',
    name: 'Firefox',
    host: 'detectportal.firefox.com',
    path: '/success.txt',
    yes: /^200 success/,
  },
] as const;

export const check: Check = {
  kind: 'probe-urls',
  vantage: 'outside',
  always: false,
  title: 'devices that look for the internet get an honest answer',
  run: (context) => Promise.all(PROBES.map((probe) => look(context, probe))),
};

async function look(context: CheckContext, probe: (typeof PROBES)[number]): Promise<Finding> {
  const title = `what ${probe.name} sees`;
  const hint = 'build and flash the card again';
  const said = await askDns(context.dialer.udp(53), probe.host, 'A', { signal: context.signal }).catch(
    (error: unknown) => words(error),
  );
  if (typeof said === 'string')
    return fail(probe.what, title, `it waits for the name ${probe.host}: ${said}`, {
      hint: 'is the name server running? See the services above',
    });
  // A device that has the name from elsewhere, or a name server of its own, asks the kit all the same.
  const answer = await fetchWeb({
    endpoint: context.dialer.tcp(80),
    hostname: probe.host,
    path: probe.path,
    signal: context.signal,
  }).catch((error: unknown) => words(error));
  if (typeof answer === 'string')
    return fail(probe.what, title, answer, { hint: 'is the web server running? See the services above' });
  const { status, headers, body } = answer;
  if (probe.yes.test(`${status} ${body.toString('utf8')}`))
    return fail(
      probe.what,
      title,
      'the kit pretends to be the internet, so the device sends everything its way',
      {
        hint,
      },
    );
  if (status >= 300 && status < 400)
    return warn(
      probe.what,
      title,
      `a log-in page (redirect to ${String(headers.location ?? 'nowhere')}): it opens a small browser that cannot install certificates`,
      { hint },
    );
  if (said.answers.length > 0 && status < 300)
    return warn(
      probe.what,
      title,
      'a log-in page: it opens a small browser that cannot install certificates',
      { hint },
    );
  if (said.code !== 'NXDOMAIN')
    return warn(
      probe.what,
      title,
      `an unclear answer (${said.code}), so it may wait before it says "no internet"`,
      {
        hint,
      },
    );
  return pass(probe.what, title, 'connected, no internet; people choose to stay connected');
}
