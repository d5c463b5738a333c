import { createSocket, type Socket } from 'node:dgram';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createHost } from '../../src/host/host.js';
import { connectSsh } from '../../src/host/ssh.js';
import type { Plan } from '../../src/plan/types.js';
import { createDialer } from '../../src/verify/dialer.js';
import { verify } from '../../src/verify/run.js';
import type { Report } from '../../src/verify/types.js';
import { planWith, SITE } from '../fixtures/verify-plan.js';
import { startCoturn, type TestCoturn } from '../helpers/coturn.js';
import { startProsody, type TestProsody } from '../helpers/prosody.js';
import { createTestCa, type TestCa } from '../helpers/site-ca.js';
import { startSshd, type TestSshd } from '../helpers/sshd.js';

const host = createHost();
const { domain } = SITE;
const because = ['services', 'coturn'];
let ca: TestCa;
let coturn: TestCoturn;

beforeAll(async () => {
  ca = await createTestCa(host);
  coturn = await startCoturn(host, ca);
});
afterAll(() => host.close());

// The relay of this test lives on loopback, so that is the kit's address here.
const site = { ...SITE, network: { ...SITE.network, address: '127.0.0.1', broadcast: '10.77.0.255' } };
const relayCheck = (port: number): Plan['checks'][number] => ({
  kind: 'turn-relay',
  title: 'a call can be relayed',
  options: { host: `turn.${domain}`, port, tlsPort: 5349 },
  service: 'coturn',
  because,
});

function dialer(server: TestCoturn, more: Record<number, number> = {}): ReturnType<typeof createDialer> {
  return createDialer('127.0.0.1', {
    address: '127.0.0.1',
    tcp: { 3478: server.port, [server.port]: server.port, 5349: server.tlsPort, ...more },
    udp: { 3478: server.port, [server.port]: server.port },
  });
}

async function run(server: TestCoturn, secret: string | undefined, plan?: Plan): Promise<Report> {
  return verify(host, {
    plan: plan ?? planWith({ site, checks: [relayCheck(3478)] }),
    secrets: { value: (id) => (id === 'turn-secret' ? secret : undefined) },
    caPem: ca.caPem,
    ssh: () => Promise.reject(new Error('no SSH here')),
    dialer: dialer(server),
    only: ['turn-relay'],
  });
}
const told = (report: Report): Record<string, string> =>
  Object.fromEntries(report.results.map(({ id, state, reason }) => [id, `${state}: ${reason}`]));

test('a relay as it should be passes, with credentials from the site’s secret', async () => {
  expect(told(await run(coturn, coturn.secret))).toEqual({
    'turn-relay/udp': "pass: data went both ways, credentials from the site's secret",
    'turn-relay/tcp': "pass: data went both ways, credentials from the site's secret",
    'turn-relay/tls': "pass: data went both ways, credentials from the site's secret",
    'turn-relay/strangers': 'pass: no credentials and wrong ones are refused',
    'turn-relay/peers': 'pass: 8 addresses outside the kit are refused, and so are TCP relays',
    'turn-relay/services':
      'pass: the name server, the time server and the relay itself do not answer through it',
  });
});

test('without a secret and without a chat server there is nothing to try it with', async () => {
  expect(told(await run(coturn, undefined))).toEqual({
    'turn-relay': 'skip: there are no credentials to try it with',
  });
});

test('a wrong secret is a relay nobody can use', async () => {
  const report = told(await run(coturn, 'another secret'));
  for (const transport of ['udp', 'tcp', 'tls'])
    expect(report[`turn-relay/${transport}`]).toMatch(/^fail: refused with 401/);
});

test('a relay that leads to the kit itself and elsewhere is found', async () => {
  const careless = await startCoturn(host, ca, ['allowed-peer-ip=192.0.2.0-192.0.2.255']);
  // Somebody answers on the kit's time port, reached through the relay.
  const service: Socket = createSocket('udp4');
  service.on('message', (message, { port, address }) => service.send(message, port, address));
  await new Promise<void>((done, failed) => {
    service.once('error', failed);
    service.bind(123, '127.0.0.1', done);
  });
  try {
    const report = told(await run(careless, careless.secret));
    expect(report['turn-relay/peers']).toBe('fail: it leads to 192.0.2.1');
    expect(report['turn-relay/services']).toBe('fail: the time server can be reached through it');
    expect(report['turn-relay/udp']).toMatch(/^pass/);
  } finally {
    service.close();
    await careless.stop();
  }
});

test('nobody there is told for each way', async () => {
  const gone = await startCoturn(host, ca);
  await gone.stop();
  const report = await run(gone, gone.secret);
  expect(report.counts).toMatchObject({ pass: 0, fail: 6 });
});

test('credentials come from the chat server as an app gets them', async () => {
  const prosody: TestProsody = await startProsody(host, ca, domain, {
    turnSecret: coturn.secret,
    turnPort: coturn.port,
  });
  const sshd: TestSshd = await startSshd(host, [prosody.bin]);
  const talk: Plan['checks'][number] = {
    kind: 'xmpp-talk',
    title: 'two people talk',
    options: { domain, groups: `groups.${domain}`, share: `share.${domain}` },
    service: 'prosody',
    because,
  };
  try {
    const report = await verify(host, {
      plan: planWith({ site, checks: [talk, relayCheck(coturn.port)] }),
      secrets: { value: () => undefined },
      caPem: ca.caPem,
      ssh: (signal) => connectSsh(host, { ...sshd.target, ...(signal ? { signal } : {}) }),
      dialer: dialer(coturn, {
        5222: prosody.ports.c2s,
        5223: prosody.ports.direct,
        443: prosody.ports.https,
      }),
      only: ['turn-relay', 'xmpp-talk'],
    });
    // The relay's own port answers through it: only a kit's firewall keeps that in.
    expect(
      report.results.filter(({ state }) => state !== 'pass').map(({ id, reason }) => [id, reason]),
    ).toEqual([['turn-relay/services', 'the relay itself can be reached through it']]);
    expect(told(report)['turn-relay/udp']).toBe(
      'pass: data went both ways, credentials from the chat server',
    );
    expect(await prosody.prosodyctl('shell', 'user', 'list', domain)).not.toContain('verify-');
  } finally {
    await sshd.stop();
    await prosody.stop();
  }
});
