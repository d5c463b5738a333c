import { afterAll, beforeAll, expect, test } from 'vitest';
import { InterruptedError } from '../../src/diagnostics/errors.js';
import { createHost } from '../../src/host/host.js';
import { connectSsh } from '../../src/host/ssh.js';
import { createDialer } from '../../src/verify/dialer.js';
import { verify, type VerifyInput } from '../../src/verify/run.js';
import { planWith, SITE } from '../fixtures/verify-plan.js';
import { freePort } from '../helpers/ports.js';
import { startProsody, type TestProsody } from '../helpers/prosody.js';
import { createTestCa, type TestCa } from '../helpers/site-ca.js';
import { startSshd, type TestSshd } from '../helpers/sshd.js';

const host = createHost();
const { domain } = SITE;
const TURN_SECRET = 'a-secret-shared-with-the-relay';
let ca: TestCa;
let prosody: TestProsody;
let sshd: TestSshd;

beforeAll(async () => {
  ca = await createTestCa(host);
  prosody = await startProsody(host, ca, domain, { turnSecret: TURN_SECRET });
  sshd = await startSshd(host, [prosody.bin]);
});
afterAll(() => host.close());

const because = ['services', 'prosody'];
const talkPlan = planWith({
  checks: [
    {
      kind: 'xmpp-talk',
      title: 'two people talk',
      options: { domain, groups: `groups.${domain}`, share: `share.${domain}` },
      service: 'prosody',
      because,
    },
    {
      kind: 'turn-relay',
      title: 'a call can be relayed',
      options: { host: `turn.${domain}`, port: 3478, tlsPort: 5349 },
      service: 'coturn',
      because,
    },
  ],
});

function input(more: Partial<VerifyInput> = {}): VerifyInput {
  return {
    plan: talkPlan,
    secrets: { value: () => undefined },
    caPem: ca.caPem,
    ssh: (signal) => connectSsh(host, { ...sshd.target, ...(signal ? { signal } : {}) }),
    dialer: createDialer(SITE.network.address, {
      address: '127.0.0.1',
      tcp: { 5222: prosody.ports.c2s, 5223: prosody.ports.direct, 443: prosody.ports.https },
      udp: {},
    }),
    only: ['xmpp-talk'],
    ...more,
  };
}

const accounts = async (): Promise<string> => prosody.prosodyctl('shell', 'user', 'list', domain);

test('two people talk, and nothing of them is left', async () => {
  const report = await verify(host, input());
  const told = Object.fromEntries(report.results.map(({ id, state, reason }) => [id, `${state}: ${reason}`]));
  expect(told).toEqual({
    'xmpp-talk/invite': 'pass: two temporary accounts were made by invites',
    'xmpp-talk/encryption': 'pass: TLSv1.3; TLS 1.0 and 1.1 are refused',
    'xmpp-talk/message': 'pass: both ways, over direct TLS and STARTTLS',
    'xmpp-talk/websocket': 'pass: over a websocket, with copies between the devices of one person',
    'xmpp-talk/file': 'pass: 150 kB went up and came back unchanged',
    'xmpp-talk/room': 'pass: made, joined, a message to all, found again in its archive',
    'xmpp-talk/history': expect.stringMatching(/^pass: a device that was away finds \d+ messages/) as string,
    'xmpp-talk/keys': 'pass: published by one, found by the other',
    'xmpp-talk/calls': expect.stringMatching(/^pass: \d services for calls, with credentials/) as string,
    'xmpp-talk/strangers': 'pass: both are refused',
  });
  expect(await accounts()).not.toContain('verify-');
});

test('what an aborted run left behind is found and removed', async () => {
  await prosody.prosodyctl('shell', 'user', 'create', `verify-0123456789@${domain}`, 'secret');
  await prosody.prosodyctl('shell', 'user', 'create', `verify-person@${domain}`, 'secret');
  const report = await verify(host, input());
  expect(report.results.find(({ id }) => id === 'xmpp-talk/invite')?.reason).toContain('1 of an earlier run');
  const left = await accounts();
  expect(left).not.toContain('verify-0123456789');
  // A person may be called so; only names made by verify are taken for its own.
  expect(left).toContain('verify-person');
  await prosody.prosodyctl('shell', 'user', 'delete', `verify-person@${domain}`);
});

test('Ctrl-C in the middle leaves no account behind', async () => {
  const interrupted = createHost();
  let made = '';
  const running = verify(interrupted, {
    ...input(),
    ssh: (signal) => connectSsh(interrupted, { ...sshd.target, ...(signal ? { signal } : {}) }),
  });
  running.catch(() => {});
  for (let tries = 0; tries < 200 && !made.includes('verify-'); tries += 1) made = await accounts();
  expect(made).toContain('verify-');
  interrupted.interrupt();
  await expect(running).rejects.toBeInstanceOf(InterruptedError);
  expect(await accounts()).not.toContain('verify-');
  await interrupted.close();
});

test('a check that fails half-way leaves no account behind', async () => {
  const report = await verify(host, {
    ...input(),
    dialer: createDialer(SITE.network.address, {
      address: '127.0.0.1',
      // Nobody answers for the browser and the files.
      tcp: { 5222: prosody.ports.c2s, 5223: prosody.ports.direct, 443: await freePort() },
      udp: {},
    }),
  });
  const failed = report.results.filter(({ state }) => state === 'fail').map(({ id }) => id);
  expect(failed).toEqual(['xmpp-talk/websocket', 'xmpp-talk/file']);
  expect(await accounts()).not.toContain('verify-');
});

test('a chat server with another certificate is not talked to', async () => {
  const other = await createTestCa(host);
  const report = await verify(host, input({ caPem: other.caPem }));
  expect(report.results.map(({ id, state }) => `${id} ${state}`)).toEqual(['xmpp-talk fail']);
  expect(report.results[0]?.reason).toMatch(/certificate/);
  expect(await accounts()).not.toContain('verify-');
});

test('a chat server that lets everybody in is found', async () => {
  const open = await startProsody(host, ca, domain, {
    turnSecret: TURN_SECRET,
    open: true,
  });
  const door = await startSshd(host, [open.bin]);
  try {
    const report = await verify(host, {
      ...input(),
      ssh: (signal) => connectSsh(host, { ...door.target, ...(signal ? { signal } : {}) }),
      dialer: createDialer(SITE.network.address, {
        address: '127.0.0.1',
        tcp: { 5222: open.ports.c2s, 5223: open.ports.direct, 443: open.ports.https },
        udp: {},
      }),
    });
    expect(report.results.find(({ id }) => id === 'xmpp-talk/strangers')).toMatchObject({
      state: 'fail',
      reason: 'an account could be made without an invite',
    });
    expect(await open.prosodyctl('shell', 'user', 'list', domain)).not.toContain('verify-');
  } finally {
    await open.stop();
    await door.stop();
  }
});

test("the chat server's own complaints are told in words", async () => {
  const report = await verify(host, {
    ...input(),
    plan: planWith({
      checks: [
        {
          kind: 'prosody-check',
          title: 'the chat server finds nothing wrong with itself',
          options: {},
          service: 'prosody',
          because,
        },
      ],
    }),
    only: ['prosody-check'],
  });
  const [, general, features] = report.results;
  // This small server lacks what a kit has, and nothing answers for its names here.
  expect(general).toMatchObject({ id: 'prosody-check/check', state: 'fail' });
  expect(general?.reason).toMatch(/^prosodyctl check: \S/);
  expect(features).toMatchObject({ id: 'prosody-check/features', state: 'fail' });
  expect(features?.reason).toMatch(/^prosodyctl check features: missing /);
});
