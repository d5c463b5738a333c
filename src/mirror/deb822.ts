/** One paragraph of a Debian control file; keys in lower case (they are case-insensitive, deb822(5)). */
export type Stanza = ReadonlyMap<string, string>;

/**
 * Paragraphs of a control file: `Key: value` lines, continuation lines start with a space, `#` lines are comments
 * (deb822(5)). Continuation lines are joined with a newline, their leading space removed.
 */
export function parseStanzas(text: string): Stanza[] {
  const stanzas: Stanza[] = [];
  let current = new Map<string, string>();
  let key: string | null = null;
  for (const line of text.split('\n')) {
    if (line.startsWith('#')) continue;
    if (line.trim() === '') {
      if (current.size > 0) stanzas.push(current);
      current = new Map();
      key = null;
    } else if (/^[ \t]/.test(line)) {
      if (key !== null) current.set(key, `${current.get(key) ?? ''}\n${line.slice(1)}`);
    } else {
      const colon = line.indexOf(':');
      if (colon <= 0) {
        key = null;
        continue;
      }
      key = line.slice(0, colon).trim().toLowerCase();
      current.set(key, line.slice(colon + 1).trim());
    }
  }
  if (current.size > 0) stanzas.push(current);
  return stanzas;
}

/** Words of a value, however they are spread over lines. */
export function words(value: string | undefined): string[] {
  return (value ?? '').split(/\s+/).filter(Boolean);
}
