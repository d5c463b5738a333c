import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from '../../src/host/host.js';
import { freePort, untilOpen } from './ports.js';
import { synapsePython } from './tree-python.js';

export interface TestSynapse {
  /** Address of the client and admin API on loopback. */
  readonly url: string;
  readonly server: string;
  readonly secret: string;
  /** SQLite database. */
  readonly database: string;
  /** Everything it has logged, at level INFO. */
  log(): Promise<string>;
  stop(): Promise<void>;
}

/** Synapse with SQLite on loopback for `server`, closed like the kit's: accounts by token only, no federation. */
export async function startSynapse(host: Host, server: string): Promise<TestSynapse> {
  const python = await synapsePython(host);
  const folder = await host.temporary('synapse');
  const port = await freePort();
  const secret = host.random(24).toString('hex');
  const log = join(folder, 'synapse.log');
  await mkdir(join(folder, 'media'));
  // JSON is YAML.
  const config = {
    server_name: server,
    public_baseurl: `https://matrix.${server}/`,
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
    macaroon_secret_key: host.random(24).toString('hex'),
    form_secret: host.random(24).toString('hex'),
    enable_registration: true,
    registration_requires_token: true,
    federation_domain_whitelist: [],
    trusted_key_servers: [],
    report_stats: false,
    // Each run of "people" logs in once.
    rc_login: { address: { per_second: 5, burst_count: 50 }, account: { per_second: 5, burst_count: 50 } },
  };
  await writeFile(join(folder, 'homeserver.yaml'), JSON.stringify(config));
  await writeFile(
    join(folder, 'log.yaml'),
    JSON.stringify({
      version: 1,
      formatters: { plain: { format: '%(asctime)s %(levelname)s %(name)s %(message)s' } },
      handlers: { file: { class: 'logging.FileHandler', filename: log, formatter: 'plain' } },
      root: { level: 'INFO', handlers: ['file'] },
      disable_existing_loggers: false,
    }),
  );
  const argv = [python, '-m', 'synapse.app.homeserver', '--config-path', join(folder, 'homeserver.yaml')];
  await host.exec([...argv, '--generate-keys'], { cwd: folder });
  const running = host.start(argv, { cwd: folder });
  await untilOpen(port, 120);
  return {
    url: `http://127.0.0.1:${port}`,
    server,
    secret,
    database: join(folder, 'homeserver.db'),
    log: () => readFile(log, 'utf8'),
    stop: () => running.stop(),
  };
}
