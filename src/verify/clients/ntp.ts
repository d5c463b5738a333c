import { createSocket } from 'node:dgram';
import { deadline } from '../deadline.js';
import type { Endpoint } from '../dialer.js';

// Seconds from 1900 to 1970 (RFC 5905, section 6).
const NTP_EPOCH = 2_208_988_800;

export interface NtpAnswer {
  /** 0 normal … 3 the server says its own clock is not set. */
  readonly leap: number;
  /** 1..15; 16 and 0 mean unusable. */
  readonly stratum: number;
  /** The server's clock minus ours, milliseconds, by the four time stamps (RFC 5905, section 8). */
  readonly offsetMs: number;
  readonly roundTripMs: number;
}

/** A client's request: version 4, mode 3, transmit time stamp only (RFC 4330, section 5). `now` in ms since 1970. */
export function encodeNtpRequest(now: number): Buffer {
  const message = Buffer.alloc(48);
  message[0] = 0x23;
  writeTime(message, 40, now);
  return message;
}

/** Reads a server's answer. @throws RangeError when it is none. */
export function decodeNtpAnswer(message: Buffer, sent: number, received: number): NtpAnswer {
  if (message.length < 48 || ((message[0] ?? 0) & 7) !== 4) throw new RangeError('this is not an NTP answer');
  const arrived = readTime(message, 32);
  const answered = readTime(message, 40);
  return {
    leap: (message[0] ?? 0) >> 6,
    stratum: message[1] ?? 0,
    offsetMs: Math.round((arrived - sent + (answered - received)) / 2),
    roundTripMs: Math.round(received - sent - (answered - arrived)),
  };
}

function writeTime(message: Buffer, offset: number, milliseconds: number): void {
  message.writeUInt32BE((Math.floor(milliseconds / 1000) + NTP_EPOCH) >>> 0, offset);
  message.writeUInt32BE(Math.floor(((milliseconds % 1000) / 1000) * 2 ** 32) >>> 0, offset + 4);
}

function readTime(message: Buffer, offset: number): number {
  return (
    (message.readUInt32BE(offset) - NTP_EPOCH) * 1000 + (message.readUInt32BE(offset + 4) / 2 ** 32) * 1000
  );
}

/** Asks a time server. @param now this computer's clock. @throws Error when nothing answers in time. */
export function askTime(
  server: Endpoint,
  now: () => number,
  signal: AbortSignal,
  timeoutMs = 6000,
): Promise<NtpAnswer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    const limit = deadline(timeoutMs, signal);
    let sent = 0;
    const send = (): void => {
      sent = now();
      socket.send(encodeNtpRequest(sent), server.port, server.host);
    };
    const timer = setInterval(send, timeoutMs / 3);
    const end = (action: () => void): void => {
      clearInterval(timer);
      limit.done();
      socket.close();
      action();
    };
    const onAbort = (): void =>
      end(() => reject(new Error('the kit does not answer the question for the time')));
    limit.signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', (error) => end(() => reject(error)));
    socket.on('message', (message) => {
      try {
        const answer = decodeNtpAnswer(message, sent, now());
        end(() => resolve(answer));
      } catch (error) {
        end(() => reject(error instanceof Error ? error : new Error(String(error))));
      }
    });
    send();
  });
}
