/** Characters that would move the cursor, recolour the terminal or turn the direction of the text around. */
const UNSAFE = /[\p{Cc}\u{2028}\u{2029}\u{202a}-\u{202e}\u{2066}-\u{2069}\u{feff}]/gu;

/** Text of others made safe to print: control characters become visible pictures (U+2400 ff.) or U+FFFD. */
export function printable(text: string): string {
  return text.replace(UNSAFE, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 0x20 ? String.fromCodePoint(0x2400 + code) : '\u{fffd}';
  });
}

/** A value as a person wrote it, in quotation marks, printable and cut to `limit` characters. */
export function quoted(value: unknown, limit = 40): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  const characters = [...printable(text)];
  return `"${characters.length > limit ? `${characters.slice(0, limit - 1).join('')}…` : characters.join('')}"`;
}

/** `a`, `a or b`, `a, b or c`. */
export function listed(words: readonly string[], joiner: 'and' | 'or' = 'or'): string {
  if (words.length < 2) return words[0] ?? '';
  return `${words.slice(0, -1).join(', ')} ${joiner} ${words[words.length - 1]}`;
}

/** `1 error`, `2 errors`. */
export function counted(count: number, noun: string, plural = `${noun}s`): string {
  return `${count} ${count === 1 ? noun : plural}`;
}

const ZERO_WIDTH = /[\p{Mn}\p{Me}\p{Cf}]/u;
const WIDE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u{3000}-\u{303f}\u{ff01}-\u{ff60}]/u;

/** Terminal cells one character takes: 0, 1 or 2 (Unicode TR 11, roughly). */
export function cells(character: string): 0 | 1 | 2 {
  if (ZERO_WIDTH.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}
