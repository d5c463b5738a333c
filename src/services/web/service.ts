import { warning, type Diagnostic } from '../../diagnostics/diagnostic.js';
import {
  defineService,
  TLS_ROOT,
  type Declaration,
  type FileWish,
  type Gathered,
  type ServiceContext,
  type Site,
  type TemplateData,
  type WebLocation,
  type WebSiteWish,
} from '../contract.js';
import { joinLanguage, joinLanguages } from './languages.js';

const JOIN_ROOT = '/usr/share/commesh/join';
const WEB_USER = 'www-data';
/** Everything from the kit itself, nothing inside the HTML, no frames. */
const STRICT_POLICY =
  "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/** For pages of other programs that carry scripts and styles in the HTML; still nothing from elsewhere. */
const INLINE_POLICY = `${STRICT_POLICY}; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:`;

type Data = { readonly [key: string]: TemplateData };

function hostName(site: Site, label: string): string {
  return label === '' ? site.domain : `${label}.${site.domain}`;
}

/** One entry per label, the domain itself first; locations in the order they were declared. */
function merged(
  sites: readonly WebSiteWish[],
): readonly { label: string; locations: readonly WebLocation[] }[] {
  const labels = [...new Set(['', ...sites.map((site) => site.label)])].sort();
  return labels.map((label) => ({
    label,
    locations: sites.filter((site) => site.label === label).flatMap((site) => site.locations),
  }));
}

function location(wish: WebLocation): Data {
  const { path, proxy, proxyHost, websocket, bodyMiB, root } = wish;
  return {
    ...{ path, proxy, proxyHost, websocket, bodyMiB, root },
    policy: wish.policy ?? (wish.inlineScripts === true ? INLINE_POLICY : ''),
    json: wish.json ?? '',
  };
}

function rulesOf(site: Site): readonly Diagnostic[] {
  return site.languages.flatMap((tag, index) =>
    joinLanguage(tag) === null
      ? [
          warning(
            'web/language-not-translated',
            `the join page is not written in "${tag}" yet; people will see it in ${joinLanguages(site.languages).join(', ')}`,
            ['site', 'languages', index],
            `add "en" or another language people there read, or put a translation at overrides/web/i18n/`,
          ),
        ]
      : [],
  );
}

function declare(): Declaration {
  return {
    // The plain package: nginx-light is this one and a module nobody here uses.
    packages: [{ name: 'nginx' }],
    files: [
      {
        path: '/etc/systemd/system/nginx.service',
        kind: 'copy',
        mode: '0644',
        owner: 'root',
        group: 'root',
      },
    ],
    units: [{ name: 'nginx.service', enabled: true, target: 'multi-user.target', active: true }],
    ports: [
      {
        protocol: 'tcp',
        port: 80,
        scope: 'kit',
        purpose: 'join page and the certificate, nothing else',
        listening: true,
        process: 'nginx',
      },
      {
        protocol: 'tcp',
        port: 443,
        scope: 'kit',
        purpose: 'web (TLS)',
        listening: true,
        process: 'nginx',
      },
    ],
    names: [{ label: '' }],
    web: [{ label: '', locations: [] }],
    backup: { none: 'it keeps nothing: its pages are part of the image' },
    memory: { idleMiB: 10, perPersonKiB: 40 },
    checks: [
      { kind: 'http-join', title: 'plain HTTP gives only the join page and the certificate', options: {} },
      { kind: 'probe-urls', title: 'phones that look for the internet get an honest answer', options: {} },
    ],
  };
}

function joinFiles(site: Site, gathered: Gathered): readonly FileWish[] {
  const tags = joinLanguages(site.languages);
  const readable = { mode: '0644', owner: 'root', group: 'root' };
  const texts = (tag: string): Data => ({ catalogue: tag });
  const cards = gathered.join.map(({ id, title, lines, link = '' }) => ({ id, title, lines, link }));
  return [
    ...tags.map((tag): FileWish => ({
      path: `${JOIN_ROOT}/${tag}/index.html`,
      kind: 'template',
      template: `${JOIN_ROOT}/index.html`,
      ...readable,
      data: {
        tag,
        texts: texts(tag),
        languages:
          tags.length > 1
            ? tags.map((other) => ({ tag: other, folder: `/${other}/`, texts: texts(other) }))
            : [],
        title: site.title,
        domain: site.domain,
        address: site.network.address,
        ssid: site.network.wifi?.ssid ?? '',
        fingerprint: { secret: 'ca-fingerprint' },
        cards,
      },
    })),
    {
      path: `${JOIN_ROOT}/404.html`,
      kind: 'template',
      ...readable,
      data: { texts: texts(tags[0] ?? 'en'), title: site.title, domain: site.domain },
    },
    { path: `${JOIN_ROOT}/style.css`, kind: 'copy', ...readable },
    { path: `${JOIN_ROOT}/site-ca.crt`, kind: 'ca-der', ...readable },
    {
      path: `${JOIN_ROOT}/site-ca.mobileconfig`,
      kind: 'secret',
      ...readable,
      data: { value: { secret: 'ca-mobileconfig' } },
    },
  ];
}

function collect({ site }: ServiceContext<Record<string, never>>, gathered: Gathered): Declaration {
  const sites = merged(gathered.web);
  const tags = joinLanguages(site.languages);
  return {
    files: [
      {
        path: '/etc/nginx/nginx.conf',
        kind: 'template',
        mode: '0644',
        owner: 'root',
        group: 'root',
        data: {
          httpPort: 80,
          httpsPort: 443,
          certificate: `${TLS_ROOT}/web.crt`,
          key: `${TLS_ROOT}/web.key`,
          joinRoot: JOIN_ROOT,
          strictPolicy: STRICT_POLICY,
          mainLanguage: tags[0] ?? 'en',
          languages: tags.map((tag) => ({
            tag,
            // The browser's first wish (RFC 9110 section 12.5.4): `es`, `es-MX,…`, `es;q=…`.
            pattern: `~*^${tag}\\b`,
            folder: `/${tag}/`,
            file: `/${tag}/index.html`,
          })),
          sites: sites.map(({ label, locations }) => ({
            main: label === '',
            name: hostName(site, label),
            catchAll: label === '' ? false : locations.some(({ path }) => path === '/'),
            locations: locations.map(location),
          })),
        },
      },
      ...joinFiles(site, gathered),
    ],
    certificates: [
      {
        id: 'web',
        directory: TLS_ROOT,
        labels: sites.map(({ label }) => label),
        address: true,
        client: false,
        owner: 'root',
        group: 'root',
      },
    ],
    checks: [
      {
        kind: 'https-site',
        title: 'the web pages are encrypted with a certificate of the site',
        options: { labels: sites.map(({ label }) => label) },
      },
    ],
  };
}

export const service = defineService<Record<string, never>>({
  id: 'web',
  title: 'Web server and join page (nginx)',
  summary: 'the page that tells people how to join, and the way in for browsers',
  always: true,
  schema: { type: 'object', additionalProperties: false },
  settings: () => ({}),
  rules: rulesOf,
  provides: () => ({ web: { webRoot: JOIN_ROOT, user: WEB_USER } }),
  declare,
  collect,
});
