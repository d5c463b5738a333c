/** Whether a host name belongs to the kit. */
export function isOwnHost(host: string, domain: string, address: string): boolean {
  return host === domain || host.endsWith(`.${domain}`) || host === address;
}

// Attributes a browser loads from or leads to, and CSS (HTML Living Standard, "attributes that contain URLs").
const REFERENCES =
  /\b(?:src|href|action|formaction|poster|data|cite|background)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))|url\(\s*(?:"([^"]*)"|'([^']*)'|([^)\s"']+))\s*\)|@import\s+(?:"([^"]*)"|'([^']*)')|\bsrcset\s*=\s*"([^"]*)"/gi;

// Parts a browser loads by itself.
const LOADED =
  /<(?:script|img|source|audio|video|iframe)\b[^>]*?\bsrc\s*=\s*"([^"]*)"|<link\b[^>]*?\bhref\s*=\s*"([^"]*)"/gi;

function resolve(reference: string, base: string): URL | null {
  try {
    return new URL(reference.replaceAll('&amp;', '&'), base);
  } catch {
    return null;
  }
}

/** Addresses on other hosts that a page or a style sheet refers to. */
export function foreignAddresses(
  text: string,
  base: string,
  own: (host: string) => boolean,
): readonly string[] {
  return [...text.matchAll(REFERENCES)]
    .flatMap(([, ...groups]) => groups.filter((group) => group !== undefined))
    .flatMap((reference) => (reference.includes(' ') ? reference.split(/[\s,]+/) : [reference]))
    .flatMap((reference) => {
      const url = resolve(reference, base);
      return url && /^(https?|wss?|ftp):$/.test(url.protocol) && !own(url.hostname) ? [url.href] : [];
    });
}

/** Paths on the kit that a browser loads with a page. */
export function ownAddresses(html: string, base: string, own: (host: string) => boolean): readonly string[] {
  const found = [...html.matchAll(LOADED)].flatMap(([, source, link]) => {
    const url = resolve(source ?? link ?? '', base);
    return url && own(url.hostname) && url.protocol === 'https:' ? [url.pathname + url.search] : [];
  });
  return [...new Set(found)];
}

/** Where a page leads to files of a kind, e.g. `.crt`: paths below its own host, in order. */
export function linksTo(html: string, base: string, ending: string): readonly string[] {
  return [
    ...new Set(
      [...html.matchAll(/\bhref\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))/gi)].flatMap(([, a, b, c]) => {
        const url = resolve(a ?? b ?? c ?? '', base);
        return url?.pathname.endsWith(ending) ? [url.pathname] : [];
      }),
    ),
  ];
}
