import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { request, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import { join } from 'node:path';
import type { Host } from '../../src/host/host.js';
import { synapsePython } from './matrix-web.js';
import { freePort, untilOpen } from './ports.js';
import type { TestCa } from './site-ca.js';

export interface MatrixFaults {
  /** Settings of Synapse other than the kit's. */
  readonly synapse?: Readonly<Record<string, unknown>>;
  /** Passes everything on, the admin API too. */
  readonly everything?: boolean;
  /** Where the well-known answer sends apps. */
  readonly baseUrl?: string;
  /** Answered with this status instead of being passed on: a prefix of paths each. */
  readonly refuse?: Readonly<Record<string, number>>;
}

export interface TestMatrix {
  /** Port of the web server in front (TLS), for the domain and `matrix.` below it. */
  readonly https: number;
  /** Synapse itself, on loopback. */
  readonly url: string;
  readonly secret: string;
  readonly folder: string;
  readonly database: string;
  /** Method and path of every request that came in from outside. */
  readonly requests: readonly string[];
  stop(): Promise<void>;
}

/**
 * Synapse with SQLite on loopback for `domain`, closed like the kit's, behind a web server with certificates of the CA
 * that passes on what the kit's does. `faults` makes a wrong one.
 */
export async function startMatrix(
  host: Host,
  ca: TestCa,
  domain: string,
  turn: { readonly port: number; readonly secret: string },
  faults: MatrixFaults = {},
): Promise<TestMatrix> {
  const python = synapsePython(host);
  const folder = await host.temporary('matrix');
  const port = await freePort();
  const secret = host.random(24).toString('hex');
  const baseUrl = `https://matrix.${domain}`;
  await mkdir(join(folder, 'media'));
  const generous = { per_second: 50, burst_count: 500 };
  // JSON is YAML.
  const settings = {
    server_name: domain,
    public_baseurl: `${baseUrl}/`,
    pid_file: join(folder, 'pid'),
    listeners: [
      {
        port,
        bind_addresses: ['127.0.0.1'],
        type: 'http',
        x_forwarded: true,
        resources: [{ names: ['client'] }],
      },
    ],
    database: { name: 'sqlite3', args: { database: join(folder, 'homeserver.db') } },
    log_config: join(folder, 'log.yaml'),
    media_store_path: join(folder, 'media'),
    signing_key_path: join(folder, 'signing.key'),
    registration_shared_secret: secret,
    macaroon_secret_key: 'macaroon',
    form_secret: 'form',
    enable_registration: true,
    registration_requires_token: true,
    federation_domain_whitelist: [],
    trusted_key_servers: [],
    report_stats: false,
    turn_uris: ['udp', 'tcp'].map((way) => `turn:turn.${domain}:${turn.port}?transport=${way}`),
    turn_shared_secret: turn.secret,
    rc_login: { address: generous, account: generous, failed_attempts: generous },
    rc_registration: generous,
    rc_message: generous,
    ...faults.synapse,
  };
  await writeFile(join(folder, 'homeserver.yaml'), JSON.stringify(settings));
  await writeFile(
    join(folder, 'log.yaml'),
    JSON.stringify({
      version: 1,
      handlers: { file: { class: 'logging.FileHandler', filename: join(folder, 'log') } },
      root: { level: 'INFO', handlers: ['file'] },
      disable_existing_loggers: false,
    }),
  );
  const argv = [python, '-m', 'synapse.app.homeserver', '--config-path', join(folder, 'homeserver.yaml')];
  await host.exec([...argv, '--generate-keys'], { cwd: folder });
  const running = host.start(argv, { cwd: folder });
  try {
    await untilOpen(port, 120);
  } catch (error) {
    const log = await readFile(join(folder, 'log'), 'utf8').catch(() => '');
    throw new Error(`Synapse does not start:\n${log}`, { cause: error });
  }

  await ca.issue(folder, 'site', [domain, `matrix.${domain}`]);
  const requests: string[] = [];
  const answer = (response: ServerResponse, status: number, value: object): void => {
    response.writeHead(status, { 'Content-Type': 'application/json', 'Access-Control-Allow-Origin': '*' });
    response.end(JSON.stringify(value));
  };
  const handle = (incoming: IncomingMessage, response: ServerResponse): void => {
    const path = incoming.url ?? '/';
    requests.push(`${incoming.method} ${path}`);
    const name = (incoming.headers.host ?? '').replace(/:\d+$/, '');
    const refused = Object.entries(faults.refuse ?? {}).find(([prefix]) => path.startsWith(prefix));
    if (refused) return answer(response, refused[1], {});
    if (path === '/.well-known/matrix/client')
      return answer(response, 200, { 'm.homeserver': { base_url: faults.baseUrl ?? baseUrl } });
    const passed = ['/_matrix/client/', '/_matrix/media/', '/_synapse/client/'];
    if (
      name !== `matrix.${domain}` ||
      (faults.everything !== true && !passed.some((prefix) => path.startsWith(prefix)))
    )
      return answer(response, 404, {});
    const call = request(
      { host: '127.0.0.1', port, path, method: incoming.method, headers: incoming.headers, agent: false },
      (reply) => {
        response.writeHead(reply.statusCode ?? 502, reply.headers);
        reply.pipe(response);
      },
    );
    call.on('error', () => response.destroy());
    incoming.pipe(call);
  };
  const front = createServer(
    { cert: await readFile(join(folder, 'site.crt')), key: await readFile(join(folder, 'site.key')) },
    handle,
  );
  const https = await freePort();
  await new Promise<void>((done) => front.listen(https, '127.0.0.1', done));
  return {
    https,
    url: `http://127.0.0.1:${port}`,
    secret,
    folder,
    database: join(folder, 'homeserver.db'),
    requests,
    async stop() {
      front.closeAllConnections();
      await new Promise<void>((done) => front.close(() => done()));
      await running.stop();
    },
  };
}
