import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHost } from '../../src/host/host.js';
import { packageRoot } from '../../src/host/paths.js';
import type { Site } from '../../src/services/contract.js';
import { service as dns } from '../../src/services/dns/service.js';
import { service as federation } from '../../src/services/federation/service.js';
import { service as firewall } from '../../src/services/firewall/service.js';
import { service as prosody } from '../../src/services/prosody/service.js';
import { service as ssh } from '../../src/services/ssh/service.js';
import type { CheckContext } from '../../src/verify/check.js';
import { check } from '../../src/verify/checks/federation.js';
import { siteCa, startSisterKits, type SisterKits } from '../helpers/sister-kits.js';

const PASSWORD = 'four plain words';
const site = (domain: string, number: number): Site => ({
  name: domain.split('.')[0] ?? '',
  title: domain,
  domain,
  languages: ['en'],
  timezone: 'UTC',
  board: 'pc',
  arch: 'amd64',
  base: 'debian',
  memoryMiB: 2048,
  storageGB: 32,
  mirror: 'auto',
  people: 8,
  network: {
    mode: 'lan',
    address: `10.77.0.${number}`,
    prefix: 24,
    network: '10.77.0.0',
    netmask: '255.255.255.0',
    broadcast: '10.77.0.255',
    dhcp: { enabled: false, from: '10.77.0.50', to: '10.77.0.250', leaseHours: 12 },
    wifi: null,
  },
  admin: { keys: [] },
  backup: { enabled: true, at: '02:30', keep: { daily: 7, weekly: 4, monthly: 6 } },
  federation: [],
  services: {},
});

/**
 * hill and school name one another. market names both, and neither names it. yard is named by nobody, and its certificate is signed by
 * school's CA, which may speak for names below school's domain.
 */
const HILL = site('hill.home.arpa', 1);
const SCHOOL = site('school.home.arpa', 2);
const MARKET = site('market.home.arpa', 3);
const YARD = site('yard.school.home.arpa', 4);
const domains = { hill: HILL.domain, school: SCHOOL.domain, market: MARKET.domain, yard: YARD.domain };
type Name = keyof typeof domains;

const host = createHost();
let kits: SisterKits;

beforeAll(async () => {
  const folder = await host.temporary('sister-cas');
  const ca = async (one: Site): Promise<{ folder: string; pem: string }> => {
    const at = join(folder, one.name);
    return { folder: at, pem: await siteCa(host, at, one) };
  };
  const [hill, school, market] = [await ca(HILL), await ca(SCHOOL), await ca(MARKET)];
  const sister = (one: Site, pem: string) => ({ domain: one.domain, address: one.network.address, ca: pem });
  const toHill = sister(HILL, hill.pem);
  const toSchool = sister(SCHOOL, school.pem);
  kits = await startSisterKits(
    host,
    [dns, federation, firewall, prosody, ssh],
    {
      hill: { site: { ...HILL, federation: [toSchool] }, ca: hill.folder, caSite: HILL },
      school: { site: { ...SCHOOL, federation: [toHill] }, ca: school.folder, caSite: SCHOOL },
      market: { site: { ...MARKET, federation: [toHill, toSchool] }, ca: market.folder, caSite: MARKET },
      yard: { site: { ...YARD, federation: [toHill] }, ca: school.folder, caSite: SCHOOL },
    },
    '10.77.0.200/24',
  );
  for (const [name, domain] of Object.entries(domains)) {
    const made = await kits.kit(name, 'prosodyctl', 'shell', 'user', 'create', `${name}@${domain}`, PASSWORD);
    expect(made.stdout + made.stderr).toContain('OK: Created');
  }
}, 600_000);
afterAll(() => host.close());

/** What the receiver gets, or how the sender is refused. */
async function message(from: Name, to: Name, text: string): Promise<unknown> {
  const person = (name: Name) => ({ name, domain: domains[name], password: PASSWORD });
  const { stdout, stderr } = await kits.laptop(
    process.execPath,
    join(packageRoot(), 'test/helpers/sister-people.mjs'),
    JSON.stringify({ from: person(from), to: person(to), text }),
  );
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as unknown;
}

/** Asks the name server of hill. */
const ASK = `
import { Resolver } from 'node:dns/promises';
const resolver = new Resolver({ tries: 1, timeout: 5000 });
resolver.setServers(['10.77.0.1']);
const [type, name] = process.argv.slice(1);
console.log(JSON.stringify(await resolver.resolve(name, type).catch((error) => error.code)));
`;

const denied = async (name: Name, counter: string): Promise<number> => {
  const { stdout } = await kits.kit(name, 'nft', 'list', 'counter', 'inet', 'commesh', counter);
  return Number(/packets (\d+)/.exec(stdout)?.[1]);
};

describe('sister sites', () => {
  it('have configurations their programs accept', async () => {
    const { stdout } = await kits.kit('hill', 'prosodyctl', 'check', 'config');
    expect(stdout).toContain('All checks passed');
    // All of it, as verify runs it.
    const all = await kits.kit('hill', 'prosodyctl', 'check');
    expect([all.exitCode, all.stdout.includes('Problems'), all.stdout]).toEqual([0, false, all.stdout]);
    expect((await kits.kit('hill', 'nft', '-c', '-f', '/etc/nftables.conf')).exitCode).toBe(0);
    const test = await kits.kit('hill', 'dnsmasq', '--test', '--conf-file=/etc/commesh/dnsmasq.conf');
    expect(test.stderr).toContain('syntax check OK');
  });

  it('write to one another, each way', async () => {
    expect(await message('hill', 'school', 'salam')).toEqual({ from: 'hill@hill.home.arpa', text: 'salam' });
    expect(await message('school', 'hill', 'bonjour')).toEqual({
      from: 'school@school.home.arpa',
      text: 'bonjour',
    });
    // Nothing was tried anywhere else.
    expect([await denied('hill', 'out_denied'), await denied('school', 'out_denied')]).toEqual([0, 0]);
  });

  it('show one another certificates; names are not believed by calling back', async () => {
    const { stdout } = await kits.kit('hill', 'prosodyctl', 'shell', 's2s', 'show');
    for (const arrow of ['-->', '<--']) {
      const line = stdout.split('\n').find((one) => one.includes(arrow)) ?? '';
      expect(line).toMatch(/school\.home\.arpa.*TLSv1\.3.*Succeeded.*Not used/);
    }
    const modules = await kits.kit('hill', 'prosodyctl', 'shell', 'module', 'list', HILL.domain);
    expect(modules.stdout).toContain('commesh_sisters');
    expect(modules.stdout).not.toContain('dialback');
  });

  it('are found by verify', async () => {
    const plan = kits.plans.get('hill');
    // The laptop has no SSH here; the check's own script runs on the kit all the same.
    const exec = async (_command: string, { stdin }: { stdin: string }) =>
      kits.kit('hill', 'sh', '-c', stdin);
    const context = { plan, ssh: () => Promise.resolve({ exec }) } as unknown as CheckContext;
    const states = async (): Promise<unknown> =>
      (await check.run(context, { xmpp: true })).map(({ state, reason }) => [state, reason]);
    // No web server runs on these kits.
    expect(await states()).toEqual([
      ['warn', expect.stringContaining('does not answer at 10.77.0.2, port 443;')],
    ]);
    const serve = (ca: string): Promise<unknown> =>
      kits.kit(
        'school',
        'sh',
        '-c',
        `openssl s_server -accept 443 -quiet -cert ${ca}.crt -cert_chain ${ca}.crt -key ${ca}.key >/dev/null 2>&1 </dev/null & echo $! >/tmp/server; sleep 1`,
      );
    await kits.kit('school', 'nft', 'add', 'element', 'inet', 'commesh', 'tcp_open', '{ 443 }');
    await serve('/etc/commesh/tls/prosody');
    expect(await states()).toEqual([['pass', 'school.home.arpa answers with a certificate of its own']]);
    await kits.kit('school', 'sh', '-c', 'kill $(cat /tmp/server)');
    await kits.kit(
      'school',
      'sh',
      '-c',
      'openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=school.home.arpa -addext subjectAltName=DNS:school.home.arpa -keyout /tmp/x.key -out /tmp/x.crt',
    );
    await serve('/tmp/x');
    expect(await states()).toEqual([['fail', expect.stringContaining('has a certificate of another site')]]);
  });

  it('are refused when they are not listed: nothing is sent to them', async () => {
    expect(await message('hill', 'market', 'hello')).toEqual({ refused: 'not-allowed' });
    expect(await message('hill', 'yard', 'hello')).toEqual({ refused: 'not-allowed' });
  });

  it('are refused when they are not listed: the firewall lets nothing in', async () => {
    const before = await denied('hill', 'in_denied');
    expect(await message('market', 'hill', 'let me in')).toHaveProperty('refused');
    expect(await denied('hill', 'in_denied')).toBeGreaterThan(before);
  });

  it('are refused when they are not listed: without the firewall, by their certificate or their name', async () => {
    await kits.kit('hill', 'nft', 'flush', 'ruleset');
    // A foreign CA.
    expect(await message('market', 'hill', 'let me in')).toHaveProperty('refused');
    // A certificate that is trusted, for a name nobody listed.
    expect(await message('yard', 'hill', 'let me in')).toHaveProperty('refused');
    const log = await kits.log('hill');
    expect(log).toMatch(/market\.home\.arpa because its certificate is not trusted/);
    expect(log).toMatch(/yard\.school\.home\.arpa is not a sister site/);
    // While those who are listed still get through.
    expect(await message('school', 'hill', 'still here')).toEqual({
      from: 'school@school.home.arpa',
      text: 'still here',
    });
  });

  it('have the names the kit answers, and no others', async () => {
    const ask = async (type: string, name: string): Promise<unknown> => {
      const { stdout } = await kits.laptop(process.execPath, '--input-type=module', '-e', ASK, type, name);
      return JSON.parse(stdout) as unknown;
    };
    for (const name of ['school.home.arpa', 'matrix.school.home.arpa', 'anything.school.home.arpa'])
      expect([name, await ask('A', name)]).toEqual([name, ['10.77.0.2']]);
    expect(await ask('SRV', '_xmpp-server._tcp.school.home.arpa')).toEqual([
      { name: 'school.home.arpa', port: 5269, priority: 0, weight: 5 },
    ]);
    expect(await ask('A', 'market.home.arpa')).toBe('ENOTFOUND');
    // The name is there, and has no such address: an app that asks for both goes on with the other.
    expect(await ask('AAAA', 'school.home.arpa')).toBe('ENODATA');
  });
});
