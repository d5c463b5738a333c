import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseAllDocuments, visit } from 'yaml';
import type { Document, Node, YAMLError } from 'yaml';
import { fault, located, type LocatedDiagnostic } from '../diagnostics/diagnostic.js';
import { quoted } from '../diagnostics/text.js';
import { cover } from './cover.js';
import { createLocator, placeAt, startOf } from './locate.js';
import type { ReadResult } from './read.js';

/** Deepest nesting of maps and lists; real profiles have four. */
const DEPTH_LIMIT = 20;

interface Trouble {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
  readonly begin: number;
  readonly end: number;
}

/** The innermost node of the wanted sort that holds `offset` or ends there. */
function around(document: Document, offset: number, wanted: (node: Node) => boolean): Node | undefined {
  let best: Node | undefined;
  visit(document, {
    Node(_key, node) {
      const range = (node as Node).range;
      if (range && range[0] < offset && range[2] >= offset && wanted(node as Node)) best = node as Node;
    },
  });
  return best;
}

/** What the YAML library found wrong, in words. */
function explain(error: YAMLError, all: readonly YAMLError[], document: Document, text: string): Trouble {
  const [begin, end] = error.pos;
  const lineStart = text.lastIndexOf('\n', begin - 1) + 1;
  const lineEnd = text.indexOf('\n', begin) < 0 ? text.length : text.indexOf('\n', begin);
  const indentation = /^[ \t]*/.exec(text.slice(lineStart, lineEnd))?.[0] ?? '';
  const trouble = (code: string, message: string, hint: string, from = begin, to = end): Trouble => ({
    code: `profile/${code}`,
    message,
    hint,
    begin: from,
    end: to,
  });
  if (error.code === 'TAB_AS_INDENT' || indentation.includes('\t')) {
    const from = lineStart + Math.max(0, indentation.indexOf('\t'));
    const to = lineStart + indentation.length;
    return trouble(
      'tab',
      'this line begins with a tab',
      'use spaces instead, two for each step to the right',
      from,
      to,
    );
  }
  switch (error.code) {
    case 'BLOCK_AS_IMPLICIT_KEY': {
      const list = /list|sequence/.test(error.message);
      if (list) {
        return trouble(
          'indentation',
          'this list does not stand straight',
          'begin each "- " of a list in the same column',
        );
      }
      const next = all.find((other) => other.code === 'MULTILINE_IMPLICIT_KEY' && other.pos[0] === begin);
      if (next === undefined) {
        const hint = 'put the text in quotation marks: title: "Clinic: north wing"';
        return trouble(
          'colon-in-text',
          'a text with a colon followed by a space needs quotation marks',
          hint,
          begin,
          lineEnd,
        );
      }
      const nextLine = lineEnd + 1;
      const from = nextLine + (/^\s*/.exec(text.slice(nextLine))?.[0].length ?? 0);
      const to = text.indexOf('\n', from) < 0 ? text.length : text.indexOf('\n', from);
      const hint = 'settings that belong together begin in the same column';
      return trouble('indentation', 'this line stands too far to the right', hint, from, to);
    }
    case 'MULTILINE_IMPLICIT_KEY':
    case 'BLOCK_IN_FLOW':
      return trouble(
        'missing-colon',
        'this line has no colon',
        'a setting is its name, a colon, a space and its value: name: clinic',
        begin,
        Math.min(end, lineEnd),
      );
    case 'BAD_INDENT': {
      const open = around(document, begin, (node) => (isMap(node) || isSeq(node)) && node.flow === true);
      if (open?.range) {
        const mark = text[open.range[0]] === '{' ? '}' : ']';
        return trouble(
          'unclosed',
          `the closing "${mark}" is missing`,
          `add "${mark}" where it ends`,
          open.range[0],
          open.range[0] + 1,
        );
      }
      const hint = 'settings that belong together begin in the same column; look at the lines above';
      return trouble(
        'indentation',
        'this line does not stand straight',
        hint,
        lineStart + indentation.length,
        lineEnd,
      );
    }
    case 'MISSING_CHAR': {
      const open = around(document, begin, (node) => isScalar(node) && (node.type ?? '').startsWith('QUOTE'));
      if (open?.range && error.message.includes('quote')) {
        const stop = text.indexOf('\n', open.range[0]);
        return trouble(
          'unclosed',
          'the closing quotation mark is missing',
          'end the text with the mark it began with',
          open.range[0],
          stop < 0 ? text.length : stop,
        );
      }
      return trouble(
        'missing-colon',
        'something is missing here: a colon, a comma or a closing bracket',
        'compare with the presets in profiles/',
      );
    }
    case 'BAD_SCALAR_START':
      return trouble(
        'needs-quotes',
        `a text that begins with ${text[begin] ?? 'this sign'} needs quotation marks`,
        'put it in quotation marks: "…"',
        begin,
        lineEnd,
      );
    case 'BAD_DQ_ESCAPE':
      return trouble(
        'bad-escape',
        'a backslash in "…" begins a special character, and this one does not exist',
        "use '…' instead, where a backslash is just a backslash",
      );
    case 'UNEXPECTED_TOKEN':
      if (text[begin - 1] === "'" && /\w/.test(text[begin] ?? '')) {
        return trouble(
          'apostrophe',
          "the apostrophe ends the text that began with '",
          `put the text in "…" instead`,
          begin - 1,
          lineEnd,
        );
      }
      return trouble(
        'unexpected',
        'this does not belong here',
        "does the text need quotation marks as a whole? Inside '…' an apostrophe is written twice",
        begin,
        Math.min(Math.max(end, begin + 1), lineEnd),
      );
    case 'NON_STRING_KEY':
      return trouble('bad-key', 'the name of a setting must be a plain word', 'write it as name: value');
    case 'BAD_ALIAS':
    case 'ALIAS_PROPS':
    case 'MULTIPLE_ANCHORS':
    case 'BAD_PROP_ORDER':
      return reference(begin, end);
    case 'TAG_RESOLVE_FAILED':
    case 'MULTIPLE_TAGS':
    case 'BAD_COLLECTION_TYPE':
      return tag(begin, end);
    case 'BAD_DIRECTIVE':
      return trouble('directive', 'lines that begin with % are not used in profiles', 'delete the line');
    case 'RESOURCE_EXHAUSTION':
      return tooDeep(0, 1);
    default:
      return trouble(
        'syntax',
        'this cannot be understood here',
        'compare with the presets in profiles/',
        begin,
        Math.min(Math.max(end, begin + 1), lineEnd),
      );
  }
}

const reference = (begin: number, end: number): Trouble => ({
  code: 'profile/reference',
  message: 'references ("&name" and "*name") are not used in profiles',
  hint: 'write the value out; if it is a text that begins with & or *, put it in quotation marks',
  begin,
  end,
});

const tag = (begin: number, end: number): Trouble => ({
  code: 'profile/tag',
  message: 'type marks ("!name") are not used in profiles',
  hint: 'delete the mark; if it is a text that begins with !, put it in quotation marks',
  begin,
  end,
});

const tooDeep = (begin: number, end: number): Trouble => ({
  code: 'profile/too-deep',
  message: 'too many lists or maps inside one another',
  hint: 'compare with the presets in profiles/',
  begin,
  end,
});

/** What YAML allows and a profile does not: references, tags, names given twice, bottomless nesting. */
function unwanted(document: Document, text: string, lines: LineCounter): Trouble[] {
  const out: Trouble[] = [];
  const walk = (node: unknown, depth: number): boolean => {
    if (!isNode(node)) return true;
    const [begin, end] = node.range ?? [0, 1];
    if (depth > DEPTH_LIMIT) {
      out.push(tooDeep(begin, begin + 1));
      return false;
    }
    if (isAlias(node)) {
      out.push(reference(begin, end));
      return false;
    }
    if (node.anchor !== undefined) {
      const from = Math.max(0, text.lastIndexOf(`&${node.anchor}`, begin));
      out.push(reference(from, from + node.anchor.length + 1));
      return false;
    }
    // Only a tag that was written is kept on a parsed node.
    if (node.tag !== undefined) {
      const from = text.slice(0, begin).search(/!\S*\s*$/);
      out.push(tag(from < 0 ? begin : from, from < 0 ? end : from + 1));
      return false;
    }
    if (isMap(node)) {
      const seen = new Map<string, number>();
      for (const pair of node.items) {
        if (isScalar(pair.key)) {
          const name = String(pair.key.value);
          const at = pair.key.range ?? [0, 1, 1];
          const before = seen.get(name);
          if (before === undefined) seen.set(name, lines.linePos(at[0]).line);
          else {
            out.push({
              code: 'profile/duplicate-setting',
              message: `${quoted(name)} is written twice`,
              hint: `it stands on line ${before} already; keep one of the two`,
              begin: at[0],
              end: at[1],
            });
          }
        }
        if (!walk(pair.key, depth + 1) || !walk(pair.value, depth + 1)) return false;
      }
    }
    if (isSeq(node)) {
      for (const item of node.items) if (!walk(item, depth + 1)) return false;
    }
    return true;
  };
  walk(document.contents, 0);
  return out;
}

/** Turns the text of a profile into data and places, or says what is wrong with it. YAML 1.2 core. Pure. */
export function parseProfile(file: string, text: string): ReadResult {
  const shown = cover(text);
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, {
    version: '1.2',
    schema: 'core',
    merge: false,
    stringKeys: true,
    // Looked for below, in linear time and with the line of the first one.
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: 'silent',
    lineCounter: lines,
  });
  const tell = (trouble: Trouble): LocatedDiagnostic =>
    located(
      fault(trouble.code, trouble.message, [], trouble.hint),
      placeAt(file, text, lines, trouble.begin, trouble.end),
    );
  const refuse = (...troubles: Trouble[]): ReadResult => ({
    document: null,
    faults: troubles.map(tell),
    shown,
  });

  const documents = 'empty' in parsed ? [] : parsed;
  const [document, second] = documents;
  if (document === undefined) {
    const diagnostic = fault(
      'profile/empty',
      'this file holds nothing but comments',
      [],
      'start from a preset in profiles/, or let "commeshctl init" write one',
    );
    return { document: null, faults: [located(diagnostic, startOf(file))], shown };
  }
  // One mistake often upsets all that follows, so only the first is told.
  const first = document.errors[0];
  if (first !== undefined) return refuse(explain(first, document.errors, document, text));
  const strange = document.warnings[0];
  if (strange !== undefined) return refuse(explain(strange, document.warnings, document, text));
  if (second !== undefined) {
    const begin = second.range?.[0] ?? 0;
    const mark = text.lastIndexOf('\n---', begin) + 1;
    return refuse({
      code: 'profile/two-documents',
      message: 'a profile ends where a line "---" or "..." begins another one',
      hint: 'one file holds one site: keep the second one in a file of its own',
      begin: mark > 0 ? mark : begin,
      end: mark > 0 ? mark + 3 : begin + 1,
    });
  }
  const bad = unwanted(document, text, lines);
  if (bad.length > 0) return refuse(...bad);
  if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) {
    const diagnostic = fault(
      'profile/empty',
      'this file holds nothing but comments',
      [],
      'start from a preset in profiles/, or let "commeshctl init" write one',
    );
    return { document: null, faults: [located(diagnostic, startOf(file))], shown };
  }
  if (!isMap(document.contents)) {
    const [begin, end] = (document.contents as Node).range ?? [0, 1];
    return refuse({
      code: 'profile/not-a-profile',
      message: isSeq(document.contents) ? 'this is a list, not a profile' : 'this is not a profile',
      hint: 'a profile begins with "site:"; compare with profiles/quickstart.yaml',
      begin,
      end,
    });
  }
  return {
    document: {
      file,
      shown,
      data: document.toJS({ maxAliasCount: 0 }) as Readonly<Record<string, unknown>>,
      yaml: document,
      locate: createLocator(file, text, document, lines),
      beside: { files: new Map(), at: null },
    },
    faults: [],
    shown,
  };
}
