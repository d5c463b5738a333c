import { createPublicKey, X509Certificate } from 'node:crypto';
import type { Planned } from '../../plan/types.js';
import type { CertificateWish, Site } from '../../services/contract.js';
import type { Check, Finding } from '../check.js';
import { count, fail, list, pass, warn } from '../check.js';
import { quote } from '../facts.js';
import { parseStat } from './files.js';

const DAY_MS = 86_400_000;
/** Fewer days left than this is worth a word. */
const WARN_DAYS = 60;

/** Host names of a certificate wish, with the kit's address when it is on it. */
export function certificateNames(
  wish: Pick<CertificateWish, 'labels' | 'address'>,
  site: Site,
): readonly string[] {
  return [
    ...wish.labels.map((label) => (label === '' ? site.domain : `${label}.${site.domain}`)),
    ...(wish.address ? [site.network.address] : []),
  ];
}

export interface CertificateFacts {
  /** The `.crt` file: leaf, then CA. */
  readonly chain: string;
  /** Public half of the `.key` file, PEM; empty when it could not be told. */
  readonly keyPublic: string;
}

/** What is wrong with a certificate on the kit: fail and warn, in words. Times in ms since 1970. */
export function certificateFaults(
  { chain, keyPublic }: CertificateFacts,
  names: readonly string[],
  caPem: string,
  clocks: { laptop: number; kit: number },
): readonly { state: 'fail' | 'warn'; reason: string; hint: string }[] {
  const again =
    'renew it: build the card again from this profile and flash it, or use the profile it was built from';
  const pems = chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (pems[0] === undefined) return [{ state: 'fail', reason: 'is missing or empty', hint: again }];
  let leaf: X509Certificate;
  try {
    leaf = new X509Certificate(pems[0]);
  } catch {
    return [{ state: 'fail', reason: 'cannot be read', hint: again }];
  }
  const ca = new X509Certificate(caPem);
  const faults: { state: 'fail' | 'warn'; reason: string; hint: string }[] = [];
  if (!leaf.checkIssued(ca) || !leaf.verify(ca.publicKey))
    faults.push({ state: 'fail', reason: "is not signed by this site's CA", hint: again });
  const missing = names.filter((name) =>
    /^[\d.]+$/.test(name) ? leaf.checkIP(name) === undefined : leaf.checkHost(name) === undefined,
  );
  if (missing.length > 0)
    faults.push({ state: 'fail', reason: `does not name ${list(missing)}`, hint: again });
  if (keyPublic !== '') {
    const spki = (key: ReturnType<typeof createPublicKey>): string =>
      key.export({ type: 'spki', format: 'der' }).toString('base64');
    if (spki(leaf.publicKey) !== spki(createPublicKey(keyPublic)))
      faults.push({ state: 'fail', reason: 'does not belong to the key beside it', hint: again });
  }
  const from = Date.parse(leaf.validFrom);
  const to = Date.parse(leaf.validTo);
  const days = Math.floor((to - clocks.laptop) / DAY_MS);
  if (clocks.laptop > to) faults.push({ state: 'fail', reason: `expired on ${leaf.validTo}`, hint: again });
  else if (days < WARN_DAYS)
    faults.push({ state: 'warn', reason: `ends in ${count(days, 'day')}`, hint: again });
  const hint = 'set the clock: run verify with --set-time';
  if (clocks.kit < from) faults.push({ state: 'fail', reason: "is not valid yet by the kit's clock", hint });
  else if (clocks.kit > to && clocks.laptop <= to)
    faults.push({ state: 'fail', reason: "has expired by the kit's clock", hint });
  return faults;
}

/** Who may read a key: nobody but its owner and group (RFC 9325 says nothing; plain prudence). */
function modeFault(wish: Planned<CertificateWish>, stat: string): string | null {
  const state = [...parseStat(stat).values()][0];
  if (!state) return 'its key is missing';
  if ((state.mode & 0o007) !== 0)
    return `its key has mode ${(state.mode & 0o7777).toString(8).padStart(4, '0')}: everybody on the kit can read it`;
  if (state.owner !== wish.owner && state.group !== wish.group)
    return `its key belongs to ${state.owner}:${state.group} instead of ${wish.owner}:${wish.group}`;
  return state.size === 0 ? 'its key is empty' : null;
}

export const check: Check = {
  kind: 'certificates',
  vantage: 'inside',
  always: true,
  title: "certificates fit the site's CA and last",
  probe: (plan) =>
    [
      'part .clock; date +%s',
      ...plan.certificates.map(({ id, directory }) => {
        const crt = quote(`${directory}/${id}.crt`);
        const key = quote(`${directory}/${id}.key`);
        // The private key itself never leaves the kit.
        return `part ${id}; cat ${crt}\npart ${id}.pub; openssl pkey -in ${key} -pubout\npart ${id}.stat; stat -L --printf='%f|%U|%G|%s|%n\\n' -- ${key}`;
      }),
    ].join('\n'),
  async run(context) {
    const facts = await context.facts();
    const { plan, caPem } = context;
    const kit = Number(facts.of('certificates', '.clock').trim()) * 1000;
    let least = Infinity;
    const findings = plan.certificates.flatMap((wish): Finding[] => {
      const { because } = wish;
      const chain = facts.of('certificates', wish.id);
      const faults = [
        ...certificateFaults(
          { chain, keyPublic: facts.of('certificates', `${wish.id}.pub`).trim() },
          certificateNames(wish, plan.site),
          caPem,
          { laptop: facts.to, kit },
        ).map(({ state, reason, hint }) => ({
          state,
          reason: `the certificate "${wish.id}" ${reason}`,
          hint,
        })),
      ];
      const mode = modeFault(wish, facts.of('certificates', `${wish.id}.stat`));
      if (mode !== null)
        faults.push({
          state: 'fail',
          reason: `the certificate "${wish.id}": ${mode}`,
          hint: 'build and flash the card again',
        });
      if (faults.length === 0)
        least = Math.min(
          least,
          Math.floor((Date.parse(new X509Certificate(chain).validTo) - facts.to) / DAY_MS),
        );
      return faults.map(({ state, reason, hint }, index) =>
        (state === 'fail' ? fail : warn)(
          index === 0 ? wish.id : `${wish.id}-${index + 1}`,
          this.title,
          reason,
          { hint, because },
        ),
      );
    });
    const authority = Math.floor((Date.parse(new X509Certificate(caPem).validTo) - facts.to) / DAY_MS);
    if (authority < WARN_DAYS)
      findings.push(
        (authority < 0 ? fail : warn)(
          'site-ca',
          this.title,
          `the site's CA ends in ${count(authority, 'day')}`,
          {
            hint: 'a new CA means that every phone has to install it again; plan the day',
          },
        ),
      );
    if (findings.length > 0) return findings;
    return [
      pass(
        '',
        this.title,
        `${count(plan.certificates.length, 'certificate')}, the first one ends in ${count(least, 'day')}`,
      ),
    ];
  },
};
