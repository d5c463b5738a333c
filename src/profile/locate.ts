import {
  isCollection,
  isMap,
  isPair,
  isScalar,
  isSeq,
  type Document,
  type LineCounter,
  type Node,
} from 'yaml';
import type { Place, ProfilePath } from '../diagnostics/diagnostic.js';

/** Tells where a setting stands in the file it was written in. Never fails: what is missing is told at its parent. */
export type Locator = (path: ProfilePath, at?: 'key' | 'value') => Place;

/** The first character of a file, for faults of the file as a whole. */
export function startOf(file: string): Place {
  return { file, line: 1, column: 1, length: 1 };
}

/** Place of the text between two offsets; only its first line is underlined. */
export function placeAt(file: string, text: string, lines: LineCounter, begin: number, end: number): Place {
  const { line, col } = lines.linePos(begin);
  const lineStart = begin - (col - 1);
  const lineEnd = text.indexOf('\n', begin);
  const last = Math.min(end, lineEnd < 0 ? text.length : lineEnd);
  return {
    file,
    line: Math.max(1, line),
    column: [...text.slice(lineStart, begin)].length + 1,
    length: Math.max(1, [...text.slice(begin, last).trimEnd()].length),
  };
}

interface Found {
  readonly key: Node | null;
  readonly value: Node | null;
}

function child(node: Node | null, step: string | number): Found | undefined {
  if (isMap(node)) {
    for (const pair of node.items) {
      if (isPair(pair) && isScalar(pair.key) && String(pair.key.value) === String(step)) {
        return { key: pair.key, value: (pair.value ?? null) as Node | null };
      }
    }
  }
  if (isSeq(node) && typeof step === 'number') {
    const item = node.items[step];
    if (item !== undefined) return { key: null, value: item as Node };
  }
  return undefined;
}

/** First node with text of its own inside `node`. */
function firstInside(node: Node | null): Node | null {
  if (isMap(node) && !node.flow) {
    const pair = node.items[0];
    if (pair && isScalar(pair.key)) return pair.key;
  }
  if (isSeq(node) && !node.flow) return firstInside((node.items[0] ?? null) as Node | null);
  return node;
}

/** A locator for a document that was read with `lines` counting. */
export function createLocator(file: string, text: string, document: Document, lines: LineCounter): Locator {
  return (path, at = 'value') => {
    let found: Found = { key: null, value: document.contents as Node | null };
    let complete = true;
    for (const step of path) {
      const next = child(found.value, step);
      if (next === undefined) {
        complete = false;
        break;
      }
      found = next;
    }
    const empty = found.value === null || (isScalar(found.value) && found.value.value === null);
    const wantKey = !complete || at === 'key' || empty || isCollection(found.value);
    const node = wantKey && found.key !== null ? found.key : firstInside(found.value);
    const range = node?.range;
    if (!range) return startOf(file);
    return placeAt(file, text, lines, range[0], range[1]);
  };
}
