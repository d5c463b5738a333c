import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHost } from '../../src/host/host.js';
import { service as coturn } from '../../src/services/coturn/service.js';
import { service as synapse } from '../../src/services/synapse/service.js';
import { service as web } from '../../src/services/web/service.js';
import { SITE } from '../fixtures/verify-plan.js';
import { BEEP, callThroughRelay, type IceServer, type Side } from '../helpers/call-in-browser.js';
import { browsersFor, type Device } from '../helpers/chat-in-browser.js';
import { startChatKit, type ChatKit } from '../helpers/chat-kit.js';

/** A call between two ends that meet only in the kit's relay: real coturn, Synapse, nginx, and Chromium on the phone's end of the cable. */

const host = createHost();
const { domain, network } = SITE;
const PASSWORD = 'a-long-password';
/** What a client does before a call. Arguments: domain, name, password. */
const LOGIN = `
const [domain, user, password] = process.argv.slice(1);
const base = 'https://matrix.' + domain + '/_matrix/client/v3';
const login = await fetch(base + '/login', {
  method: 'POST',
  body: JSON.stringify({ type: 'm.login.password', identifier: { type: 'm.id.user', user }, password }),
});
const { access_token } = await login.json();
const turn = await fetch(base + '/voip/turnServer', { headers: { authorization: 'Bearer ' + access_token } });
console.log(await turn.text());
`;

let kit: ChatKit;
let device: Device;
let relay: IceServer;

beforeAll(async () => {
  kit = await startChatKit(host, SITE, [coturn, synapse, web]);
  // What holds the relay back on a kit holds it back here; the chain before it counts.
  const rules = await kit.kit('nft', '-f', '/etc/nftables.d/50-coturn.nft');
  expect(rules).toMatchObject({ exitCode: 0, stderr: '' });
  for (const words of [
    'add table inet seen',
    'add chain inet seen out { type filter hook output priority -20; }',
    `add rule inet seen out ip saddr ${network.address} ip daddr ${network.address} udp sport >= 61000 udp dport >= 61000 counter`,
  ])
    expect(await kit.kit('nft', words)).toMatchObject({ exitCode: 0, stderr: '' });
  const account = ['-u', 'ana', '-p', PASSWORD, '--no-admin', '-c', '/etc/matrix-synapse/homeserver.yaml'];
  const register = ['-m', 'synapse._scripts.register_new_matrix_user', ...account, 'http://127.0.0.1:8008'];
  expect((await kit.kit('/usr/lib/commesh/synapse/bin/python', ...register)).stdout).toContain('Success');
  const login = ['--input-type=module', '-e', LOGIN, domain, 'ana', PASSWORD];
  const { stdout, stderr } = await kit.phone('node', ...login);
  expect(stderr).toBe('');
  const turn = JSON.parse(stdout) as { uris: string[]; username: string; password: string };
  relay = { urls: turn.uris, username: turn.username, credential: turn.password };

  const folder = await host.temporary('browser');
  const executable = join(folder, 'chromium-on-the-phone');
  const words = kit.enterPhone.map((word) => `'${word}'`).join(' ');
  await writeFile(executable, `#!/bin/sh\nexec ${words} /usr/bin/chromium "$@"\n`);
  await chmod(executable, 0o755);
  const https = { address: network.address, port: 443 };
  const options = { domain, caPem: kit.caPem, https, folder, executable, fakeDevices: true };
  device = await (await browsersFor(host, options)).open('ana');
  await device.page.goto(`https://${domain}/`);
}, 900_000);
afterAll(async () => {
  await device.context.close();
  await host.close();
});

/** Packets from relay to relay. */
async function relayed(): Promise<number> {
  const { stdout } = await kit.kit('nft', 'list', 'table', 'inet', 'seen');
  return Number(/counter packets (\d+) /.exec(stdout)?.[1]);
}
/** Packets the kit's rules kept from leaving the relay. */
async function dropped(): Promise<readonly number[]> {
  const { stdout } = await kit.kit('nft', 'list', 'table', 'inet', 'commesh_turn');
  return [...stdout.matchAll(/counter packets (\d+) /g)].map(([, count]) => Number(count));
}

function expectCall(sides: readonly [Side, Side], way: string): void {
  for (const side of sides) {
    expect(side).toMatchObject({
      state: 'connected',
      found: ['relay'],
      pair: { local: 'relay', remote: 'relay', relayProtocol: way },
    });
    for (const end of side.pair?.ends ?? [])
      expect(end).toMatch(new RegExp(`^${network.address}:6[1-5]\\d{3}$`));
    const [first, later] = side.received ?? [];
    if (first === undefined || later === undefined) throw new Error('nothing was received');
    expect(later.framesDecoded).toBeGreaterThanOrEqual(first.framesDecoded + 100);
    expect(later.videoBytes).toBeGreaterThan(first.videoBytes + 10_000);
    expect(later.audioBytes).toBeGreaterThan(first.audioBytes);
    expect(later.audioEnergy).toBeGreaterThan(first.audioEnergy + BEEP);
  }
  const [one, two] = sides;
  expect(one.pair?.ends).toEqual([...(two.pair?.ends ?? [])].reverse());
}

describe('a call of two people who can only meet in the relay', () => {
  it.each(['udp', 'tcp'])('has voice and video both ways, with the relay reached by %s', async (way) => {
    const urls = relay.urls.filter((url) => url.endsWith(`transport=${way}`));
    expect(urls).toEqual([`turn:turn.${domain}:3478?transport=${way}`]);
    const before = await relayed();
    const sides = await callThroughRelay(device.page, [{ ...relay, urls }]);
    const packets = (await relayed()) - before;
    console.info(`${way}: ${packets} packets from relay to relay, ${JSON.stringify(sides)}`);
    expectCall(sides, way);
    expect(packets).toBeGreaterThan(200);
    expect(await dropped()).toEqual([0, 0, 0, 0]);
  });

  it('does not come about with wrong credentials', async () => {
    const before = await relayed();
    const sides = await callThroughRelay(device.page, [{ ...relay, credential: 'wrong' }]);
    for (const side of sides) {
      expect(side).toMatchObject({ found: [], pair: null, received: null });
      expect(side.state).not.toBe('connected');
      expect(side.errors).toContain(401);
    }
    expect(await relayed()).toBe(before);
  });
});
