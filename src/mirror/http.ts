import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import tls from 'node:tls';
import type { NetworkSettings } from './sources/proxy.js';

/** The mirror answered, and the answer will not change by asking again. */
export class GoneError extends Error {}

const MAX_REDIRECTS = 5;

function credentials(url: URL): string | null {
  if (url.username === '') return null;
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}

/** A small HTTP client with kept connections, proxies as apt has them, and redirects. */
export class HttpClient {
  readonly #agent = new http.Agent({ keepAlive: true, maxSockets: 16 });
  #agentOfTls: https.Agent | null = null;
  #trust: tls.SecureContext | null = null;

  /** @param idleMs a connection that is silent for so long is given up. */
  constructor(
    private readonly network: NetworkSettings,
    private readonly idleMs: number,
  ) {}

  close(): void {
    this.#agent.destroy();
    this.#agentOfTls?.destroy();
  }

  /** Whom https trusts. Made once, at the first need: reading all those certificates takes as long as a hundred requests. */
  get #context(): tls.SecureContext {
    const { caFile } = this.network;
    return (this.#trust ??= tls.createSecureContext(
      caFile === null ? {} : { ca: [...tls.rootCertificates, readFileSync(caFile, 'utf8')] },
    ));
  }

  get #secure(): https.Agent {
    return (this.#agentOfTls ??= new https.Agent({
      keepAlive: true,
      maxSockets: 16,
      secureContext: this.#context,
    }));
  }

  /** The answer to GET, after redirects; its body must be read or destroyed. */
  async get(url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<http.IncomingMessage> {
    let current = url;
    for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
      const response = await this.#once(current, headers, signal);
      const location = response.headers.location;
      if (![301, 302, 303, 307, 308].includes(response.statusCode ?? 0) || location === undefined)
        return response;
      response.resume();
      const target = new URL(location, current);
      if (current.protocol === 'https:' && target.protocol !== 'https:') {
        throw new GoneError(`${current.host} sends us from https to http`);
      }
      current = target;
    }
    throw new GoneError(`${url.host} redirects in circles`);
  }

  async #once(url: URL, headers: Record<string, string>, signal: AbortSignal): Promise<http.IncomingMessage> {
    const proxy = await this.network.proxyFor(url);
    const login = credentials(url);
    const sent: Record<string, string> = {
      host: url.host,
      'user-agent': 'commeshctl',
      ...headers,
      ...(login === null ? {} : { authorization: login }),
    };
    const path = `${url.pathname}${url.search}`;
    let options: https.RequestOptions;
    let secure = url.protocol === 'https:';
    if (proxy === null) {
      options = { hostname: bare(url), port: url.port, path, agent: secure ? this.#secure : this.#agent };
    } else {
      const via = credentials(proxy);
      const proxyHeaders: Record<string, string> = via === null ? {} : { 'proxy-authorization': via };
      if (secure) {
        const socket = await this.#tunnel(proxy, url, proxyHeaders, signal);
        options = {
          hostname: bare(url),
          path,
          // Without an agent: only then Node uses the connection it is given.
          createConnection: () =>
            tls.connect({ socket, servername: bare(url), secureContext: this.#context }),
        };
      } else {
        Object.assign(sent, proxyHeaders);
        secure = proxy.protocol === 'https:';
        options = {
          hostname: bare(proxy),
          port: proxy.port,
          path: `http://${url.host}${path}`,
          agent: secure ? this.#secure : this.#agent,
        };
      }
    }
    return await new Promise((resolve, reject) => {
      let answer: http.IncomingMessage | null = null;
      const request = (secure ? https : http).request({ ...options, headers: sent, signal }, (response) => {
        answer = response;
        resolve(response);
      });
      request.setTimeout(this.idleMs, () => {
        const error = new Error(`${url.host} was silent for ${this.idleMs / 1000} seconds`);
        // An answer that has begun fails with the reason it is given itself.
        answer?.destroy(error);
        request.destroy(error);
      });
      request.on('error', reject);
      request.end();
    });
  }

  /** CONNECT through a proxy (RFC 9110, section 9.3.6). */
  #tunnel(proxy: URL, target: URL, headers: Record<string, string>, signal: AbortSignal): Promise<Socket> {
    const authority = `${target.hostname}:${target.port || '443'}`;
    return new Promise((resolve, reject) => {
      const request = (proxy.protocol === 'https:' ? https : http).request({
        hostname: bare(proxy),
        port: proxy.port,
        method: 'CONNECT',
        path: authority,
        headers: { host: authority, ...headers },
        agent: false,
        signal,
      });
      request.setTimeout(this.idleMs, () => request.destroy(new Error(`the proxy ${proxy.host} was silent`)));
      request.on('error', reject);
      request.on('connect', (response, socket) => {
        if (response.statusCode === 200) resolve(socket);
        else {
          socket.destroy();
          reject(new GoneError(`the proxy ${proxy.host} refuses ${target.host} (${response.statusCode})`));
        }
      });
      request.end();
    });
  }
}

/** A host name without the brackets of an IPv6 address. */
function bare(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1');
}
