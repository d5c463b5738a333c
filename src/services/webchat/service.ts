import {
  defineService,
  type Capabilities,
  type Declaration,
  type FileWish,
  type JsonSchema,
  type ServiceContext,
  type Site,
  type TarballWish,
  type TemplateData,
  type WebLocation,
} from '../contract.js';
import { chatLanguages } from './languages.js';
import { IMPORTS_HASH, policy, SANDBOX_HASH } from './policy.js';

/** Label of the client's address. */
const LABEL = 'chat';
const ROOT = '/usr/share/commesh/webchat';
const DOC = '/usr/share/doc/commesh-webchat';

export interface WebchatSettings {
  readonly client: 'hydrogen' | 'element';
}

type Matrix = Capabilities['matrix'];
type Data = { readonly [key: string]: TemplateData };
const READABLE = { mode: '0644', owner: 'root', group: 'root' } as const;

const SCHEMA: JsonSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    client: {
      type: 'string',
      enum: ['hydrogen', 'element'],
      description:
        'which client people get in the browser: "hydrogen" (default; small, good on old phones) or "element" (bigger, calls between two people)',
    },
  },
};

const place = (path: string, root: string, policyText: string): WebLocation => ({
  path,
  proxy: '',
  proxyHost: '',
  websocket: false,
  bodyMiB: 0,
  root,
  policy: policyText,
});

/** Hydrogen and what it imports, as published. What else it imports, we stand in for (canonical-json.js, base64.js, nothing.js). */
const HYDROGEN: readonly TarballWish[] = [
  {
    name: 'hydrogen-view-sdk',
    version: '0.3.1',
    files: [
      { from: 'lib-build/hydrogen.es.js', to: `${ROOT}/hydrogen.js` },
      { from: 'lib-build/sw.js', to: `${ROOT}/sw.js` },
      { from: 'asset-build/assets/', to: `${ROOT}/assets/` },
    ],
  },
  {
    name: '@matrix-org/olm',
    version: '3.2.15',
    files: [
      { from: 'olm.js', to: `${ROOT}/olm.js` },
      { from: 'olm.wasm', to: `${ROOT}/olm.wasm` },
    ],
  },
  {
    name: 'dompurify',
    version: '3.4.18',
    files: [
      { from: 'dist/purify.es.mjs', to: `${ROOT}/dompurify.js` },
      { from: 'LICENSE', to: `${DOC}/dompurify` },
    ],
  },
];

const copy = (name: string): FileWish => ({ path: `${ROOT}/${name}`, kind: 'copy', ...READABLE });

function rendered(name: string, template: string, data: Data): FileWish {
  const same = name === template;
  return {
    path: `${ROOT}/${name}`,
    kind: 'template',
    ...(same ? {} : { template: `${ROOT}/${template}` }),
    ...READABLE,
    data,
  };
}

function joinPages(site: Site, matrix: Matrix, tags: readonly string[]): readonly FileWish[] {
  const texts = (tag: string): Data => ({ catalogue: tag });
  const page = (folder: string, tag: string): FileWish =>
    rendered(`join/${folder}index.html`, 'join/index.html', {
      tag,
      texts: texts(tag),
      languages:
        tags.length > 1
          ? tags.map((other) => ({ tag: other, folder: `/join/${other}/`, texts: texts(other) }))
          : [],
      title: site.title,
      server: matrix.server,
      baseUrl: matrix.baseUrl,
    });
  return [page('', tags[0] ?? 'en'), ...tags.map((tag) => page(`${tag}/`, tag))];
}

function hydrogenFiles(site: Site, matrix: Matrix): readonly FileWish[] {
  const tags = chatLanguages(site.languages);
  const main = tags[0] ?? 'en';
  return [
    rendered('index.html', 'index.html', { tag: main, texts: { catalogue: main }, title: site.title }),
    rendered('config.json', 'config.json', {
      config: { defaultHomeServer: matrix.server, languages: tags },
    }),
    ...tags.map((tag) => rendered(`i18n/${tag}.json`, 'texts.json', { texts: { catalogue: tag } })),
    ...['app.js', 'app.css', 'recovery.js', 'canonical-json.js', 'base64.js', 'nothing.js'].map(copy),
    ...joinPages(site, matrix, tags),
    ...['join/join.js', 'join/join.css'].map(copy),
  ];
}

function hydrogen(site: Site, matrix: Matrix, connect: readonly string[]): Declaration {
  return {
    tarballs: HYDROGEN,
    files: hydrogenFiles(site, matrix),
    web: [
      {
        label: LABEL,
        locations: [
          place('/', ROOT, policy({ connect, client: true, scripts: [IMPORTS_HASH] })),
          place(
            '/assets/download-sandbox.html',
            ROOT,
            policy({ connect: [], client: true, scripts: [SANDBOX_HASH], framed: true }),
          ),
          place('/join/', ROOT, policy({ connect })),
        ],
      },
    ],
  };
}

/**
 * config.json of Element Web (element-web, docs/config.md): this server only; nothing that would ask a host of its makers. What is
 * not written is off: identity server, integrations, statistics, error reports, maps, Element Call.
 */
function elementConfig(site: Site, matrix: Matrix): string {
  return JSON.stringify({
    default_server_config: { 'm.homeserver': { base_url: matrix.baseUrl, server_name: matrix.server } },
    disable_custom_urls: true,
    disable_guests: true,
    disable_3pid_login: true,
    show_labs_settings: false,
    setting_defaults: {
      language: chatLanguages(site.languages)[0],
      'UIFeature.identityServer': false,
      'UIFeature.thirdPartyId': false,
      'UIFeature.feedback': false,
      'UIFeature.voip': true,
      'UIFeature.widgets': false,
      'UIFeature.registration': false,
      'UIFeature.passwordReset': false,
      'UIFeature.deactivate': false,
      'UIFeature.shareSocial': false,
      'UIFeature.locationSharing': false,
      urlPreviewsEnabled: false,
    },
    permalink_prefix: `https://${LABEL}.${site.domain}`,
    room_directory: { servers: [matrix.server] },
    mobile_guide_toast: false,
    // Newer versions offer it unless told otherwise; it needs a server for group calls, which no kit has.
    element_call: { disable: true },
    enable_presence_by_hs_url: { [matrix.baseUrl]: false },
  });
}

function element(site: Site, matrix: Matrix, connect: readonly string[]): Declaration {
  const client = policy({ connect, client: true, framed: true });
  return {
    packages: [{ name: 'element-web', archive: 'element-io' }],
    archives: [
      {
        archive: 'element-io',
        uri: 'https://packages.element.io/debian',
        suite: 'default',
        components: ['main'],
        fingerprints: ['12D4CD600C2240A9F4A82071D7B0B66941D01538'],
      },
    ],
    files: [
      ...joinPages(site, matrix, chatLanguages(site.languages)),
      ...['join/join.js', 'join/join.css'].map(copy),
    ],
    web: [
      {
        label: LABEL,
        locations: [
          place('/', '/usr/share/element-web', client),
          { ...place('/config.json', '', ''), json: elementConfig(site, matrix) },
          place('/join/', ROOT, policy({ connect })),
        ],
      },
    ],
  };
}

/** Files of the client that its page does not name itself, as paths below the address. */
function partsOf({ files = [], tarballs = [] }: Declaration): readonly string[] {
  return [
    ...files.map(({ path }) => path),
    ...tarballs.flatMap((wish) => wish.files.map(({ to }) => to)),
  ].flatMap((path) =>
    path.startsWith(`${ROOT}/`) && /\.(js|css|json|wasm)$/.test(path) ? [path.slice(ROOT.length)] : [],
  );
}

function declare({ site, settings, use }: ServiceContext<WebchatSettings>): Declaration {
  const matrix = use('matrix');
  const none = 'it keeps nothing: messages are on the chat server, keys in the browser';
  // The plan says that a server is missing (`needs`).
  if (matrix === undefined) return { backup: { none } };
  const connect = [...new Set([matrix.baseUrl, `https://${site.domain}`])];
  const own =
    settings.client === 'element' ? element(site, matrix, connect) : hydrogen(site, matrix, connect);
  return {
    ...own,
    names: [{ label: LABEL }],
    join: [
      {
        id: 'webchat',
        title: 'Chat in the browser',
        lines: [
          'Without any app, on a phone or a computer, with the address below.',
          `With an invitation you make your account at https://${LABEL}.{domain}/join/`,
        ],
        link: `https://${LABEL}.${site.domain}/`,
      },
    ],
    backup: { none },
    checks: [
      {
        kind: 'webchat',
        title: 'the chat for browsers loads, all of it from the kit',
        options: { label: LABEL, parts: partsOf(own) },
      },
    ],
  };
}

export const service = defineService<WebchatSettings>({
  id: 'webchat',
  title: 'Chat in the browser (Matrix)',
  summary:
    'a Matrix client for browsers, served by the kit, and the page where invited people make their account',
  always: false,
  schema: SCHEMA,
  settings: (_site, written) => ({ client: written['client'] === 'element' ? 'element' : 'hydrogen' }),
  needs: () => ['matrix'],
  provides: (site) => ({ register: { page: `https://${LABEL}.${site.domain}/join/` } }),
  declare,
});
