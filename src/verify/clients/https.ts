import { request as requestHttp, type IncomingHttpHeaders } from 'node:http';
import { request as requestHttps } from 'node:https';
import { isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';
import {
  checkServerIdentity,
  connect as connectTls,
  type ConnectionOptions,
  type PeerCertificate,
} from 'node:tls';
import { deadline } from '../deadline.js';
import type { Endpoint } from '../dialer.js';

export interface WebRequest {
  readonly endpoint: Endpoint;
  /** Goes into SNI and the Host header. */
  readonly hostname: string;
  readonly path: string;
  /** The only CA accepted, PEM; missing: plain HTTP. */
  readonly caPem?: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  readonly signal?: AbortSignal;
}

export interface WebAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

const TIMEOUT_MS = 45_000;

/** One request, redirects not followed. @throws Error when there is no answer or the certificate does not fit. */
export function fetchWeb(request: WebRequest): Promise<WebAnswer> {
  const { endpoint, hostname, path, caPem, method = 'GET', body } = request;
  const limit = deadline(TIMEOUT_MS, request.signal);
  const options = {
    host: endpoint.host,
    port: endpoint.port,
    path,
    method,
    agent: false as const,
    headers: {
      Host: hostname,
      ...(body === undefined ? {} : { 'Content-Length': String(body.length) }),
      ...request.headers,
    },
    signal: limit.signal,
  };
  return new Promise<WebAnswer>((resolve, reject) => {
    const call =
      caPem === undefined
        ? requestHttp(options)
        : requestHttps({ ...options, ...trust(hostname, caPem), minVersion: 'TLSv1.2' });
    call.once('error', reject);
    // An upgrade is an answer too: 101 means that a websocket would open.
    call.once('upgrade', (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.alloc(0) });
    });
    call.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
      );
    });
    call.end(body);
  }).finally(() => limit.done());
}

// The name on the certificate is the kit's, wherever the connection really goes.
function trust(hostname: string, caPem: string): ConnectionOptions {
  return {
    ca: caPem,
    // An address may not stand in SNI (RFC 6066, section 3).
    servername: isIP(hostname) === 0 ? hostname : '',
    checkServerIdentity: (_connected, certificate) => checkServerIdentity(hostname, certificate),
  };
}

export interface TlsLook {
  /** Why the connection is not trusted, or null. */
  readonly fault: string | null;
  readonly protocol: string | null;
  readonly certificate: PeerCertificate | null;
}

/** Opens a TLS connection, looks at it, and closes it. A refusal is a result, not an error; no TCP is an error. */
export function lookAtTls(options: {
  readonly endpoint: Endpoint;
  readonly hostname: string;
  readonly caPem: string;
  /** TLS 1.0 and 1.1 only: to see that they are refused. */
  readonly old?: boolean;
  readonly alpn?: readonly string[];
  readonly signal?: AbortSignal;
}): Promise<TlsLook> {
  const { endpoint, hostname, caPem, old = false } = options;
  return new Promise((resolve, reject) => {
    let connected = false;
    const socket: TLSSocket = connectTls({
      host: endpoint.host,
      port: endpoint.port,
      ...trust(hostname, caPem),
      ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
      ...(old
        ? { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }
        : { minVersion: 'TLSv1.2' }),
    });
    const end = (action: () => void): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', onAbort);
      socket.destroy();
      action();
    };
    const onAbort = (): void => end(() => reject(new Error('given up')));
    const timer = setTimeout(() => end(() => reject(new Error('no answer'))), TIMEOUT_MS);
    options.signal?.addEventListener('abort', onAbort, { once: true });
    socket.once('connect', () => {
      connected = true;
    });
    socket.once('error', (error) =>
      end(() =>
        connected ? resolve({ fault: error.message, protocol: null, certificate: null }) : reject(error),
      ),
    );
    socket.once('secureConnect', () => {
      const certificate = socket.getPeerCertificate();
      const protocol = socket.getProtocol();
      end(() => resolve({ fault: null, protocol, certificate }));
    });
  });
}
