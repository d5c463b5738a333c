import type { OlmMachine, OutgoingRequest, ToDeviceRequest } from '@matrix-org/matrix-sdk-crypto-wasm';
import { deadline } from '../deadline.js';
import type { Dialer } from '../dialer.js';
import { fetchWeb, type WebAnswer } from './https.js';

/** The way to a Matrix server: names as a device sees them, ports as they are reached from here. */
export interface MatrixRoute {
  /** Address of the client API without a final slash, e.g. `https://matrix.kit.home.arpa`. */
  readonly baseUrl: string;
  readonly dialer: Dialer;
  /** The only CA accepted, PEM. */
  readonly caPem: string;
  readonly signal?: AbortSignal;
}

export type Json = null | boolean | number | string | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: Json | undefined;
}

/** An answer that is not 2xx (client-server API, "Standard error response"). */
export class MatrixRefusal extends Error {
  constructor(
    readonly status: number,
    /** `M_FORBIDDEN` and the like; empty when the answer is not Matrix's. */
    readonly code: string,
    said: string,
  ) {
    super(`refused with HTTP ${status}${code === '' ? '' : ` ${code}`}${said === '' ? '' : `: ${said}`}`);
  }
}

export interface RoomEvent {
  readonly id: string;
  readonly type: string;
  readonly sender: string;
  /** As the server has it. */
  readonly raw: JsonObject;
}

/** Where an encrypted file is and how to read it (client-server API, "EncryptedFile"). */
export interface EncryptedFile {
  readonly url: string;
  /** Key, counter and hash as the Rust SDK writes them, JSON. */
  readonly info: string;
}

/** One logged-in device with its own keys, in memory only. */
export interface MatrixSession {
  readonly user: string;
  call(method: string, path: string, body?: JsonObject): Promise<JsonObject>;
  /** Takes what is new; waits up to a time for it. Events of all rooms, oldest first. */
  sync(waitMs?: number): Promise<readonly RoomEvent[]>;
  /** Encrypts for the members, sends, and gives the id of the event. */
  sendEncrypted(room: string, members: readonly string[], content: JsonObject): Promise<string>;
  /** Reads an encrypted event. @throws Error when the keys for it are not there. */
  decrypt(event: RoomEvent, room: string): Promise<JsonObject>;
  /** The first event that fits, already received or still to come; each is taken once. */
  expect(what: string, fits: (event: RoomEvent) => boolean, timeoutMs?: number): Promise<RoomEvent>;
  /** Encrypts (AES-CTR) and uploads. */
  upload(bytes: Buffer): Promise<EncryptedFile>;
  /** Downloads over the authenticated endpoint, as stored. */
  download(url: string): Promise<WebAnswer>;
  /** @throws Error when the hash or the key does not fit. */
  open(file: EncryptedFile, stored: Buffer): Promise<Buffer>;
  /** Logs out and forgets the keys. */
  close(): Promise<void>;
}

const ANSWER_MS = 20_000;
const CLIENT = '/_matrix/client/v3';

// Eight megabytes of WebAssembly: loaded only by what needs it.
const crypto = async () => {
  const module = await import('@matrix-org/matrix-sdk-crypto-wasm');
  await module.initAsync();
  return module;
};

/** One request to any https address of the kit. @throws Error without an answer, or when the certificate does not fit. */
export async function askMatrix(
  route: MatrixRoute,
  method: string,
  address: string,
  more: { readonly token?: string; readonly type?: string; readonly body?: Buffer } = {},
): Promise<WebAnswer> {
  const url = new URL(address);
  if (url.protocol !== 'https:') throw new Error(`${address} is not an https address`);
  return await fetchWeb({
    endpoint: route.dialer.tcp(Number(url.port || 443)),
    hostname: url.hostname,
    path: url.pathname + url.search,
    caPem: route.caPem,
    method,
    headers: {
      ...(more.token === undefined ? {} : { Authorization: `Bearer ${more.token}` }),
      ...(more.body === undefined ? {} : { 'Content-Type': more.type ?? 'application/json' }),
    },
    ...(more.body === undefined ? {} : { body: more.body }),
    ...(route.signal === undefined ? {} : { signal: route.signal }),
  });
}

/** An answer as a JSON object; an empty one when it is something else. */
export function jsonOf(answer: WebAnswer): JsonObject {
  try {
    const value = JSON.parse(answer.body.toString('utf8')) as unknown;
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The object at a path of keys, empty when there is none. */
export function at(value: Json | undefined, ...keys: readonly string[]): JsonObject {
  let found: Json | undefined = value;
  for (const key of keys) found = isObject(found) ? found[key] : undefined;
  return isObject(found) ? found : {};
}

/** The list below a key, empty when there is none. */
export function listAt(value: JsonObject, key: string): readonly Json[] {
  const found = value[key];
  return Array.isArray(found) ? (found as readonly Json[]) : [];
}

/** A request of the client API. @throws MatrixRefusal when the answer is not 2xx. */
export async function callMatrix(
  route: MatrixRoute,
  method: string,
  path: string,
  body?: JsonObject,
  token?: string,
): Promise<JsonObject> {
  const answer = await askMatrix(route, method, route.baseUrl + path, {
    ...(token === undefined ? {} : { token }),
    ...(body === undefined ? {} : { body: Buffer.from(JSON.stringify(body)) }),
  });
  const found = jsonOf(answer);
  if (answer.status < 200 || answer.status > 299)
    throw new MatrixRefusal(answer.status, String(found['errcode'] ?? ''), String(found['error'] ?? ''));
  return found;
}

/**
 * Logs in with a password, makes keys for the new device and publishes them.
 * @throws Error when there is no connection, the certificate does not fit, or the server refuses.
 */
export async function openMatrix(
  route: MatrixRoute,
  login: { readonly name: string; readonly password: string },
): Promise<MatrixSession> {
  const sdk = await crypto();
  const answer = await callMatrix(route, 'POST', `${CLIENT}/login`, {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: login.name },
    password: login.password,
    initial_device_display_name: 'commeshctl verify',
  });
  const token = String(answer['access_token']);
  const user = String(answer['user_id']);
  const machine: OlmMachine = await sdk.OlmMachine.initialize(
    new sdk.UserId(user),
    new sdk.DeviceId(String(answer['device_id'])),
  );
  const trust = (): InstanceType<typeof sdk.DecryptionSettings> =>
    new sdk.DecryptionSettings(sdk.TrustRequirement.Untrusted);
  const call = (method: string, path: string, body?: JsonObject): Promise<JsonObject> =>
    callMatrix(route, method, path, body, token);

  const deliver = async (request: OutgoingRequest | ToDeviceRequest): Promise<void> => {
    const body = JSON.parse(request.body) as JsonObject;
    const paths: Readonly<Record<number, string>> = {
      [sdk.RequestType.KeysUpload]: 'keys/upload',
      [sdk.RequestType.KeysQuery]: 'keys/query',
      [sdk.RequestType.KeysClaim]: 'keys/claim',
      [sdk.RequestType.SignatureUpload]: 'keys/signatures/upload',
    };
    const path = paths[request.type];
    let said: JsonObject;
    if (path !== undefined) said = await call('POST', `${CLIENT}/${path}`, body);
    else if ('txn_id' in request && 'event_type' in request && !('room_id' in request))
      said = await call(
        'PUT',
        `${CLIENT}/sendToDevice/${encodeURIComponent(request.event_type)}/${encodeURIComponent(request.txn_id)}`,
        body,
      );
    else throw new Error(`the crypto library wants a request of an unknown kind (${request.type})`);
    if (request.id !== undefined)
      await machine.markRequestAsSent(request.id, request.type, JSON.stringify(said));
  };
  const flush = async (): Promise<void> => {
    for (const request of await machine.outgoingRequests()) await deliver(request);
  };

  let since: string | null = null;
  const inbox: RoomEvent[] = [];
  const session: MatrixSession = {
    user,
    call,
    async sync(waitMs = 0) {
      const from = since === null ? '' : `&since=${encodeURIComponent(since)}`;
      const got = await call('GET', `${CLIENT}/sync?timeout=${waitMs}${from}`);
      since = String(got['next_batch']);
      const people = (key: string) =>
        listAt(at(got, 'device_lists'), key).map((id) => new sdk.UserId(String(id)));
      const unused = got['device_unused_fallback_key_types'];
      await machine.receiveSyncChanges(
        JSON.stringify(listAt(at(got, 'to_device'), 'events')),
        new sdk.DeviceLists(people('changed'), people('left')),
        new Map(Object.entries(at(got, 'device_one_time_keys_count')).map(([name, n]) => [name, Number(n)])),
        Array.isArray(unused) ? new Set(unused.map(String)) : undefined,
        trust(),
      );
      await flush();
      const fresh = Object.values(at(got, 'rooms', 'join')).flatMap((room) =>
        listAt(at(room, 'timeline'), 'events').flatMap((raw) =>
          isObject(raw)
            ? [{ id: String(raw['event_id']), type: String(raw['type']), sender: String(raw['sender']), raw }]
            : [],
        ),
      );
      inbox.push(...fresh);
      return fresh;
    },
    async sendEncrypted(room, members, content) {
      const users = (): InstanceType<typeof sdk.UserId>[] => members.map((name) => new sdk.UserId(name));
      await machine.updateTrackedUsers(users());
      await flush();
      const claim = await machine.getMissingSessions(users());
      if (claim) await deliver(claim);
      const keys = await machine.shareRoomKey(new sdk.RoomId(room), users(), new sdk.EncryptionSettings());
      for (const request of keys) await deliver(request);
      const sealed = await machine.encryptRoomEvent(
        new sdk.RoomId(room),
        'm.room.message',
        JSON.stringify(content),
      );
      const path = `${CLIENT}/rooms/${encodeURIComponent(room)}/send/m.room.encrypted/${globalThis.crypto.randomUUID()}`;
      return String((await call('PUT', path, JSON.parse(sealed) as JsonObject))['event_id']);
    },
    async decrypt(event, room) {
      const open = await machine.decryptRoomEvent(JSON.stringify(event.raw), new sdk.RoomId(room), trust());
      return at(JSON.parse(open.event) as JsonObject, 'content');
    },
    async expect(what, fits, timeoutMs = ANSWER_MS) {
      const limit = deadline(timeoutMs, route.signal);
      try {
        for (;;) {
          const index = inbox.findIndex(fits);
          const [found] = index < 0 ? [] : inbox.splice(index, 1);
          if (found) return found;
          if (limit.signal.aborted) throw new Error(`${what} did not arrive`);
          await session.sync(2000);
        }
      } finally {
        limit.done();
      }
    },
    async upload(bytes) {
      const sealed = sdk.Attachment.encrypt(bytes);
      const info = sealed.mediaEncryptionInfo;
      if (info === undefined) throw new Error('the crypto library gave no key for the file');
      const said = await askMatrix(
        route,
        'POST',
        `${route.baseUrl}/_matrix/media/v3/upload?filename=verify`,
        {
          token,
          type: 'application/octet-stream',
          body: Buffer.from(sealed.encryptedData),
        },
      );
      const found = jsonOf(said);
      if (said.status !== 200)
        throw new MatrixRefusal(said.status, String(found['errcode'] ?? ''), String(found['error'] ?? ''));
      return { url: String(found['content_uri']), info };
    },
    download: (url) =>
      askMatrix(
        route,
        'GET',
        `${route.baseUrl}/_matrix/client/v1/media/download/${url.replace(/^mxc:\/\//, '')}`,
        { token },
      ),
    open: async (file, stored) =>
      Buffer.from(sdk.Attachment.decrypt(new sdk.EncryptedAttachment(stored, file.info))),
    async close() {
      await call('POST', `${CLIENT}/logout`, {}).catch(() => {});
      machine.close();
    },
  };
  try {
    await flush();
    return session;
  } catch (error) {
    await session.close();
    throw error;
  }
}
