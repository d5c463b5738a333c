import type { PortWish } from '../services/contract.js';
import { lines } from './facts.js';

/** A socket that waits for packets or connections. */
export interface Listener {
  readonly protocol: 'tcp' | 'udp';
  /** `0.0.0.0`, `::`, `*` or one address, without its interface. */
  readonly address: string;
  readonly port: number;
  /** Names of the programs that hold it. */
  readonly processes: readonly string[];
}

/** ss(8): listening, TCP and UDP, numbers, processes, no header. */
export const LISTENERS_COMMAND = 'ss -H -l -t -u -n -p';

/** Reads the output of `LISTENERS_COMMAND`. */
export function parseListeners(text: string): readonly Listener[] {
  return lines(text).flatMap((line): Listener[] => {
    const [protocol, , , , local = ''] = line.trim().split(/\s+/);
    const match = /^\[?(.*?)\]?(?:%[^:\]]+\]?)?:(\d+)$/.exec(local);
    if ((protocol !== 'tcp' && protocol !== 'udp') || !match) return [];
    return [
      {
        protocol,
        address: match[1] ?? '',
        port: Number(match[2]),
        processes: [...line.matchAll(/\("([^"]*)",pid=/g)].map((found) => found[1] ?? ''),
      },
    ];
  });
}

/** Whether only the device itself can reach an address. */
export function isLoopback(address: string): boolean {
  return address.startsWith('127.') || address === '::1' || address.startsWith('::ffff:127.');
}

/** Whether a planned port (or range) accounts for a socket. */
export function covers(wish: Pick<PortWish, 'protocol' | 'port' | 'to'>, listener: Listener): boolean {
  return (
    wish.protocol === listener.protocol &&
    listener.port >= wish.port &&
    listener.port <= (wish.to ?? wish.port)
  );
}
