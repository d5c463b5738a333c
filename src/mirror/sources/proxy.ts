import { existsSync } from 'node:fs';
import { ToolError } from '../../diagnostics/errors.js';
import type { Host } from '../../host/host.js';

/** How this host reaches the network: as its own apt is told, where there is one, and as the environment says. */
export interface NetworkSettings {
  /** The proxy for a URL (`http://host:port`), or null for a direct connection. */
  proxyFor(url: URL): Promise<URL | null>;
  /** Old indexes are accepted: the host's own apt is set not to mind (apt.conf(5), Acquire::Check-Valid-Until). */
  readonly ignoresAge: boolean;
  /** PEM file with further certificate authorities for https, or null. */
  readonly caFile: string | null;
}

const KEPT = /^Acquire::(?:http|https)::(?:Proxy|ProxyAutoDetect|Proxy-Auto-Detect|CaInfo)(?:::|$)/i;
/** Where systems keep the certificate authorities they trust, those that their owner added included (as curl and OpenSSL look). */
const HOST_AUTHORITIES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];
const VARIABLES = [
  'http_proxy',
  'https_proxy',
  'no_proxy',
  'HTTP_PROXY',
  'HTTPS_PROXY',
  'NO_PROXY',
  'all_proxy',
];

/**
 * Reads the proxy settings of the host's apt (`apt-config dump`, apt-transport-http(1)) and the environment. A host without
 * apt has only the environment.
 */
export async function readNetworkSettings(host: Host): Promise<NetworkSettings> {
  const dump = await host
    .exec(['apt-config', 'dump', 'Acquire'], { title: 'reading the settings of apt' })
    .then(
      ({ stdout }) => stdout,
      (error: unknown) => {
        if (error instanceof ToolError && error.status === 'not found') return '';
        throw error;
      },
    );
  const settings = new Map<string, string>();
  let ignoresAge = false;
  for (const line of dump.split('\n')) {
    const match = /^([^ ]+) "(.*)";$/.exec(line);
    const [, key = '', value = ''] = match ?? [];
    if (/^Acquire::Check-Valid-Until$/i.test(key))
      ignoresAge = /^(false|no|0|off|without|disable)$/i.test(value);
    if (!KEPT.test(key)) continue;
    settings.set(key.toLowerCase(), value);
  }
  const env: Record<string, string> = {};
  for (const name of VARIABLES) {
    const value = host.env[name];
    if (value) env[name] = value;
  }
  const get = (scheme: string, rest: string): string =>
    settings.get(`acquire::${scheme}::${rest}`.toLowerCase()) ||
    // https falls back on the settings of http, as in apt-transport-https(1).
    (scheme === 'https' ? (settings.get(`acquire::http::${rest}`.toLowerCase()) ?? '') : '');
  const known = new Map<string, Promise<URL | null>>();

  const find = async (url: URL): Promise<URL | null> => {
    const scheme = url.protocol.slice(0, -1);
    const own = get(scheme, `Proxy::${url.hostname}`);
    if (own !== '') return toProxy(own);
    const general = get(scheme, 'Proxy');
    const detector = get(scheme, 'Proxy-Auto-Detect') || get(scheme, 'ProxyAutoDetect');
    if (general === '' && detector !== '') {
      const said = await host.exec([detector, url.href], {
        allowFailure: true,
        title: 'looking for a proxy',
      });
      const first = said.stdout.trim().split('\n')[0] ?? '';
      if (said.exitCode === 0 && first !== '') return toProxy(first);
    }
    if (general !== '') return toProxy(general);
    if (exempt(url.hostname, env['no_proxy'] ?? env['NO_PROXY'] ?? '')) return null;
    // HTTP_PROXY in capitals is not read: a web server sets it from a visitor's header (CVE-2016-5385).
    const variable = scheme === 'https' ? (env['https_proxy'] ?? env['HTTPS_PROXY']) : env['http_proxy'];
    const value = variable ?? env['all_proxy'] ?? '';
    return value === '' ? null : toProxy(value);
  };
  return {
    ignoresAge,
    caFile:
      get('https', 'CaInfo') ||
      [host.env['SSL_CERT_FILE'] ?? '', ...HOST_AUTHORITIES].find(
        (file) => file !== '' && existsSync(file),
      ) ||
      null,
    proxyFor(url) {
      let answer = known.get(url.origin);
      if (answer === undefined) {
        answer = find(url);
        known.set(url.origin, answer);
      }
      return answer;
    },
  };
}

function toProxy(value: string): URL | null {
  if (/^(?:direct|false)$/i.test(value)) return null;
  const url = new URL(value.includes('://') ? value : `http://${value}`);
  return url.protocol === 'http:' || url.protocol === 'https:' ? url : null;
}

/** `no_proxy`: names and domains with commas between them, `*` for all. */
function exempt(hostname: string, list: string): boolean {
  return list
    .split(',')
    .map((entry) => entry.trim().replace(/^\*?\./, ''))
    .some(
      (entry) => entry === '*' || (entry !== '' && (hostname === entry || hostname.endsWith(`.${entry}`))),
    );
}

/**
 * Settings for a mirror. Where the host's own sources are used (`mirror: auto`), the host's own word on old indexes
 * counts as well: whoever runs it has a mirror that lags behind and said so. It is told, never silent.
 */
export function settingsFor(host: Host, network: NetworkSettings, mirror: string): NetworkSettings {
  if (!network.ignoresAge) return network;
  if (mirror !== 'auto') return { ...network, ignoresAge: false };
  host.emit({
    type: 'log',
    level: 'warn',
    text: "this computer's apt is set not to check how old a package index is, so it is not checked here either",
  });
  return network;
}
