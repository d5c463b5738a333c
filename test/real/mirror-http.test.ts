/** The downloader's HTTP client: https with a given authority, a CONNECT proxy, redirects, logins. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import { connect, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { createHost } from '../../src/host/host.js';
import { GoneError, HttpClient } from '../../src/mirror/http.js';
import { readNetworkSettings, type NetworkSettings } from '../../src/mirror/sources/proxy.js';

let folder: string;
let secure: https.Server;
let plain: http.Server;
let proxy: http.Server;
let asked: string[] = [];
const clients: HttpClient[] = [];
const tunnels: Duplex[] = [];

const port = (server: Server): number => (server.address() as AddressInfo).port;
const listen = (server: Server): Promise<void> =>
  new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'mirror-http-'));
  const [key, cert] = [join(folder, 'key'), join(folder, 'cert')];
  await execa('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
    ...['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert],
  ]);
  const answer: http.RequestListener = (request, response) => {
    asked.push(`${request.headers.host} ${request.url} ${request.headers.authorization ?? '-'}`);
    if (request.url === '/again') response.writeHead(302, { location: '/again' }).end();
    else if (request.url === '/moved') response.writeHead(301, { location: '/file' }).end();
    else if (request.url === '/down')
      response.writeHead(302, { location: `http://localhost:${port(plain)}/file` }).end();
    else response.end('content');
  };
  secure = https.createServer({ key: await readFile(key), cert: await readFile(cert) }, answer);
  plain = http.createServer(answer);
  proxy = http.createServer();
  proxy.on('connect', (request, socket) => {
    tunnels.push(socket);
    asked.push(`CONNECT ${request.url} ${request.headers['proxy-authorization'] ?? '-'}`);
    if (request.url?.startsWith('refused.') === true) {
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      return;
    }
    const upstream = connect(port(secure), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on('error', () => socket.destroy());
    socket.on('error', () => upstream.destroy());
  });
  await Promise.all([listen(secure), listen(plain), listen(proxy)]);
});

afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  asked = [];
});

afterAll(async () => {
  for (const tunnel of tunnels) tunnel.destroy();
  for (const server of [secure, plain, proxy]) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  await rm(folder, { recursive: true });
});

function client(through: string | null = null, trusting = true): HttpClient {
  const network: NetworkSettings = {
    ignoresAge: false,
    caFile: trusting ? join(folder, 'cert') : null,
    proxyFor: () => Promise.resolve(through === null ? null : new URL(through)),
  };
  const made = new HttpClient(network, 5000);
  clients.push(made);
  return made;
}

async function body(from: HttpClient, url: string): Promise<string> {
  const response = await from.get(new URL(url), {}, new AbortController().signal);
  let text = '';
  for await (const chunk of response) text += String(chunk);
  return text;
}

describe('the client', () => {
  it('trusts the authority that apt is told, and no unknown one', async () => {
    expect(await body(client(), `https://localhost:${port(secure)}/file`)).toBe('content');
    await expect(body(client(null, false), `https://localhost:${port(secure)}/file`)).rejects.toThrow(
      /self-signed/,
    );
  });

  it("trusts the authorities of this computer's owner", async () => {
    const own = createHost();
    const file = join(folder, 'cert');
    const network = await readNetworkSettings({ ...own, env: { ...own.env, SSL_CERT_FILE: file } });
    await own.close();
    const made = new HttpClient({ ...network, proxyFor: () => Promise.resolve(null) }, 5000);
    clients.push(made);
    expect(await body(made, `https://localhost:${port(secure)}/file`)).toBe('content');
  });

  it('reaches https through a proxy by CONNECT, and checks the certificate at the end of it', async () => {
    const through = `http://user:pass@127.0.0.1:${port(proxy)}`;
    expect(await body(client(through), 'https://localhost/file')).toBe('content');
    expect(asked).toEqual([
      `CONNECT localhost:443 Basic ${Buffer.from('user:pass').toString('base64')}`,
      'localhost /file -',
    ]);
    await expect(body(client(through, false), 'https://localhost/file')).rejects.toThrow(/self-signed/);
    await expect(body(client(through), 'https://elsewhere.example/file')).rejects.toThrow(/altnames/);
    await expect(body(client(through), 'https://refused.example/file')).rejects.toThrow(GoneError);
  });

  it('follows redirects, but neither in circles nor from https to http', async () => {
    expect(await body(client(), `http://localhost:${port(plain)}/moved`)).toBe('content');
    await expect(body(client(), `http://localhost:${port(plain)}/again`)).rejects.toThrow(GoneError);
    await expect(body(client(), `https://localhost:${port(secure)}/down`)).rejects.toThrow(GoneError);
  });

  it('sends the login of an address', async () => {
    await body(client(), `http://me:s%40crets@localhost:${port(plain)}/file`);
    expect(asked[0]).toContain(`Basic ${Buffer.from('me:s@crets').toString('base64')}`);
  });
});
