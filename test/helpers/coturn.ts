import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from '../../src/host/host.js';
import { freePort, untilOpen } from './ports.js';
import type { TestCa } from './site-ca.js';
import { startFromTree, treeTemporary } from './tree.js';

export interface TestCoturn {
  readonly port: number;
  readonly tlsPort: number;
  readonly secret: string;
  readonly realm: string;
  stop(): Promise<void>;
}

/** coturn on loopback. `extra` lines come last; loopback peers are allowed because loopback is all there is here. */
export async function startCoturn(
  host: Host,
  ca: TestCa,
  extra: readonly string[] = [],
): Promise<TestCoturn> {
  const folder = await treeTemporary(host, 'coturn');
  const port = await freePort();
  const tlsPort = await freePort();
  const realm = 'kit.home.arpa';
  const secret = 'a-secret-of-the-relay-test';
  await ca.issue(folder, 'turn', ['turn.kit.home.arpa', '127.0.0.1']);
  await writeFile(
    join(folder, 'turnserver.conf'),
    [
      'listening-ip=127.0.0.1',
      'relay-ip=127.0.0.1',
      `listening-port=${port}`,
      `tls-listening-port=${tlsPort}`,
      'min-port=49160',
      'max-port=49199',
      'fingerprint',
      'use-auth-secret',
      `static-auth-secret=${secret}`,
      `realm=${realm}`,
      `cert=${folder}/turn.crt`,
      `pkey=${folder}/turn.key`,
      'no-multicast-peers',
      'no-tcp-relay',
      'no-rfc5780',
      'no-cli',
      'no-dtls',
      'stale-nonce=600',
      'denied-peer-ip=0.0.0.0-255.255.255.255',
      'denied-peer-ip=::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
      'allow-loopback-peers',
      'allowed-peer-ip=127.0.0.1',
      `pidfile=${folder}/turn.pid`,
      `userdb=${folder}/turndb`,
      'log-file=stdout',
      ...extra,
      '',
    ].join('\n'),
  );
  const running = await startFromTree(host, folder, [
    'turnserver',
    '-c',
    `${folder}/turnserver.conf`,
    '--log-file',
    'stdout',
  ]);
  await untilOpen(port);
  await untilOpen(tlsPort);
  return { port, tlsPort, secret, realm, stop: () => running.stop() };
}
