import { createSocket } from 'node:dgram';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createHost } from '../../src/host/host.js';
import { openTurn, sharedSecretCredentials, type TurnServer } from '../../src/verify/clients/turn.js';
import { type TestCoturn, startCoturn } from '../helpers/coturn.js';
import { createTestCa, type TestCa } from '../helpers/site-ca.js';

const host = createHost();
let ca: TestCa;
let coturn: TestCoturn;

beforeAll(async () => {
  ca = await createTestCa(host);
  coturn = await startCoturn(host, ca);
});
afterAll(() => host.close());

const credentials = (secret = coturn.secret): ReturnType<typeof sharedSecretCredentials> =>
  sharedSecretCredentials(secret, 'verify', Math.floor(Date.now() / 1000) + 600);
const server = (transport: TurnServer['transport']): TurnServer => ({
  endpoint: { host: '127.0.0.1', port: transport === 'tls' ? coturn.tlsPort : coturn.port },
  transport,
  tls: { caPem: ca.caPem, servername: 'turn.kit.home.arpa' },
});

describe.each(['udp', 'tcp', 'tls'] as const)('over %s', (transport) => {
  test('two allocations relay data both ways', async () => {
    const [a, b] = await Promise.all([
      openTurn(server(transport), credentials()),
      openTurn(server(transport), credentials()),
    ]);
    try {
      const [one, two] = [await a.allocate(), await b.allocate()];
      expect(one.lifetimeSeconds).toBeGreaterThan(0);
      await a.createPermission(two.relayed.ip);
      await b.createPermission(one.relayed.ip);
      a.send(two.relayed, Buffer.from('from a'));
      expect(await b.receive(3000)).toMatchObject({ peer: one.relayed, data: Buffer.from('from a') });
      await b.bindChannel(0x4001, one.relayed);
      b.sendChannel(0x4001, Buffer.from('from b'));
      expect(await a.receive(3000)).toMatchObject({ peer: two.relayed, data: Buffer.from('from b') });
      a.send(two.relayed, Buffer.from('back'));
      expect(await b.receive(3000)).toMatchObject({ channel: 0x4001, data: Buffer.from('back') });
    } finally {
      await Promise.all([a.close(), b.close()]);
    }
  });

  test('no credentials and wrong ones are refused', async () => {
    const stranger = await openTurn(server(transport), null);
    await expect(stranger.allocate()).rejects.toMatchObject({ code: 401 });
    await stranger.close();
    const liar = await openTurn(server(transport), credentials('wrong'));
    await expect(liar.allocate()).rejects.toMatchObject({ code: 401 });
    await liar.close();
    const late = await openTurn(
      server(transport),
      sharedSecretCredentials(coturn.secret, 'verify', 1_000_000_000),
    );
    await expect(late.allocate()).rejects.toMatchObject({ code: 401 });
    await late.close();
  });

  test('peers elsewhere are forbidden, also in other spellings', async () => {
    const client = await openTurn(server(transport), credentials());
    try {
      await client.allocate();
      await expect(client.createPermission('192.0.2.1')).rejects.toMatchObject({ code: 403 });
      for (const ip of ['::1', '::ffff:127.0.0.1', '64:ff9b::7f00:1'])
        await expect(client.createPermission(ip)).rejects.toMatchObject({ code: 443 });
    } finally {
      await client.close();
    }
  });
});

test('a server with another CA is not talked to', async () => {
  const other = await createTestCa(host);
  await expect(
    openTurn({ ...server('tls'), tls: { caPem: other.caPem, servername: 'turn.kit.home.arpa' } }, null),
  ).rejects.toThrow(/certificate/);
  await expect(
    openTurn({ ...server('tls'), tls: { caPem: ca.caPem, servername: 'other.home.arpa' } }, null),
  ).rejects.toThrow(/altnames/);
});

test('silence is told, not waited for', async () => {
  const silent = createSocket('udp4');
  await new Promise<void>((done) => silent.bind(0, '127.0.0.1', done));
  try {
    const client = await openTurn(
      { endpoint: { host: '127.0.0.1', port: silent.address().port }, transport: 'udp' },
      credentials(),
      AbortSignal.timeout(700),
    );
    await expect(client.allocate()).rejects.toThrow('given up');
    await client.close();
  } finally {
    silent.close();
  }
});
