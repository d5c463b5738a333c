import { note } from '../../diagnostics/diagnostic.js';
import {
  DATA_ROOT,
  defineService,
  type Capabilities,
  type Declaration,
  type FileWish,
  type ServiceContext,
  type Site,
  type TemplateData,
  type WebLocation,
  type WebSiteWish,
} from '../contract.js';
import { clamp } from '../quantities.js';
import {
  ACCOUNT,
  CLUSTER_UNIT,
  DATABASE,
  databaseFiles,
  databaseSection,
  SERVER_UNIT,
  tuning,
} from './database.js';
import { rulesOf, SCHEMA, settingsOf, shareMB, type SynapseSettings } from './settings.js';

const VERSION = '1.163.2';
const FOLDER = `${DATA_ROOT}/synapse`;
const MEDIA = `${FOLDER}/media`;
const TEMPORARY = `${FOLDER}/tmp`;
const SIGNING_KEY = `${FOLDER}/signing.key`;
const CONFIG_ROOT = '/etc/matrix-synapse';
const CONFIGURATION = `${CONFIG_ROOT}/homeserver.yaml`;
const PROGRAM = '/usr/lib/commesh/synapse';
const PYTHON = `${PROGRAM}/bin/python`;
const CLIENT_PORT = 8008;
const FEDERATION_PORT = 8009;
const LABEL = 'matrix';
const MIB = 1024 * 1024;
/** Largest body of a request that is no file, MiB: a batch of keys of encrypted rooms. */
const REQUEST_MIB = 8;
const YEAR_DAYS = 365;
/** How long a registration token of `people invite` is good. */
const INVITE_DAYS = 7;

const SECRETS = {
  registration: 'synapse-registration',
  macaroon: 'synapse-macaroon',
  form: 'synapse-form',
  signing: 'synapse-signing',
} as const;

function matrixOf(site: Site): Capabilities['matrix'] {
  return { server: site.domain, baseUrl: `https://${LABEL}.${site.domain}` };
}

/** Where a sister site's CA certificate lies on the kit. */
function sisterCa(domain: string): string {
  return `/etc/commesh/federation/${domain}.crt`;
}

/** Limits for the two programs, MiB: together they leave a quarter of the board to everything else. */
function memoryLimits(site: Site): { server: Limits; database: Limits } {
  const limits = (share: number, least: number): Limits => {
    const maximumMiB = Math.max(Math.floor(site.memoryMiB * share), least);
    return { highMiB: Math.floor(maximumMiB * 0.85), maximumMiB };
  };
  return { server: limits(0.5, 512), database: limits(0.25, 256) };
}
interface Limits {
  readonly highMiB: number;
  readonly maximumMiB: number;
}

function configuration({ site, settings, use }: ServiceContext<SynapseSettings>): FileWish {
  const { upload } = settings;
  const turn = use('turn');
  const sisters = site.federation;
  const cacheTargetMiB = clamp(Math.floor(site.memoryMiB / 32), 32, 384);
  return {
    path: CONFIGURATION,
    kind: 'template',
    mode: '0644',
    owner: 'root',
    group: 'root',
    data: {
      ...matrixOf(site),
      clientPort: CLIENT_PORT,
      federationPort: FEDERATION_PORT,
      federated: sisters.length > 0,
      sisters: sisters.map(({ domain }) => domain),
      sisterDomains: sisters.map(({ domain }) => domain),
      sisterCas: sisters.map(({ domain }) => sisterCa(domain)),
      sisterAddresses: sisters.map(({ address }) => `${address}/32`),
      database: databaseSection(settings, FOLDER),
      media: MEDIA,
      signingKey: SIGNING_KEY,
      log: `${CONFIG_ROOT}/log.yaml`,
      secrets: CONFIG_ROOT,
      encryption: { private: 'invite', all: 'all', none: 'off' }[settings.encryption],
      presence: settings.presence,
      historyDays: settings.historyDays,
      keepDays: upload.keepDays,
      maximumBytes: upload.maximumMB * MIB,
      dailyBytes: upload.dailyMB * MIB,
      sharePeriodDays: upload.keepDays === 0 ? 10 * YEAR_DAYS : upload.keepDays,
      shareBytes: shareMB(site, upload.totalMB) * MIB,
      // 16 million: what a phone's camera makes. More where there is memory for it.
      maximumPixels: site.memoryMiB >= 4096 ? 50_000_000 : 16_000_000,
      cacheFactor: site.memoryMiB >= 4096 ? 0.5 : 0.3,
      cacheTargetMiB,
      cacheMaximumMiB: Math.floor(cacheTargetMiB * 1.5),
      eventCache: site.memoryMiB >= 4096 ? 5000 : 2000,
      turn:
        turn === undefined
          ? null
          : {
              // No TLS: apps do not ask the phone's list of certificates there, and the call itself is encrypted anyway.
              uris: ['udp', 'tcp'].map((way) => `turn:${turn.host}:${turn.port}?transport=${way}`),
            },
    },
  };
}

function files(context: ServiceContext<SynapseSettings>): readonly FileWish[] {
  const { site, settings, use } = context;
  const turn = use('turn');
  const { server, database } = memoryLimits(site);
  const readable = { mode: '0644', owner: 'root', group: 'root' };
  const own = { owner: ACCOUNT, group: ACCOUNT };
  const secret = (path: string, id: string): FileWish => ({
    path,
    kind: 'secret',
    data: { value: { secret: id } },
    mode: '0640',
    owner: 'root',
    group: ACCOUNT,
    sensitive: true,
  });
  const postgres = settings.database === 'postgres';
  return [
    configuration(context),
    { path: `${CONFIG_ROOT}/log.yaml`, kind: 'copy', ...readable },
    secret(`${CONFIG_ROOT}/registration.secret`, SECRETS.registration),
    secret(`${CONFIG_ROOT}/macaroon.secret`, SECRETS.macaroon),
    secret(`${CONFIG_ROOT}/form.secret`, SECRETS.form),
    ...(turn === undefined ? [] : [secret(`${CONFIG_ROOT}/turn.secret`, turn.secret.secret)]),
    {
      path: '/etc/systemd/system/synapse.service',
      kind: 'template',
      ...readable,
      data: {
        dataRoot: DATA_ROOT,
        folder: FOLDER,
        temporary: TEMPORARY,
        user: ACCOUNT,
        python: PYTHON,
        configuration: CONFIGURATION,
        databaseUnits: postgres ? [SERVER_UNIT] : [],
        sisters: site.federation.map(({ address }) => address),
        ...server,
      },
    },
    { path: '/usr/libexec/commesh/people.d/synapse', kind: 'copy', ...readable, mode: '0755' },
    {
      path: '/etc/commesh/people/synapse.json',
      kind: 'template',
      ...readable,
      mode: '0600',
      sensitive: true,
      data: {
        api: `http://127.0.0.1:${CLIENT_PORT}`,
        server: site.domain,
        secret: { secret: SECRETS.registration },
        inviteDays: INVITE_DAYS,
        registerPage: use('register')?.page ?? null,
      },
    },
    { path: FOLDER, kind: 'directory', ...own, mode: '0750' },
    { path: MEDIA, kind: 'directory', ...own, mode: '0750' },
    { path: TEMPORARY, kind: 'directory', ...own, mode: '0700' },
    // With the data, so that a backup holds it: the server is who it was only with this key.
    secret(SIGNING_KEY, SECRETS.signing),
    ...(postgres ? databaseFiles(site, database) : []),
  ];
}

const proxied = (path: string, port: number, bodyMiB = 0): WebLocation => ({
  path,
  proxy: `http://127.0.0.1:${port}`,
  proxyHost: '',
  websocket: false,
  bodyMiB,
  root: '',
});

function wellKnown(name: 'client' | 'server', value: TemplateData): WebLocation {
  return {
    path: `/.well-known/matrix/${name}`,
    json: JSON.stringify(value),
    proxy: '',
    proxyHost: '',
    websocket: false,
    bodyMiB: 0,
    root: '',
  };
}

/** Client-server API 1.x "Well-known URI", server-server API 1.x "Resolving server names". Synapse's admin API is not passed on. */
function webSites(site: Site, settings: SynapseSettings): readonly WebSiteWish[] {
  const { baseUrl } = matrixOf(site);
  const federated = site.federation.length > 0;
  return [
    {
      label: '',
      locations: [
        wellKnown('client', { 'm.homeserver': { base_url: baseUrl } }),
        ...(federated ? [wellKnown('server', { 'm.server': `${LABEL}.${site.domain}:443` })] : []),
      ],
    },
    {
      label: LABEL,
      locations: [
        proxied('/_matrix/client/', CLIENT_PORT, REQUEST_MIB),
        // Exactly Synapse's own limit: beyond it, it would hang up instead of saying why.
        proxied('/_matrix/media/', CLIENT_PORT, settings.upload.maximumMB),
        proxied('/_synapse/client/', CLIENT_PORT),
        ...(federated
          ? [
              proxied('/_matrix/federation/', FEDERATION_PORT, REQUEST_MIB),
              proxied('/_matrix/key/', FEDERATION_PORT),
            ]
          : []),
      ],
    },
  ];
}

function declare(context: ServiceContext<SynapseSettings>): Declaration {
  const { site, settings, use } = context;
  const postgres = settings.database === 'postgres';
  const loopback = (port: number, purpose: string) => ({
    protocol: 'tcp' as const,
    port,
    scope: 'loopback' as const,
    purpose,
    listening: true,
    process: 'python',
  });
  const unit = (name: string) => ({ name, enabled: true, target: 'multi-user.target', active: true });
  return {
    packages: [
      { name: 'python3' },
      { name: 'python3-psycopg2' },
      { name: 'libjemalloc2' },
      ...(postgres ? [{ name: 'postgresql-17', because: ['services', 'synapse', 'database'] }] : []),
      ...(postgres ? [] : [{ name: 'sqlite3' }]),
    ],
    wheels: [{ id: 'synapse', requirements: [`matrix-synapse==${VERSION}`], provided: ['psycopg2'] }],
    files: files(context),
    users: [{ name: ACCOUNT, home: `/var/lib/${ACCOUNT}`, shell: '/usr/sbin/nologin', groups: [] }],
    units: [unit('synapse.service'), ...(postgres ? [unit(SERVER_UNIT), unit(CLUSTER_UNIT)] : [])],
    ports: [
      loopback(CLIENT_PORT, 'chat (Matrix), behind the web server'),
      ...(site.federation.length > 0
        ? [loopback(FEDERATION_PORT, 'chat with sister sites (Matrix), behind the web server')]
        : []),
    ],
    names: [{ label: '' }, { label: LABEL }],
    secrets: [
      ...[SECRETS.registration, SECRETS.macaroon, SECRETS.form].map((id) => ({
        id,
        kind: 'token' as const,
        length: 48,
      })),
      { id: SECRETS.signing, kind: 'matrix-ed25519', length: 4 },
    ],
    web: webSites(site, settings),
    join: [
      {
        id: 'matrix',
        title: 'Chat (Matrix)',
        lines: [
          'Android and iPhone: use Element X or Element Classic. Windows, Mac and Linux: use Element.',
          'When the app asks for a server, type: {domain}',
          'Your chat address will be: @your-name:{domain}',
        ],
      },
      ...(use('turn') === undefined
        ? [
            {
              id: 'matrix-no-calls',
              title: 'Calls (Matrix)',
              lines: ['Calls are not set up on this kit. Every app can write and send pictures.'],
            },
          ]
        : [
            {
              id: 'matrix-calls',
              title: 'Calls (Matrix)',
              lines: [
                'To call one person, use Element Classic, or Element on a computer. Element X can chat, but it cannot make calls here. There are no group calls.',
              ],
            },
          ]),
    ],
    backup: {
      paths: [MEDIA, SIGNING_KEY],
      sqlite: postgres ? [] : [`${FOLDER}/homeserver.db`],
      postgres: postgres ? [DATABASE] : [],
      units: ['synapse.service'],
    },
    // test/bench/matrix-load.ts on a booted PC kit with PostgreSQL, 25 clients for ten minutes: Synapse 103 MiB idle and 117 at most,
    // PostgreSQL 56 and 94; on a PC that is not emulated 2.4 MB more per client. Here with room to spare, and buffers all in use.
    memory: {
      idleMiB: 130 + (postgres ? 40 + (tuning(site.memoryMiB).sharedBuffers as number) : 10),
      perPersonKiB: 4096,
    },
    disk: { fixedMB: settings.upload.totalMB + (postgres ? 400 : 100), perPersonMB: 30 },
    notes: [
      // Element X and group calls need LiveKit, which Debian does not have.
      use('turn') === undefined
        ? note(
            'synapse/no-calls',
            'nobody can call on this kit: it has no relay for calls',
            ['services', 'synapse'],
            'turn on a service that relays calls, such as "coturn"',
          )
        : note(
            'synapse/calls',
            'calls on this kit are between two people, with Element Classic or Element; Element X can write here but not call, and there are no group calls',
            ['services', 'synapse'],
          ),
    ],
    checks: [
      {
        kind: 'matrix-talk',
        title: 'two people exchange encrypted messages and a file, and strangers get nowhere',
        options: { ...matrixOf(site) },
      },
      {
        kind: 'matrix-server',
        title: 'the chat server has a sound database, room for files and its key',
        options: {
          database: settings.database,
          source: postgres ? DATABASE : `${FOLDER}/homeserver.db`,
          account: ACCOUNT,
          media: MEDIA,
          mediaMB: settings.upload.totalMB,
          signingKey: SIGNING_KEY,
          signingSecret: SECRETS.signing,
          program: PROGRAM,
          version: VERSION,
        },
      },
    ],
  };
}

export const service = defineService<SynapseSettings>({
  id: 'synapse',
  title: 'Chat (Synapse)',
  summary: 'Matrix chat server: people, encrypted rooms, files, history, calls through TURN',
  always: false,
  schema: SCHEMA,
  settings: settingsOf,
  rules: rulesOf,
  provides: (site) => ({ matrix: matrixOf(site) }),
  declare,
});
