/** People of a Matrix server as their apps look to it, and the figures they come to (Matrix client-server API v3). */
import { setTimeout as sleep } from 'node:timers/promises';

export interface Account {
  /** Local part or whole address. */
  readonly user: string;
  readonly password: string;
}

export interface Question {
  readonly method: string;
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body?: string | Uint8Array<ArrayBuffer>;
  readonly timeoutMs: number;
}

/** One request to the server, wherever it is. @throws Error without an answer. */
export type Send = (question: Question) => Promise<{ status: number; text: string }>;

/** Bytes. `cgroup`: memory.current without droppable file cache, where there is a cgroup to look at. */
export interface Memory {
  readonly cgroup: number | null;
  readonly pss: number;
  readonly rss: number;
}
export interface Sample {
  /** Seconds from the beginning of the load; below zero before anybody has logged in. */
  readonly at: number;
  readonly units: Readonly<Record<string, Memory>>;
}

export interface Load {
  /** From "send" to each reader's /sync, milliseconds. */
  readonly delays: readonly number[];
  readonly requests: number;
  readonly messages: number;
  readonly pictures: number;
  /** What went wrong and how often. */
  readonly errors: Readonly<Record<string, number>>;
  readonly rooms: readonly string[];
  /** `mxc:` addresses. */
  readonly media: readonly string[];
}

interface Sync {
  next_batch?: string;
  rooms?: {
    join?: Record<
      string,
      { timeline?: { events?: { type: string; event_id: string; content: { sent?: number } }[] } }
    >;
  };
}

/** A value below which this share of the values lies; NaN of none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** Seconds of a pause: exponential, so that people come in bunches, and never longer than three times the mean. */
const pause = (mean: number): number => Math.min(-Math.log(1 - Math.random()), 3) * mean;

/**
 * Logs everybody in, puts them into one room and each into a chat with the next, and lets them live for so long: each syncs all the
 * time, writes about every 20 seconds after typing, reads what came, sends a device something that looks like a room key after
 * every fifth message and a picture of 200 KB after every fifteenth.
 */
export async function runLoad(send: Send, accounts: readonly Account[], seconds: number): Promise<Load> {
  const delays: number[] = [];
  const errors: Record<string, number> = {};
  const rooms: string[] = [];
  const media: string[] = [];
  const count = { requests: 0, messages: 0, pictures: 0, transaction: 0 };
  const wrong = (what: string): void => {
    errors[what] = (errors[what] ?? 0) + 1;
  };
  const call = async <T>(
    token: string,
    method: string,
    path: string,
    body?: unknown,
    timeoutMs = 60_000,
  ): Promise<T | null> => {
    const name = `${method} ${path
      .replace(/\?.*/, '')
      .replaceAll(/[!@$%][^/]*/g, '…')
      .replace(/\/\d+$/, '')}`;
    count.requests += 1;
    try {
      const picture = body instanceof Uint8Array;
      const { status, text } = await send({
        method,
        path: picture ? path : `/_matrix/client/v3${path}`,
        headers: {
          'content-type': picture ? 'image/png' : 'application/json',
          ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
        },
        ...(body === undefined
          ? {}
          : { body: picture ? (body as Uint8Array<ArrayBuffer>) : JSON.stringify(body) }),
        timeoutMs,
      });
      if (status === 200) return JSON.parse(text) as T;
      wrong(`${name}: ${status}`);
    } catch (error) {
      wrong(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
    return null;
  };

  interface Person {
    readonly id: string;
    readonly token: string;
    readonly device: string;
    readonly rooms: string[];
    since: string;
  }
  const people: Person[] = [];
  for (const { user, password } of accounts) {
    const answer = await call<{ user_id: string; access_token: string; device_id: string }>(
      '',
      'POST',
      '/login',
      { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password },
    );
    if (answer === null) throw new Error(`${user} cannot log in: ${JSON.stringify(errors)}`);
    people.push({
      id: answer.user_id,
      token: answer.access_token,
      device: answer.device_id,
      rooms: [],
      since: '',
    });
  }
  const meet = async (host: Person, guests: readonly Person[], direct: boolean): Promise<void> => {
    const made = await call<{ room_id: string }>(host.token, 'POST', '/createRoom', {
      preset: 'private_chat',
      is_direct: direct,
      invite: guests.map(({ id }) => id),
    });
    if (made === null) throw new Error(`no room can be made: ${JSON.stringify(errors)}`);
    rooms.push(made.room_id);
    host.rooms.push(made.room_id);
    for (const guest of guests) {
      if ((await call(guest.token, 'POST', `/join/${encodeURIComponent(made.room_id)}`, {})) !== null)
        guest.rooms.push(made.room_id);
    }
  };
  const [first] = people;
  if (first === undefined) throw new Error('there are no accounts');
  await meet(first, people.slice(1), false);
  for (const [at, person] of people.entries()) {
    const next = people[(at + 1) % people.length];
    if (next !== undefined && next !== person) await meet(person, [next], true);
  }

  const end = performance.now() + seconds * 1000;
  const over = (): boolean => performance.now() >= end;
  const begun = performance.timeOrigin + performance.now();
  const live = async (person: Person): Promise<void> => {
    while (!over()) {
      const query = new URLSearchParams({
        timeout: String(Math.max(0, Math.min(30_000, Math.floor(end - performance.now())))),
      });
      if (person.since !== '') query.set('since', person.since);
      const answer = await call<Sync>(person.token, 'GET', `/sync?${query.toString()}`, undefined, 90_000);
      const seen = performance.timeOrigin + performance.now();
      if (answer === null) {
        await sleep(1000);
        continue;
      }
      person.since = answer.next_batch ?? person.since;
      for (const [room, { timeline }] of Object.entries(answer.rooms?.join ?? {})) {
        const events = (timeline?.events ?? []).filter(({ type }) => type === 'm.room.message');
        for (const { content } of events)
          if (content.sent !== undefined && content.sent >= begun)
            delays.push(Math.max(0, seen - content.sent));
        const last = events.at(-1);
        if (last !== undefined)
          await call(
            person.token,
            'POST',
            `/rooms/${encodeURIComponent(room)}/receipt/m.read/${encodeURIComponent(last.event_id)}`,
            {},
          );
      }
    }
  };
  const write = async (person: Person, next: Person): Promise<void> => {
    // Not all at once.
    await sleep(Math.min(Math.random() * 20, seconds / 2) * 1000);
    for (let own = 1; !over(); own += 1) {
      const room = person.rooms[Math.floor(Math.random() * person.rooms.length)];
      if (room === undefined) return;
      const at = `/rooms/${encodeURIComponent(room)}`;
      await call(person.token, 'PUT', `${at}/typing/${encodeURIComponent(person.id)}`, {
        typing: true,
        timeout: 10_000,
      });
      await sleep(2000);
      let content: Record<string, unknown> = { msgtype: 'm.text', body: `message ${own} `.repeat(6) };
      if (own % 15 === 0) {
        const picture = crypto.getRandomValues(new Uint8Array(50_000));
        const whole = new Uint8Array(200_000);
        for (let offset = 0; offset < whole.length; offset += picture.length) whole.set(picture, offset);
        const sent = await call<{ content_uri: string }>(
          person.token,
          'POST',
          '/_matrix/media/v3/upload?filename=picture.png',
          whole,
        );
        if (sent !== null) {
          media.push(sent.content_uri);
          count.pictures += 1;
          content = { msgtype: 'm.image', body: 'picture.png', url: sent.content_uri };
        }
      }
      if (own % 5 === 0) {
        const key = { algorithm: 'm.olm.v1.curve25519-aes-sha2', ciphertext: 'x'.repeat(1500) };
        await call(person.token, 'PUT', `/sendToDevice/m.room.encrypted/${(count.transaction += 1)}`, {
          messages: { [next.id]: { [next.device]: key } },
        });
      }
      const done = await call(person.token, 'PUT', `${at}/send/m.room.message/${(count.transaction += 1)}`, {
        ...content,
        // Whole milliseconds: events hold no fractions (canonical JSON).
        sent: Math.round(performance.timeOrigin + performance.now()),
      });
      if (done !== null) count.messages += 1;
      await sleep(Math.min(pause(18) * 1000, Math.max(0, end - performance.now())));
    }
  };
  await Promise.all(
    people.flatMap((person, at) => [live(person), write(person, people[(at + 1) % people.length] ?? person)]),
  );
  const { requests, messages, pictures } = count;
  return { delays, requests, messages, pictures, errors, rooms, media };
}
