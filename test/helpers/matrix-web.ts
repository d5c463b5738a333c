import { createHmac } from 'node:crypto';
import { chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { extract } from 'tar';
import type { Host } from '../../src/host/host.js';
import { assemblePlan } from '../../src/plan/assemble.js';
import type { Plan } from '../../src/plan/types.js';
import { defineService, type Site, type TarballWish } from '../../src/services/contract.js';
import { service as web } from '../../src/services/web/service.js';
import { service as webchat } from '../../src/services/webchat/service.js';
import { testCache } from './base-tree.js';
import { renderInto } from './chat-kit.js';
import { freePort, untilOpen } from './ports.js';
import { createTestCa } from './site-ca.js';
import { startFromTree, treeTemporary } from './tree.js';

const SYNAPSE = '1.163.2';

/** A Matrix server for the plan; the test's own Synapse stands behind it. */
const server = defineService<Record<string, never>>({
  id: 'matrix-for-tests',
  title: 'Matrix',
  summary: 'the Synapse of the tests',
  always: true,
  schema: { type: 'object', additionalProperties: false },
  settings: () => ({}),
  provides: ({ domain }) => ({ matrix: { server: domain, baseUrl: `https://matrix.${domain}` } }),
  declare: ({ site }) => ({
    web: [
      {
        label: 'matrix',
        locations: [
          {
            ...{ path: '/_matrix/', proxy: 'http://127.0.0.1:8008', proxyHost: '', websocket: false },
            ...{ bodyMiB: 51, root: '' },
          },
        ],
      },
      {
        label: '',
        locations: [
          {
            ...{ path: '/.well-known/matrix/client', proxy: '', proxyHost: '', websocket: false },
            ...{ bodyMiB: 0, root: '' },
            json: JSON.stringify({ 'm.homeserver': { base_url: `https://matrix.${site.domain}` } }),
          },
        ],
      },
    ],
  }),
});

/** The plan of a site with a Matrix server and the client for browsers. */
export function webchatPlan(site: Site, written: Readonly<Record<string, unknown>> = {}): Plan {
  const services = { webchat: webchat.settings(site, written) };
  return assemblePlan({ ...site, services }, [server, web, webchat]).plan;
}

const environment = (host: Host): string => join(testCache(host), 'matrix', `synapse-${SYNAPSE}`);
/** The interpreter that has Synapse, once `prepareMatrix` has run: a test file has no network to get it with. */
export const synapsePython = (host: Host): string => join(environment(host), 'bin/python');
const packed = (host: Host, { name, version }: TarballWish): string =>
  join(testCache(host), 'matrix', `${name.replace(/^@/, '').replaceAll('/', '-')}-${version}.tgz`);

/** Gets Synapse and the packages the client is made of, once; needs a network. Part of the set-up of the vitest project. */
export async function prepareMatrix(host: Host, site: Site): Promise<void> {
  const folder = environment(host);
  if (!existsSync(folder)) {
    const part = `${folder}.part`;
    await rm(part, { recursive: true, force: true });
    await mkdir(dirname(folder), { recursive: true });
    await host.exec(['python3', '-m', 'venv', part]);
    await host.exec([`${part}/bin/python`, '-m', 'pip', 'install', '-q', `matrix-synapse==${SYNAPSE}`], {
      inheritEnv: true,
    });
    await rename(part, folder);
  }
  for (const wish of webchatPlan(site).tarballs)
    if (!existsSync(packed(host, wish)))
      await host.exec(['npm', 'pack', '--silent', `${wish.name}@${wish.version}`], {
        inheritEnv: true,
        cwd: dirname(folder),
      });
}

/** Puts the files of the plan's npm packages below `root`. */
async function unpackTarballs(host: Host, plan: Plan, root: string): Promise<void> {
  for (const wish of plan.tarballs) {
    const folder = await host.temporary('tarball');
    await extract({ file: packed(host, wish), cwd: folder, strip: 1 });
    for (const { from, to } of wish.files) {
      await mkdir(join(root, dirname(to.replace(/\/$/, ''))), { recursive: true });
      await host.exec(['cp', '-r', join(folder, from.replace(/\/$/, '')), join(root, to.replace(/\/$/, ''))]);
    }
  }
}

interface Signed {
  readonly signatures: Readonly<Record<string, Readonly<Record<string, string>>>>;
}
/** Of one person: devices by id, and whose master key there is. */
export interface KeysOf {
  readonly device_keys: Readonly<Record<string, Signed>>;
  readonly master_keys: Readonly<Record<string, Signed>>;
}

export interface TestWebchat {
  readonly plan: Plan;
  readonly caPem: string;
  /** Where the kit's ports 80 and 443 are. */
  readonly ports: { readonly http: number; readonly https: number };
  /** The client API without TLS. */
  readonly synapse: string;
  /** Folder of the client's pages. */
  readonly pages: string;
  addPerson(name: string, password: string, admin?: boolean): Promise<void>;
  /** A registration token for one use. */
  invite(): Promise<string>;
  /** Events of all rooms as the server keeps them. */
  events(): Promise<readonly { readonly type: string; readonly content: unknown }[]>;
  /** Keys of somebody as other people's devices see them. */
  keysOf(name: string): Promise<KeysOf>;
  /** Waits until that many keys of rooms are in somebody's backup. */
  untilBackedUp(name: string, keys: number): Promise<void>;
  output(): string;
  stop(): Promise<void>;
}

const QUERY = `
import json, sqlite3, sys
print(json.dumps(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall()))
`;
const SECRET = 'shared-with-the-tests';

/** Synapse and nginx with the plan's own files on loopback. */
export async function startWebchat(host: Host, site: Site): Promise<TestWebchat> {
  const plan = webchatPlan(site);
  const folder = await treeTemporary(host, 'webchat');
  const files = join(folder, 'files');
  await renderInto(files, plan);
  await unpackTarballs(host, plan, files);
  await host.exec(['chmod', '-R', 'a+rX', files]);
  const ca = await createTestCa(host);
  const names = ['', 'matrix', 'chat'].map((label) =>
    label === '' ? site.domain : `${label}.${site.domain}`,
  );
  await ca.issue(folder, 'web', names);
  const ports = { http: await freePort(), https: await freePort(), synapse: await freePort() };
  const conf = join(folder, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (one) => `${one}_temp_path ${folder}/${one};`,
  );
  const text = (await readFile(join(files, 'etc/nginx/nginx.conf'), 'utf8'))
    .replaceAll('/etc/commesh/tls/', `${folder}/`)
    .replaceAll('"/usr/share/commesh/', `"${files}/usr/share/commesh/`)
    .replace('/run/nginx/nginx.pid', `${folder}/nginx.pid`)
    .replace('listen 80 ', `listen 127.0.0.1:${ports.http} `)
    .replaceAll('listen 443 ', `listen 127.0.0.1:${ports.https} `)
    .replaceAll('http://127.0.0.1:8008', `http://127.0.0.1:${ports.synapse}`)
    .replace('http {', `http {\n${temporary.join('\n')}`);
  await writeFile(conf, text);
  const state = await host.temporary('synapse');
  await writeFile(join(state, 'homeserver.yaml'), homeserver(site.domain, state, ports.synapse));
  const log = {
    version: 1,
    handlers: { out: { class: 'logging.StreamHandler' } },
    root: { level: 'WARNING', handlers: ['out'] },
  };
  await writeFile(join(state, 'log.yaml'), JSON.stringify({ ...log, disable_existing_loggers: false }));
  const python = synapsePython(host);
  const argv = [python, '-m', 'synapse.app.homeserver', '-c', join(state, 'homeserver.yaml')];
  await host.exec([...argv, '--generate-keys']);
  const lines: string[] = [];
  const running = host.start(argv, { cwd: state, onStderrLine: (line) => lines.push(line) });
  await chmod(folder, 0o755);
  const nginx = await startFromTree(host, folder, ['nginx', '-e', 'stderr', '-c', conf, '-g', 'daemon off;']);
  try {
    await untilOpen(ports.synapse, 120);
    await untilOpen(ports.https);
  } catch (error) {
    throw new Error(`it does not start:\n${lines.slice(-20).join('\n')}\n${nginx.output()}`, {
      cause: error,
    });
  }
  const synapse = `http://127.0.0.1:${ports.synapse}`;
  const query = async (sql: string): Promise<readonly (readonly unknown[])[]> => {
    const { stdout } = await host.exec([python, '-c', QUERY, join(state, 'homeserver.db'), sql]);
    return JSON.parse(stdout) as readonly (readonly unknown[])[];
  };
  const addPerson = (name: string, password: string, admin = false): Promise<void> =>
    register(synapse, name, password, admin);
  return {
    plan,
    caPem: ca.caPem,
    ports,
    synapse,
    pages: join(files, 'usr/share/commesh/webchat'),
    addPerson,
    async invite() {
      const access = await adminToken(synapse);
      const { token } = (await ask(
        synapse,
        '/_synapse/admin/v1/registration_tokens/new',
        { uses_allowed: 1 },
        access,
      )) as {
        token: string;
      };
      return token;
    },
    async keysOf(name) {
      const person = `@${name}:${site.domain}`;
      const wanted = { device_keys: { [person]: [] } };
      const answer = (await ask(
        synapse,
        '/_matrix/client/v3/keys/query',
        wanted,
        await adminToken(synapse),
      )) as {
        device_keys: Record<string, KeysOf['device_keys']>;
        master_keys: KeysOf['master_keys'];
      };
      return { device_keys: answer.device_keys[person] ?? {}, master_keys: answer.master_keys };
    },
    async events() {
      const rows = await query('select json from event_json');
      return rows.map(([json]) => JSON.parse(String(json)) as { type: string; content: unknown });
    },
    async untilBackedUp(name, keys) {
      const count = `select count(*) from e2e_room_keys where user_id = '@${name}:${site.domain}'`;
      for (let tries = 0; Number((await query(count))[0]?.[0]) < keys; tries += 1) {
        if (tries === 60) throw new Error(`the keys of ${name} are not backed up`);
        await sleep(500);
      }
    },
    output: () => `${lines.join('\n')}\n${nginx.output()}`,
    stop: async () => {
      await nginx.stop();
      await running.stop();
    },
  };
}

async function ask(base: string, path: string, body: object | null, access?: string): Promise<unknown> {
  const response = await fetch(base + path, {
    method: body === null ? 'GET' : 'POST',
    ...(body === null ? {} : { body: JSON.stringify(body) }),
    headers: access === undefined ? {} : { Authorization: `Bearer ${access}` },
  });
  const answer = (await response.json()) as unknown;
  if (!response.ok) throw new Error(`${path}: ${response.status} ${JSON.stringify(answer)}`);
  return answer;
}

/** Synapse's registration with the shared secret (docs/admin_api/register_api.md). */
async function register(base: string, name: string, password: string, admin: boolean): Promise<void> {
  const { nonce } = (await ask(base, '/_synapse/admin/v1/register', null)) as { nonce: string };
  const mac = createHmac('sha1', SECRET)
    .update([nonce, name, password, admin ? 'admin' : 'notadmin'].join('\0'))
    .digest('hex');
  await ask(base, '/_synapse/admin/v1/register', { nonce, username: name, password, admin, mac });
}

let admins = 0;
async function adminToken(base: string): Promise<string> {
  const name = `admin${(admins += 1)}`;
  await register(base, name, 'a long passphrase', true);
  const login = {
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: name },
    password: 'a long passphrase',
  };
  return ((await ask(base, '/_matrix/client/v3/login', login)) as { access_token: string }).access_token;
}

function homeserver(domain: string, state: string, port: number): string {
  const often = { per_second: 1000, burst_count: 1000 };
  return JSON.stringify({
    server_name: domain,
    public_baseurl: `https://matrix.${domain}/`,
    listeners: [
      {
        ...{ port, bind_addresses: ['127.0.0.1'], type: 'http', tls: false, x_forwarded: true },
        resources: [{ names: ['client'], compress: false }],
      },
    ],
    federation_domain_whitelist: [],
    trusted_key_servers: [],
    suppress_key_server_warning: true,
    report_stats: false,
    enable_registration: true,
    registration_requires_token: true,
    registration_shared_secret: SECRET,
    macaroon_secret_key: 'x',
    form_secret: 'x',
    signing_key_path: join(state, 'signing.key'),
    media_store_path: join(state, 'media'),
    database: { name: 'sqlite3', args: { database: join(state, 'homeserver.db') } },
    encryption_enabled_by_default_for_room_type: 'all',
    log_config: join(state, 'log.yaml'),
    rc_login: { address: often, account: often, failed_attempts: often },
    rc_registration: often,
  });
}
