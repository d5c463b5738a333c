import { suggest } from '../diagnostics/suggest.js';

const MASK = '••••••••';
const SECRET_WORDS = ['passphrase', 'password', 'passwd', 'psk', 'secret'];
/** Anything at a key's place that looks like a passphrase's name, whatever became of its colon. */
const LOOSE = /(?:^[^\w:]*|[{,][^\w:]*)[\w-]*(?:pass|phrase|psk)[^\s:=]*\s*[:=]?\s*/i;
const KEY = /(?<=^|[\s{},-])["']?([A-Za-z][\w-]*)["']?(\s*[:=]\s*|\s+(?=["']))(?=\S)/g;

/** Whether a setting of this name is a secret. */
export function coversSetting(key: string): boolean {
  const lower = key.toLowerCase();
  return /pass|phrase|psk|secret|token/.test(lower) || suggest(lower, SECRET_WORDS) !== undefined;
}

/**
 * The profile's text as it may be shown: passphrases, pasted private keys and passwords inside addresses are
 * covered. Lines keep their numbers, and what stands before a covered part keeps its column.
 */
export function cover(text: string): string {
  let secretIndent = -1;
  let inPrivateKey = false;
  return text
    .split('\n')
    .map((line) => {
      const indent = line.length - line.trimStart().length;
      if (inPrivateKey) {
        if (line.includes('-----END')) inPrivateKey = false;
        return line.slice(0, indent) + MASK;
      }
      const begin = line.search(/-----BEGIN [A-Z ]*PRIVATE KEY/);
      if (begin >= 0) {
        inPrivateKey = !line.includes('-----END');
        return line.slice(0, begin) + MASK;
      }
      if (secretIndent >= 0 && line.trim() !== '') {
        if (indent > secretIndent) return line.slice(0, indent) + MASK;
        secretIndent = -1;
      }
      for (const match of line.matchAll(KEY)) {
        if (!coversSetting(match[1] ?? '')) continue;
        const value = match.index + match[0].length;
        if (line[value] === '#') break;
        secretIndent = indent;
        return line.slice(0, value) + MASK;
      }
      const loose = LOOSE.exec(line);
      if (loose && line.trim()[0] !== '#' && loose.index + loose[0].length < line.trimEnd().length) {
        secretIndent = indent;
        return line.slice(0, loose.index + loose[0].length) + MASK;
      }
      const bare = /^\s*["']?([A-Za-z][\w-]*)["']?\s*:\s*$/.exec(line);
      if (bare?.[1] !== undefined && coversSetting(bare[1])) secretIndent = indent;
      return line.replace(/\/\/[^/\s@]+@/g, `//${MASK}@`);
    })
    .join('\n');
}
