/**
 * Quoting, one function per format. Each takes a plain value and returns text that the format reads back as
 * exactly that value, or throws a RangeError that says why the value cannot be written.
 */

/** What templates may write: JSON-like values without anything missing. */
export type Plain = string | number | boolean | null | readonly Plain[] | { readonly [key: string]: Plain };

const LONE_SURROGATE = /\p{Surrogate}/u;
// eslint-disable-next-line no-control-regex -- finding control characters is its purpose
const CONTROL = /[\u0000-\u001f\u007f]/;
// eslint-disable-next-line no-control-regex -- XML 1.0 section 2.2 allows only these of the control characters
const NOT_XML = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/;

function checked(text: string): string {
  if (text.includes('\0')) throw new RangeError('a NUL character cannot be written into a file of this kind');
  if (LONE_SURROGATE.test(text)) throw new RangeError('the text is not valid Unicode');
  return text;
}

/** A finite number in decimal notation. */
export function number(value: unknown): string {
  if (typeof value !== 'number' || !Number.isFinite(value))
    throw new RangeError('this has to be a finite number');
  return String(value);
}

function scalar(value: Plain, format: string): string {
  if (typeof value === 'string') return checked(value);
  if (typeof value === 'number') return number(value);
  if (typeof value === 'boolean') return String(value);
  throw new RangeError(`${format} takes text, a number or true/false here, not a list, an object or nothing`);
}

function oneLine(value: Plain, format: string): string {
  const text = scalar(value, format);
  if (CONTROL.test(text)) throw new RangeError('line breaks and control characters are not possible here');
  return text;
}

function hex(character: string, digits: number): string {
  return character.charCodeAt(0).toString(16).padStart(digits, '0');
}

/** Text as it is: one line, no control characters, nothing escaped. */
export function text(value: Plain): string {
  return oneLine(value, 'plain text');
}

function luaString(value: string): string {
  const body = checked(value).replace(/["\\]/g, '\\$&').replace(
    // eslint-disable-next-line no-control-regex -- escaping control characters is its purpose
    /[\u0000-\u001f\u007f]/g,
    (c) => (c === '\n' ? '\\n' : `\\${String(c.charCodeAt(0)).padStart(3, '0')}`),
  );
  return `"${body}"`;
}

/** A Lua 5.4 literal (reference manual section 3.1): string, number, boolean, nil, or a table of these. */
export function lua(value: Plain): string {
  if (value === null) return 'nil';
  if (typeof value === 'string') return luaString(value);
  if (typeof value === 'object') {
    if (isList(value)) return value.length === 0 ? '{}' : `{ ${value.map(lua).join(', ')} }`;
    const fields = Object.entries(value).map(([key, inner]) => `[${luaString(key)}] = ${lua(inner)}`);
    return fields.length === 0 ? '{}' : `{ ${fields.join(', ')} }`;
  }
  return scalar(value, 'Lua');
}

function isList(value: Plain): value is readonly Plain[] {
  return Array.isArray(value);
}

/** The value of a `key=value` line: one line, no blanks at its ends, no backslash at its end (a continued line). */
export function ini(value: Plain): string {
  const line = oneLine(value, 'a key=value line');
  if (line !== line.trim()) throw new RangeError('blanks at the beginning or end would be lost');
  if (line.endsWith('\\')) throw new RangeError('a backslash at the end would join the next line');
  return line;
}

/** The value of a line in a systemd unit: as `ini`, and `%` is doubled (systemd.unit(5), specifiers). */
export function unit(value: Plain): string {
  return ini(value).replaceAll('%', '%%');
}

/** JSON (RFC 8259) that is also safe inside HTML and JavaScript. */
export function json(value: Plain): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner === 'string') checked(inner);
    if (typeof inner === 'number') number(inner);
    return inner;
  }).replace(/[<>&\u2028\u2029\u007f]/g, (c) => `\\u${hex(c, 4)}`);
}

/** A YAML 1.2 flow value; strings are double-quoted (YAML 1.2.2 section 7.3.1). */
export function yaml(value: Plain): string {
  return json(value).replace(/[\u0080-\u009f\ufeff\ufffe\uffff]/g, (c) => `\\u${hex(c, 4)}`);
}

/** A HOCON value; JSON is HOCON (HOCON specification, "Syntax"). */
export function hocon(value: Plain): string {
  return json(value);
}

/** One word for a POSIX shell, single-quoted (POSIX.1-2024, 2.2.2). */
export function shell(value: Plain): string {
  return `'${scalar(value, 'a shell word').replaceAll("'", `'\\''`)}'`;
}

/** One nginx parameter, double-quoted. `$` starts a variable and cannot be escaped, so it is refused. */
export function nginx(value: Plain): string {
  const line = oneLine(value, 'nginx');
  if (line.includes('$')) throw new RangeError('nginx would read "$" as the beginning of a variable');
  return `"${line.replace(/["\\]/g, '\\$&')}"`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function entities(value: Plain, format: string): string {
  const plain = scalar(value, format);
  if (NOT_XML.test(plain)) throw new RangeError('control characters are not possible here');
  return plain.replace(/[&<>"']/g, (c) => ENTITIES[c] ?? c);
}

/** Text between tags (XML 1.0 section 2.4, HTML living standard 13.1.4). */
export function markup(value: Plain): string {
  return entities(value, 'text between tags').replaceAll('\r', '&#13;');
}

/** An attribute's value with its quotes; line breaks and tabs survive normalisation (XML 1.0 section 3.3.3). */
export function attribute(value: Plain): string {
  const escaped = entities(value, 'an attribute').replace(/[\t\n\r]/g, (c) => `&#${c.charCodeAt(0)};`);
  return `"${escaped}"`;
}
