import { fault, type Diagnostic } from '../../diagnostics/diagnostic.js';
import {
  DATA_ROOT,
  defineService,
  SISTERS_FILE,
  TLS_ROOT,
  type Declaration,
  type ServiceContext,
  type Site,
  type TemplateData,
  type WebLocation,
} from '../contract.js';
import { rulesOf, SCHEMA, settingsOf, type ProsodySettings } from './settings.js';

const DATA_FOLDER = `${DATA_ROOT}/prosody`;
const HTTP = 'http://127.0.0.1:5280';
const MODULES = '/usr/lib/commesh/prosody';
/** A site's hosts that speak to other servers. */
const XMPP_LABELS = ['', 'groups.', 'share.'] as const;
const DAY_SECONDS = 86_400;

/** Prosody's name for a host's folder (util.datamanager): every byte that is no letter or digit as %xx. */
function hostFolder(host: string): string {
  return `${DATA_FOLDER}/${host.replace(/[^A-Za-z0-9]/g, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`)}`;
}

/** Zones libunbound answers itself with "no such name" (RFC 6303, 6761, 8375). */
const RESOLVER_ZONES = ['home.arpa', 'test'] as const;

/** The zones of its own that libunbound has to leave alone for the kit and its sisters. */
function resolverZones({ domain, federation }: Site): readonly string[] {
  const all = [domain, ...federation.map((sister) => sister.domain)];
  return RESOLVER_ZONES.filter((zone) => all.some((one) => one.endsWith(`.${zone}`)));
}

/** libunbound takes one such setting, so with sisters it names the whole zone; the kit's own name server lets nothing of it out. */
function resolverZone(site: Site): string {
  return site.federation.length === 0 ? site.domain : (resolverZones(site)[0] ?? site.domain);
}

function sisterRules(site: Site): readonly Diagnostic[] {
  const zones = resolverZones(site);
  return site.federation.length > 0 && zones.length > 1
    ? [
        fault(
          'prosody/sister-zones',
          `the chat server cannot look up names that end in .${zones.join(' and others that end in .')} at once`,
          ['federation'],
          'give the sites domains with the same ending, for example .home.arpa',
        ),
      ]
    : [];
}

function retention(days: number): string | number {
  return days === 0 ? 'never' : days * DAY_SECONDS;
}

/** Bytes for a limit in MB: MiB, and the 16 bytes OMEMO adds to a file, so that "100 MB" fits however it is counted. */
function limitBytes(megabytes: number): number {
  return megabytes * 1024 * 1024 + 16;
}

/** Apps the invitation page offers; pictures come with prosody-modules. `invites`: opens xmpp: invitations itself. */
const APPS: readonly { readonly [key: string]: TemplateData }[] = [
  {
    name: 'Conversations',
    text: 'Chat, calls and files for Android.',
    image: 'assets/logos/conversations.svg',
    platforms: ['Android'],
    invites: true,
  },
  {
    name: 'Monal',
    text: 'Chat, calls and files for iPhone, iPad and Mac.',
    image: 'assets/logos/monal.svg',
    platforms: ['iOS', 'macOS'],
    invites: true,
  },
  {
    name: 'Dino',
    text: 'Chat and calls for Linux.',
    image: 'assets/logos/dino.svg',
    platforms: ['Linux'],
    invites: false,
  },
  {
    name: 'Gajim',
    text: 'Chat for Windows, Linux and Mac.',
    image: 'assets/logos/gajim.svg',
    platforms: ['Windows', 'Linux', 'macOS'],
    invites: false,
  },
  {
    name: 'Another app',
    text: 'Any app for XMPP (Jabber).',
    image: 'assets/logos/generic.svg',
    platforms: [],
    invites: false,
  },
];

const proxied = (path: string, more: Partial<WebLocation> = {}): WebLocation => ({
  path,
  proxy: HTTP,
  proxyHost: '',
  websocket: false,
  bodyMiB: 0,
  root: '',
  ...more,
});

function declare({ site, settings, use }: ServiceContext<ProsodySettings>): Declaration {
  const { domain } = site;
  const groupsHost = `groups.${domain}`;
  const shareHost = `share.${domain}`;
  const turn = use('turn');
  const { upload } = settings;
  const sisters = site.federation.length > 0;
  const certificate = { directory: TLS_ROOT, owner: 'root', group: 'prosody' };
  const srv = (symbol: string, port: number) => ({
    symbol,
    protocol: 'tcp' as const,
    label: '',
    targetLabel: '',
    port,
    priority: 0,
    weight: 5,
  });
  return {
    packages: [
      { name: 'prosody' },
      { name: 'prosody-modules' },
      // SQLite for Prosody; this binding, unlike lua-dbi-sqlite3, can switch the write-ahead log on.
      { name: 'lua-lsqlite3' },
      // Name look-ups that do not block; without it every prosodyctl command begins with a complaint.
      { name: 'lua-unbound' },
      // The invitation pages load these from the kit.
      { name: 'libjs-jquery' },
      { name: 'libjs-bootstrap4' },
      // Looking into the database by hand, and the backup's consistent copies.
      { name: 'sqlite3' },
    ],
    files: [
      {
        path: '/etc/prosody/prosody.cfg.lua',
        kind: 'template',
        mode: '0640',
        owner: 'root',
        group: 'prosody',
        sensitive: true,
        data: {
          domain,
          title: site.title,
          address: site.network.address,
          joinUrl: `https://${domain}/`,
          groupsHost,
          shareHost,
          turn:
            turn === undefined
              ? null
              : { host: turn.host, port: turn.port, tlsPort: turn.tlsPort, secret: turn.secret },
          history: retention(settings.historyDays),
          inviteSeconds: settings.invites.validDays * DAY_SECONDS,
          everyoneInvites: settings.invites.from === 'everyone',
          apps: APPS,
          membersOnly: settings.groups === 'members',
          publicRooms: settings.groups === 'open',
          maximumBytes: limitBytes(upload.maximumMB),
          dailyBytes: limitBytes(upload.dailyMB),
          totalBytes: upload.totalMB * 1_000_000,
          keep: retention(upload.keepDays),
          sisters: site.federation.flatMap((sister) => XMPP_LABELS.map((label) => label + sister.domain)),
          sistersFile: SISTERS_FILE,
          modules: MODULES,
          zone: resolverZone(site),
        },
      },
      ...(sisters
        ? [
            {
              path: `${MODULES}/mod_commesh_sisters.lua`,
              kind: 'copy',
              mode: '0644',
              owner: 'root',
              group: 'root',
              because: ['federation'],
            } as const,
          ]
        : []),
      {
        path: '/etc/systemd/system/prosody.service',
        kind: 'template',
        mode: '0644',
        owner: 'root',
        group: 'root',
        data: { dataRoot: DATA_ROOT, dataFolder: DATA_FOLDER },
      },
      {
        path: '/usr/libexec/commesh/people.d/prosody',
        kind: 'copy',
        mode: '0755',
        owner: 'root',
        group: 'root',
      },
      { path: DATA_FOLDER, kind: 'directory', mode: '0750', owner: 'prosody', group: 'prosody' },
      // Made here so that the first backup finds it.
      { path: hostFolder(shareHost), kind: 'directory', mode: '0750', owner: 'prosody', group: 'prosody' },
    ],
    units: [{ name: 'prosody.service', enabled: true, target: 'multi-user.target', active: true }],
    ports: [
      {
        protocol: 'tcp',
        port: 5222,
        scope: 'kit',
        purpose: 'chat apps',
        listening: true,
        process: 'lua5.4',
      },
      {
        protocol: 'tcp',
        port: 5223,
        scope: 'kit',
        purpose: 'chat apps (direct TLS)',
        listening: true,
        process: 'lua5.4',
      },
      ...(sisters
        ? [
            {
              protocol: 'tcp',
              port: 5269,
              scope: 'sisters',
              purpose: 'chat with sister sites',
              listening: true,
              process: 'lua5.4',
              because: ['federation'],
            } as const,
          ]
        : []),
      {
        protocol: 'tcp',
        port: 5280,
        scope: 'loopback',
        purpose: 'chat for browsers, files and invitations, behind the web server',
        listening: true,
        process: 'lua5.4',
      },
    ],
    names: [{ label: '' }, { label: 'groups' }, { label: 'share' }],
    srv: [
      srv('xmpp-client', 5222),
      srv('xmpps-client', 5223),
      ...(sisters ? [srv('xmpp-server', 5269)] : []),
    ],
    certificates: [
      { id: 'prosody', labels: ['', 'groups', 'share'], address: false, client: true, ...certificate },
    ],
    web: [
      {
        label: '',
        locations: [
          proxied('/xmpp-websocket', { websocket: true }),
          proxied('/http-bind'),
          proxied('/.well-known/host-meta'),
          proxied('/invite', { inlineScripts: true }),
          proxied('/register', { inlineScripts: true }),
          proxied('/register_apps/'),
          proxied('/share/'),
        ],
      },
      { label: 'share', locations: [proxied('/file_share/', { bodyMiB: upload.maximumMB + 1 })] },
    ],
    join: [
      {
        id: 'chat',
        title: 'Chat and calls',
        lines: [
          'Android: use Conversations. iPhone, iPad and Mac: use Monal. Windows and Linux: use Gajim or Dino.',
          'If the app is not on your device yet, ask the person who gave you this page.',
          'Your chat address will be: your-name@{domain}',
        ],
      },
    ],
    backup: {
      paths: [hostFolder(shareHost)],
      sqlite: [`${DATA_FOLDER}/prosody.sqlite`],
      units: ['prosody.service'],
    },
    // Measured on amd64 (test/real/services-chat.test.ts prints it); a connected phone takes about 120 KiB.
    memory: { idleMiB: 30, perPersonKiB: 300 },
    disk: { fixedMB: upload.totalMB + 20, perPersonMB: 20 },
    checks: [
      {
        kind: 'xmpp-talk',
        title: 'two people exchange a message, a file and history, and meet in a group',
        options: { domain, groups: groupsHost, share: shareHost },
      },
      { kind: 'prosody-check', title: 'the chat server finds nothing wrong with itself', options: {} },
    ],
  };
}

export const service = defineService<ProsodySettings>({
  id: 'prosody',
  title: 'Chat (Prosody)',
  summary: 'XMPP chat server: people, groups, files, history, invitations, calls through TURN',
  always: false,
  schema: SCHEMA,
  settings: settingsOf,
  rules: (site, settings) => [...rulesOf(site, settings), ...sisterRules(site)],
  provides: (site) => ({ chat: { domain: site.domain, invitePath: '/invite' } }),
  declare,
});
