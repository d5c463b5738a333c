import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import type { Forwards } from '../../verify/types.js';
import type { KitPort } from './network.js';

const ADDRESS = '127.0.0.1';
/** Port 443 of the kit is 20443 here, when nobody else has it. */
const USUAL_OFFSET = 20_000;

/**
 * Free ports of this machine for the kit's ports.
 * @param usual take easily remembered ones where they are free.
 */
export async function chooseForwards(ports: readonly KitPort[], usual: boolean): Promise<Forwards> {
  const chosen = { tcp: {} as Record<string, number>, udp: {} as Record<string, number> };
  const taken = { tcp: new Set<number>(), udp: new Set<number>() };
  for (const { protocol, port } of ports) {
    const wanted = port + USUAL_OFFSET;
    let here = usual && wanted < 32_768 && (await isFree(protocol, wanted)) ? wanted : 0;
    while (here === 0 || taken[protocol].has(here)) here = await anyFree(protocol);
    taken[protocol].add(here);
    chosen[protocol][String(port)] = here;
  }
  return { address: ADDRESS, ...chosen };
}

/** Free UDP ports of this machine, all different. */
export async function freeUdpPorts(count: 2): Promise<readonly [number, number]>;
export async function freeUdpPorts(count: 4): Promise<readonly [number, number, number, number]>;
export async function freeUdpPorts(count: number): Promise<readonly number[]> {
  const found = new Set<number>();
  while (found.size < count) found.add(await listenUdp(0));
  return [...found];
}

async function isFree(protocol: 'tcp' | 'udp', port: number): Promise<boolean> {
  try {
    await (protocol === 'tcp' ? listenTcp(port) : listenUdp(port));
    return true;
  } catch {
    return false;
  }
}

function anyFree(protocol: 'tcp' | 'udp'): Promise<number> {
  return protocol === 'tcp' ? listenTcp(0) : listenUdp(0);
}

function listenTcp(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(port, ADDRESS, () => {
      const address = server.address();
      const found = address !== null && typeof address === 'object' ? address.port : 0;
      server.close(() => resolve(found));
    });
  });
}

function listenUdp(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.once('error', reject);
    socket.bind(port, ADDRESS, () => {
      const found = socket.address().port;
      socket.close(() => resolve(found));
    });
  });
}
