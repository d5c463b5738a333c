import Handlebars from 'handlebars';
import { WorkError } from '../diagnostics/errors.js';
import type { TemplateData } from '../services/contract.js';
import * as quote from './quote.js';
import type { Plain } from './quote.js';

/** Values for one template. */
export type TemplateValues = { readonly [key: string]: TemplateData };

/** Gives the value of a secret of the site. Throws when there is none of this name. */
export type SecretOf = (id: string) => string;

/** A template that cannot be rendered: a name it uses is missing, or a value cannot be written there. */
export class TemplateError extends WorkError {
  constructor(
    /** The template's path, as shown to people. */
    readonly template: string,
    /** Line in the template, from 1; 0 when it is not known. */
    readonly line: number,
    problem: string,
  ) {
    super(`${template}${line > 0 ? `:${line}` : ''}: ${problem}`, {
      hint: 'if this template is in your "overrides" folder, compare it with the one it replaces; otherwise please report this',
    });
  }
}

type Quoting = (value: Plain) => string;
const QUOTING: Readonly<Record<string, Quoting>> = {
  text: quote.text,
  number: quote.number,
  lua: quote.lua,
  ini: quote.ini,
  unit: quote.unit,
  yaml: quote.yaml,
  json: quote.json,
  hocon: quote.hocon,
  shell: quote.shell,
  nginx: quote.nginx,
  xml: quote.markup,
  xmlattr: quote.attribute,
  html: quote.markup,
  htmlattr: quote.attribute,
};

function list(value: Plain): readonly Plain[] {
  if (!Array.isArray(value)) throw new RangeError('this has to be a list');
  return value as readonly Plain[];
}

function own(value: Plain, key: string): Plain | undefined {
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw new RangeError('this has to be an object');
  return Object.hasOwn(value, key) ? (value as { readonly [key: string]: Plain })[key] : undefined;
}

type Values = (args: readonly Plain[], hash: Readonly<Record<string, Plain>>) => Plain;
const VALUES: Readonly<Record<string, Values>> = {
  // {{#if (eq a b)}}, {{#if (not a)}}, {{#if (and a b)}}, {{#if (or a b)}}
  eq: ([a, b]) => a === b,
  not: ([a]) => !truthy(a),
  and: (args) => args.every(truthy),
  or: (args) => args.some(truthy),
  // {{join list ", "}}: entries on one line, as they are.
  join: ([entries, separator]) =>
    list(entries as Plain)
      .map(quote.text)
      .join(typeof separator === 'string' ? separator : ' '),
  // {{lines list}}: one entry per line, as they are; `prefix` goes before each.
  lines: ([entries], { prefix }) =>
    list(entries as Plain)
      .map((entry) => (typeof prefix === 'string' ? prefix : '') + quote.text(entry))
      .join('\n'),
  // {{integer value min=1 max=65535}}
  integer: ([value], { min, max }) => {
    if (!Number.isSafeInteger(value)) throw new RangeError('this has to be a whole number');
    if (typeof min === 'number' && (value as number) < min) throw new RangeError(`this is less than ${min}`);
    if (typeof max === 'number' && (value as number) > max) throw new RangeError(`this is more than ${max}`);
    return value as number;
  },
  // {{get object key fallback}}
  get: ([object, key, fallback]) => {
    const found = own(object as Plain, String(key));
    if (found !== undefined) return found;
    if (fallback === undefined) throw new RangeError(`there is no "${String(key)}" in it`);
    return fallback;
  },
  // {{#each (split text ":" 4)}}: parts of the text, four of them together again.
  split: ([whole, separator, together]) => {
    const size = Math.max(Number(together ?? 1), 1);
    const parts = String(whole).split(String(separator));
    return Array.from({ length: Math.ceil(parts.length / size) }, (_none, index) =>
      parts.slice(index * size, (index + 1) * size).join(String(separator)),
    );
  },
  // {{html (fill sentence name=value)}}: puts values into "{name}"; each placeholder needs its value.
  fill: ([sentence], hash) =>
    String(sentence).replace(/\{(\w+)\}/g, (_whole, key: string) => {
      const value = own(hash, key);
      if (value === undefined) throw new RangeError(`nothing was given for "{${key}}"`);
      return String(value);
    }),
};

function truthy(value: Plain | undefined): boolean {
  return !(value === undefined || value === null || value === false || value === '' || value === 0) &&
    !(Array.isArray(value) && value.length === 0);
}

const BLOCKS = ['if', 'unless', 'each', 'with'] as const;
const HELPERS = new Set<string>([...Object.keys(QUOTING), ...Object.keys(VALUES), ...BLOCKS]);
/** Hidden hash argument: where the helper was called and with which names. */
const CALL = '\u0001call';

interface Call {
  readonly line: number;
  readonly args: readonly string[];
}

class HelperFault extends Error {
  constructor(
    readonly line: number,
    message: string,
  ) {
    super(message);
  }
}

const engine = makeEngine();

function makeEngine(): typeof Handlebars {
  const instance = Handlebars.create();
  for (const name of ['lookup', 'log', 'helperMissing', 'blockHelperMissing']) instance.unregisterHelper(name);
  const guard =
    (
      run: (
        self: unknown,
        args: Plain[],
        hash: Readonly<Record<string, Plain>>,
        options: Handlebars.HelperOptions,
      ) => unknown,
    ) =>
    function (this: unknown, ...all: unknown[]): unknown {
      const options = all.pop() as Handlebars.HelperOptions;
      const { [CALL]: place, ...hash } = options.hash as Record<string, Plain>;
      const call = JSON.parse(String(place)) as Call;
      const values = [...all, ...Object.values(hash)];
      const missing = values.findIndex((value) => value === undefined);
      if (missing >= 0)
        throw new HelperFault(call.line, `nothing is known by the name "${call.args[missing] ?? '?'}"`);
      try {
        return run(this, all as Plain[], hash, options);
      } catch (error) {
        if (error instanceof RangeError)
          throw new HelperFault(call.line, `"${call.args.join(' ')}": ${error.message}`);
        throw error;
      }
    };
  for (const [name, quoting] of Object.entries(QUOTING))
    instance.registerHelper(
      name,
      guard((_self, [value]) => quoting(value as Plain)),
    );
  for (const [name, make] of Object.entries(VALUES))
    instance.registerHelper(
      name,
      guard((_self, args, hash) => make(args, hash)),
    );
  for (const name of BLOCKS) {
    const original = instance.helpers[name] as Handlebars.HelperDelegate;
    instance.registerHelper(
      name,
      guard((self, args, _hash, options) => original.call(self, ...([...args, options] as [unknown]))),
    );
  }
  return instance;
}

type Node = hbs.AST.Node;
type Sexpr = hbs.AST.MustacheStatement | hbs.AST.BlockStatement | hbs.AST.SubExpression;

/** Parses a template and prepares it: every output goes through a helper, every helper knows its place. */
function prepare(source: string, name: string): { program: hbs.AST.Program; used: ReadonlySet<string> } {
  let program: hbs.AST.Program;
  try {
    program = engine.parse(source);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const line = Number(/line (\d+)|- (\d+):\d+/.exec(message)?.slice(1).find(Boolean) ?? 0);
    throw new TemplateError(name, line, `not a valid template: ${message.split('\n').slice(-1)[0] ?? ''}`);
  }
  const used = new Set<string>();
  /** `blocks`: names bound by `as |x|`, one list per open each/with. */
  const path = (node: hbs.AST.PathExpression, blocks: readonly (readonly string[])[]): void => {
    const first = node.parts[0];
    if (first === undefined) return;
    if (node.data) {
      if (first === 'root' && node.parts[1] !== undefined) used.add(node.parts[1]);
    } else if (node.depth === blocks.length && !blocks.some((names) => names.includes(first))) used.add(first);
  };
  const expression = (node: Node, blocks: readonly (readonly string[])[]): void => {
    if (node.type === 'PathExpression') path(node as hbs.AST.PathExpression, blocks);
    else if (node.type === 'SubExpression') call(node as hbs.AST.SubExpression, blocks);
  };
  const call = (node: Sexpr, blocks: readonly (readonly string[])[]): string => {
    const line = node.loc.start.line;
    if (node.path.type !== 'PathExpression')
      throw new TemplateError(name, line, 'only names can be written between braces');
    const helper = (node.path as hbs.AST.PathExpression).original;
    if (!HELPERS.has(helper)) throw new TemplateError(name, line, `there is no helper called "${helper}"`);
    const hash = node.hash ?? { type: 'Hash', pairs: [], loc: node.loc };
    for (const inner of [...node.params, ...hash.pairs.map((pair) => pair.value)]) expression(inner, blocks);
    const at: Call = {
      line,
      args: [...node.params, ...hash.pairs.map((pair) => pair.value)].map((inner) => {
        const named = inner as { original?: unknown; path?: { original?: unknown } };
        return String(named.original ?? named.path?.original ?? inner.type);
      }),
    };
    const literal = { type: 'StringLiteral', value: JSON.stringify(at), original: '', loc: node.loc };
    hash.pairs.push({ type: 'HashPair', key: CALL, value: literal, loc: node.loc } as hbs.AST.HashPair);
    node.hash = hash;
    return helper;
  };
  const walk = (body: hbs.AST.Program | undefined, blocks: readonly (readonly string[])[]): void => {
    for (const statement of body?.body ?? []) {
      switch (statement.type) {
        case 'ContentStatement':
        case 'CommentStatement':
          break;
        case 'MustacheStatement': {
          const mustache = statement as hbs.AST.MustacheStatement;
          const bare = mustache.params.length === 0 && !(mustache.hash?.pairs.length > 0);
          if (bare && mustache.path.type === 'PathExpression') {
            const value = mustache.path;
            mustache.params = [value];
            mustache.path = { ...value, original: 'text', parts: ['text'], depth: 0, data: false } as never;
          }
          call(mustache, blocks);
          break;
        }
        case 'BlockStatement': {
          const block = statement as hbs.AST.BlockStatement;
          const helper = call(block, blocks);
          if (!(BLOCKS as readonly string[]).includes(helper))
            throw new TemplateError(name, block.loc.start.line, `"${helper}" is not for blocks`);
          const inner = helper === 'each' || helper === 'with';
          walk(block.program, inner ? [...blocks, block.program?.blockParams ?? []] : blocks);
          walk(block.inverse, blocks);
          break;
        }
        default:
          throw new TemplateError(name, statement.loc.start.line, 'partials and decorators are not supported');
      }
    }
  };
  walk(program, []);
  return { program, used };
}

/** True for `{ secret: 'id' }`. */
export function isSecretRef(value: unknown): value is { readonly secret: string } {
  return (
    value !== null &&
    typeof value === 'object' &&
    Object.keys(value).length === 1 &&
    typeof (value as { secret?: unknown }).secret === 'string'
  );
}

/** Replaces every SecretRef in `data`, however deep, by its value. */
export function resolveSecrets(data: TemplateData, secrets: SecretOf): Plain {
  if (data === null || typeof data !== 'object') return data;
  if (Array.isArray(data)) return (data as readonly TemplateData[]).map((inner) => resolveSecrets(inner, secrets));
  if (isSecretRef(data)) return secrets(data.secret);
  return Object.fromEntries(
    Object.entries(data as TemplateValues).map(([key, inner]) => [key, resolveSecrets(inner, secrets)]),
  );
}

/** Ids of all secrets `data` refers to, sorted. */
export function secretsIn(data: TemplateData): readonly string[] {
  const found = new Set<string>();
  resolveSecrets(data, (id) => {
    found.add(id);
    return '';
  });
  return [...found].sort();
}

/** Top-level names a template uses, whichever way its conditions go. Data has to have all of them and no other. */
export function namesUsed(source: string, name: string): ReadonlySet<string> {
  return prepare(source, name).used;
}

/**
 * Renders a Handlebars template: nothing is escaped by itself (each format has its quoting helper), plain
 * `{{name}}` takes one line of text, and a name that is not in `data` is an error.
 * @param name path of the template, for messages.
 * @throws TemplateError with the template's name and line.
 */
export function renderTemplate(source: string, name: string, data: TemplateValues, secrets: SecretOf): string {
  const { program, used } = prepare(source, name);
  const values = resolveSecrets(data, secrets) as { readonly [key: string]: Plain };
  for (const key of used)
    if (!Object.hasOwn(values, key))
      throw new TemplateError(name, lineOf(source, key), `nothing is known by the name "${key}"`);
  try {
    return engine.compile(program, {
      noEscape: true,
      strict: true,
      knownHelpersOnly: true,
      knownHelpers: Object.fromEntries([...HELPERS].map((helper) => [helper, true])) as never,
    })(values);
  } catch (error) {
    if (error instanceof HelperFault) throw new TemplateError(name, error.line, error.message);
    const { lineNumber, message } = error as { lineNumber?: number; message: string };
    throw new TemplateError(name, lineNumber ?? 0, message);
  }
}

function lineOf(source: string, key: string): number {
  const before = new RegExp(`\\{\\{[^}]*(?<![\\w.])${key.replace(/\W/g, '\\$&')}(?!\\w)`).exec(source);
  return before === null ? 0 : source.slice(0, before.index + before[0].length).split('\n').length;
}
