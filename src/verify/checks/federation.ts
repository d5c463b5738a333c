import type { Check, Finding } from '../check.js';
import { fail, list, pass, warn } from '../check.js';
import { AS_ROOT, quote } from '../facts.js';

const ROOT = '/etc/commesh/federation';
const XMPP_PORT = 5269;
const WEB_PORT = 443;

/** Shell lines that call each sister's servers and print `@@ domain port code`, then what was said; address look-ups as port 0. */
function script(
  sisters: readonly { readonly domain: string; readonly address: string }[],
  xmpp: boolean,
): string {
  const calls = sisters.flatMap(({ domain, address }) => {
    const call = (port: number, more: string): string =>
      `call ${quote(domain)} ${port} timeout 15 openssl s_client -brief -connect ${quote(`${address}:${port}`)} ` +
      `-CAfile ${quote(`${ROOT}/${domain}.crt`)} -verify_return_error -verify_hostname ${quote(domain)} ${more}`;
    return [
      `call ${quote(domain)} 0 getent ahostsv4 ${quote(domain)}`,
      call(WEB_PORT, `-servername ${quote(domain)}`),
      ...(xmpp ? [call(XMPP_PORT, `-starttls xmpp-server -xmpphost ${quote(domain)}`)] : []),
    ];
  });
  // All at once: a sister that is switched off answers nothing for a while. One printf, so that answers do not mix.
  return [
    'call() { d=$1 p=$2; shift 2; out=$("$@" 2>&1 </dev/null | tail -c 1500; echo "code:$?"); printf "@@ %s %s\\n%s\\n" "$d" "$p" "$out"; }',
    ...calls.map((line) => `${line} &`),
    'wait',
  ].join('\n');
}

/** How a call ended, from what `openssl s_client -brief` says (openssl 3.5). */
export function judge(output: string): 'good' | 'foreign' | 'silent' {
  if (/verify error|certificate verify failed|Verification error/i.test(output)) return 'foreign';
  return /^Verification: OK$/m.test(output) ? 'good' : 'silent';
}

export const check: Check = {
  kind: 'federation',
  vantage: 'inside',
  always: false,
  title: 'sister sites can be reached, and are who they say',
  async run(context, { xmpp }) {
    const { federation } = context.plan.site;
    const ssh = await context.ssh();
    const { stdout } = await ssh.exec(AS_ROOT, {
      stdin: script(federation, xmpp === true),
      timeoutMs: 60_000,
    });
    const answers = new Map(
      stdout
        .split('@@ ')
        .slice(1)
        .map((block) => [block.split('\n', 1)[0] ?? '', block] as const),
    );
    return federation.map(({ domain, address }, index): Finding => {
      const because = ['federation', index] as const;
      const named = answers.get(`${domain} 0`)?.includes(address) === true;
      if (!named)
        return fail(domain, this.title, `the kit's name server does not answer ${domain} with ${address}`, {
          because,
          hint: 'build and flash the card again',
        });
      const ports = [WEB_PORT, ...(xmpp === true ? [XMPP_PORT] : [])];
      const ended = ports.map((port) => ({ port, how: judge(answers.get(`${domain} ${port}`) ?? '') }));
      const foreign = ended.filter(({ how }) => how === 'foreign').map(({ port }) => String(port));
      if (foreign.length > 0)
        return fail(
          domain,
          this.title,
          `what answers for ${domain} at ${address}, port ${list(foreign)}, has a certificate of another site`,
          {
            because,
            hint: 'ask the other site for its CA certificate again, and compare the fingerprints by telephone',
          },
        );
      const silent = ended.filter(({ how }) => how === 'silent').map(({ port }) => String(port));
      if (silent.length > 0)
        return warn(
          domain,
          this.title,
          `${domain} does not answer at ${address}, port ${list(silent)}; it may be switched off`,
          {
            because,
            hint: "is the other kit on and plugged in, and does its profile name this site and this kit's address?",
          },
        );
      return pass(domain, this.title, `${domain} answers with a certificate of its own`, { because });
    });
  },
};
