import { parseStanzas, words } from '../deb822.js';

/** One `deb` source of the host. */
export interface AptEntry {
  readonly uri: string;
  readonly suites: readonly string[];
  readonly components: readonly string[];
  /** Path of a keyring, fingerprints, or '' when the source names no key. */
  readonly signedBy: string;
}

/** Sources of a one-line `*.list` file, `deb [option=value …] uri suite component …` (sources.list(5)). */
export function parseOneLineSources(text: string): AptEntry[] {
  const entries: AptEntry[] = [];
  for (const raw of text.split('\n')) {
    const line = raw.replace(/(^|\s)#.*$/, '').trim();
    // A cdrom URI holds spaces inside brackets; it is of no use here and does not match.
    const match = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+\S+)*)$/.exec(line);
    if (!match) continue;
    const [, options = '', uri = '', suite = '', components = ''] = match;
    if (uri.startsWith('cdrom:')) continue;
    const signedBy = /(?:^|\s)signed-by=(\S+)/i.exec(options)?.[1] ?? '';
    entries.push({ uri, suites: [suite], components: words(components), signedBy });
  }
  return entries;
}

/** Sources of a deb822 `*.sources` file; disabled ones and pure source-code ones are left out. */
export function parseDeb822Sources(text: string): AptEntry[] {
  const entries: AptEntry[] = [];
  for (const stanza of parseStanzas(text)) {
    if (/^(no|false|0|off|without|disable)$/i.test(stanza.get('enabled') ?? '')) continue;
    if (!words(stanza.get('types')).includes('deb')) continue;
    for (const uri of words(stanza.get('uris'))) {
      if (uri.startsWith('cdrom:')) continue;
      entries.push({
        uri,
        suites: words(stanza.get('suites')),
        components: words(stanza.get('components')),
        signedBy: (stanza.get('signed-by') ?? '').trim(),
      });
    }
  }
  return entries;
}

const CODE_NAMES =
  /^(?:bullseye|bookworm|trixie|forky|duke|sid|oldoldstable|oldstable|stable|testing|unstable)$/;
const SECURITY_SUITE = /^(?:[a-z]+-security|[a-z]+\/updates)$/;

/** Last part of the URI's path: `debian`, `debian-security`. */
export function lastSegment(uri: string): string {
  return uri.replace(/\/+$/, '').split('/').pop() ?? '';
}

function bySignature(entry: AptEntry, keyring: RegExp): boolean {
  return entry.signedBy.startsWith('/') && keyring.test(entry.signedBy);
}

/**
 * The host's URI of an archive, or null.
 *
 * Debian's own archives are told from look-alikes (other vendors use Debian's suite names and a path ending in
 * `/debian`, too) by component `main`, a Debian suite, and Debian's keyring; a source that names no keyring must have
 * the usual last path segment, and of several the one that also carries Debian's other suites or components wins.
 * `raspberrypi` is known by its keyring's name or by the package source's own last path segment.
 */
export function pickArchive(entries: readonly AptEntry[], archive: string): string | null {
  let best: { uri: string; score: number } | null = null;
  for (const entry of entries) {
    const score = scoreEntry(entry, archive, entries);
    if (score > 0 && (best === null || score > best.score)) best = { uri: entry.uri, score };
  }
  return best?.uri.replace(/\/+$/, '') ?? null;
}

function scoreEntry(entry: AptEntry, archive: string, all: readonly AptEntry[]): number {
  if (!entry.components.includes('main')) return 0;
  if (archive === 'debian' || archive === 'debian-security') {
    const signed = bySignature(entry, /debian-archive/);
    if (entry.signedBy !== '' && !signed) return 0;
    const security = entry.suites.some((suite) => SECURITY_SUITE.test(suite));
    if (archive === 'debian-security') return security ? (signed ? 2 : 1) : 0;
    if (security || !entry.suites.some((suite) => CODE_NAMES.test(suite))) return 0;
    const segment = lastSegment(entry.uri);
    if (!signed && segment !== 'debian') return 0;
    const siblings = all.filter((other) => other.uri === entry.uri);
    const wider =
      siblings.some((other) => other.suites.some((suite) => /-(?:updates|backports)$/.test(suite))) ||
      siblings.some((other) => other.components.some((name) => /^(?:contrib|non-free.*)$/.test(name)));
    return (signed ? 8 : 1) + (wider ? 4 : 0) + (segment === 'debian' ? 2 : 0);
  }
  return bySignature(entry, new RegExp(`/${archive}-archive`)) || lastSegment(entry.uri) === archive ? 1 : 0;
}
