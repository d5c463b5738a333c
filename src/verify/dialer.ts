import type { Forwards } from './types.js';

/** Where to connect instead of the kit's own address and port. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** How a port of the kit is reached from this computer; names still go into SNI, Host headers and streams. */
export interface Dialer {
  tcp(port: number): Endpoint;
  udp(port: number): Endpoint;
}

/**
 * The way to the kit: its address as it is, or the forwarded ports of an emulator.
 * Both functions throw for a port that is not forwarded.
 */
export function createDialer(address: string, forwards?: Forwards): Dialer {
  if (!forwards)
    return { tcp: (port) => ({ host: address, port }), udp: (port) => ({ host: address, port }) };
  const through = (table: Readonly<Record<string, number>>, protocol: string) => (port: number) => {
    const mapped = table[String(port)];
    if (mapped === undefined) throw new Error(`no ${protocol} port is forwarded to port ${port} of the kit`);
    return { host: forwards.address, port: mapped };
  };
  return { tcp: through(forwards.tcp, 'TCP'), udp: through(forwards.udp, 'UDP') };
}
