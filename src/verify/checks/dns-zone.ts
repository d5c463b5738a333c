import type { Check, Finding } from '../check.js';
import { count, fail, list, pass, words } from '../check.js';
import { askDns } from '../clients/dns.js';

/** Names phones and apps ask for; the kit must say at once that there are none. */
const FOREIGN = [
  'example.com',
  'connectivitycheck.gstatic.com',
  'captive.apple.com',
  'use-application-dns.net',
];
/** A phone that waits longer than this seems to hang. */
const SLOW_MS = 2000;

export const check: Check = {
  kind: 'dns-zone',
  vantage: 'outside',
  always: false,
  title: 'names are answered',
  async run(context) {
    const { plan, signal } = context;
    const { domain, network } = plan.site;
    const server = context.dialer.udp(53);
    const tcp = context.dialer.tcp(53);
    const full = (label: string): string => (label === '' ? domain : `${label}.${domain}`);
    const names = [...new Set(plan.names.map(({ label }) => full(label)))];
    const hint = 'is the name server running? See the services above';
    const faults: string[] = [];
    const attempt = async (what: string, ask: () => Promise<string | null>): Promise<void> => {
      const fault = await ask().catch((error: unknown) => words(error));
      if (fault !== null) faults.push(`${what}: ${fault}`);
    };

    await Promise.all([
      ...names.flatMap((name) => [
        ...(['udp', 'tcp'] as const).map((protocol) =>
          attempt(`${name} over ${protocol.toUpperCase()}`, async () => {
            const answer = await askDns(protocol === 'udp' ? server : tcp, name, 'A', { protocol, signal });
            const addresses = answer.answers.filter(({ type }) => type === 1).map(({ value }) => value);
            if (addresses.includes(network.address) && addresses.length === 1) return null;
            return addresses.length === 0
              ? `the answer is ${answer.code}`
              : `the answer is ${list(addresses)}`;
          }),
        ),
        // A phone asks for both kinds of address; "no such name" here would hide the other answer (RFC 8020).
        attempt(`${name} (IPv6)`, async () => {
          const { code } = await askDns(server, name, 'AAAA', { signal });
          return code === 'NOERROR' ? null : `the answer is ${code}`;
        }),
      ]),
      ...plan.srv.map(({ symbol, protocol, label, port, targetLabel }) => {
        const name = `_${symbol}._${protocol}.${full(label)}`;
        return attempt(name, async () => {
          const { answers, code } = await askDns(server, name, 'SRV', { signal });
          const found = answers.filter(({ type }) => type === 33).map(({ value }) => value.split(' '));
          if (found.some(([, , at, target]) => Number(at) === port && target === full(targetLabel)))
            return null;
          return found.length === 0 ? `the answer is ${code}` : `the answer leads elsewhere`;
        });
      }),
    ]);
    const findings: Finding[] = [
      faults.length === 0
        ? pass(
            'names',
            "the kit's names are answered",
            `${count(names.length, 'name')} and ${count(plan.srv.length, 'service record')}, over UDP and TCP`,
          )
        : fail('names', "the kit's names are answered", list(faults, 4), { hint }),
    ];

    const strange: string[] = [];
    const title = 'foreign names are refused at once';
    await Promise.all(
      [...FOREIGN, `nobody-${context.host.random(4).toString('hex')}.${domain}`].map(async (name) => {
        const answer = await askDns(server, name, 'A', { signal }).catch((error: unknown) => words(error));
        if (typeof answer === 'string') strange.push(answer);
        else if (answer.code !== 'NXDOMAIN') strange.push(`${name} is answered with ${answer.code}`);
        else if (answer.milliseconds > SLOW_MS)
          strange.push(`${name} takes ${(answer.milliseconds / 1000).toFixed(1)} seconds`);
      }),
    );
    findings.push(
      strange.length === 0
        ? pass('foreign', title, '"no such name", so apps do not wait')
        : fail('foreign', title, list(strange, 3), { hint: 'build and flash the card again' }),
    );
    return findings;
  },
};
