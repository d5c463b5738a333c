import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const src = join(root, 'src');

interface Import {
  /** Path of the importing file below src. */
  readonly file: string;
  /** Path below src without its ending, or the name of a package. */
  readonly target: string;
  readonly inside: boolean;
  /** Erased by the compiler: brings no effect. */
  readonly typeOnly: boolean;
}

/** Every import, export-from, dynamic import and import type of a source text. */
export function importsOf(file: string, text: string): readonly Import[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2023, true);
  const found: Import[] = [];
  const add = (specifier: string, typeOnly: boolean): void => {
    const inside = specifier.startsWith('.');
    const target = inside
      ? relative(src, resolve(src, dirname(file), specifier)).replace(/\.(js|jsx|ts|tsx|json)$/, '')
      : specifier;
    found.push({ file, target, inside, typeOnly });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) {
      const clause = node.importClause;
      const named = clause?.namedBindings;
      const everyNamed =
        clause !== undefined &&
        clause.name === undefined &&
        named !== undefined &&
        ts.isNamedImports(named) &&
        named.elements.length > 0 &&
        named.elements.every((element) => element.isTypeOnly);
      add(node.moduleSpecifier.text, clause?.isTypeOnly === true || everyNamed);
    } else if (
      ts.isExportDeclaration(node) &&
      node.moduleSpecifier &&
      ts.isStringLiteral(node.moduleSpecifier)
    ) {
      add(node.moduleSpecifier.text, node.isTypeOnly);
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      const literal = node.argument.literal;
      if (ts.isStringLiteral(literal)) add(literal.text, true);
    } else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) {
      const [argument] = node.arguments;
      if (argument && ts.isStringLiteral(argument)) add(argument.text, false);
      // Only the registry of a folder may import what it finds there.
      else if (!/(^|\/)registry\.ts$/.test(file)) add(COMPUTED, false);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function sources(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(tsx?|js)$/.test(name) && !/\.test\.tsx?$/.test(name))
    .sort();
}

const PURE = ['diagnostics', 'services', 'profile', 'plan', 'templates'];
const EFFECTFUL = ['mirror', 'pki', 'stages', 'twins', 'image', 'verify'];
/** What only src/host may import. */
const HOST_ONLY = ['execa', 'ssh2', 'tar', 'node:child_process', 'child_process', 'node:worker_threads'];
/** Built-in modules without effects. */
const HARMLESS = ['node:path', 'node:url', 'node:util', 'node:buffer'];
/** The reader of certificates: Node's own parser of X.509, no keys, no random numbers. */
const READS_CERTIFICATES = 'profile/certificate.ts';
/** The one reader of profiles, the registry that looks into its own folder, and templates read from a folder they are given. */
const READS_FILES = ['profile/read.ts', 'services/registry.ts'];

const COMPUTED = '<a computed name>';

const part = (path: string): string => path.split('/')[0] ?? '';
const isTypes = (target: string): boolean => /(^|\/)types$/.test(target);

/** Why an import breaks the table of the design, or null. */
export function verdict({ file, target, inside, typeOnly }: Import): string | null {
  const from = part(file);
  if (target === COMPUTED) return 'only a registry imports what it finds';
  if (!inside) {
    if (HOST_ONLY.includes(target)) return from === 'host' ? null : 'only src/host imports it';
    if (!PURE.includes(from) || typeOnly) return null;
    if (!target.startsWith('node:') || HARMLESS.includes(target)) return null;
    if (file === READS_CERTIFICATES && target === 'node:crypto') return null;
    return READS_FILES.includes(file) ? null : 'has no effects, no clock, no random numbers';
  }
  const to = part(target);
  if (target.startsWith('..')) return 'lies outside src';
  if (to === 'cli') return from === 'cli' ? null : 'nobody imports cli';
  if (from === 'cli' || from === to) return serviceVerdict(file, target);
  if (from === 'diagnostics') return 'diagnostics imports nothing';
  if (to === 'diagnostics' || target === 'services/contract') return null;
  if (from === 'services') return 'services import only services/contract and diagnostics';
  if (isTypes(target)) return null;
  if (from === 'host') return 'host knows nothing of the product';
  if (PURE.includes(from)) return PURE.includes(to) && typeOnly ? null : 'may import only types from there';
  if (EFFECTFUL.includes(from)) {
    if (to === 'host') return null;
    // The engine that renders, and nothing else of the pure parts.
    if (to === 'templates') return null;
    return typeOnly ? null : `imports only host, diagnostics, templates and types`;
  }
  return `no rule for src/${from}`;
}

function serviceVerdict(file: string, target: string): string | null {
  if (part(file) !== 'services') return null;
  const own = file.split('/');
  const other = target.split('/');
  if (own.length < 3 || other.length < 3 || own[1] === other[1]) return null;
  return 'a service never imports another service';
}

const all = sources(src).flatMap((file) => importsOf(file, readFileSync(join(src, file), 'utf8')));

describe('the import law (design, section 2)', () => {
  it('finds the imports', () => {
    expect(all.length).toBeGreaterThan(100);
    expect(new Set(all.map((one) => part(one.file)))).toEqual(
      new Set(['cli', 'diagnostics', 'host', ...PURE.slice(1), ...EFFECTFUL]),
    );
  });

  it('holds for every import below src', () => {
    const broken = all.flatMap((one) => {
      const why = verdict(one);
      return why === null
        ? []
        : [`src/${one.file} imports ${one.inside ? `src/${one.target}` : one.target}: ${why}`];
    });
    expect(broken).toEqual([]);
  });

  it('keeps clock, random numbers and the environment out of the pure parts', () => {
    const forbidden =
      /\b(Date\.now|new Date\(\)|Math\.random|randomBytes|randomUUID|performance\.now|process\.(env|cwd|argv))\b/;
    const broken = sources(src)
      .filter((file) => PURE.includes(part(file)))
      .filter((file) => forbidden.test(readFileSync(join(src, file), 'utf8')));
    expect(broken).toEqual([]);
  });

  it.each([
    ['plan/x.ts', "import { spawn } from 'node:child_process';", 'only src/host imports it'],
    ['mirror/x.ts', "import { execa } from 'execa';", 'only src/host imports it'],
    [
      'profile/x.ts',
      "import { readFile } from 'node:fs/promises';",
      'has no effects, no clock, no random numbers',
    ],
    ['verify/x.ts', "import { out } from '../cli/main.js';", 'nobody imports cli'],
    [
      'services/a/service.ts',
      "import { b } from '../b/service.js';",
      'a service never imports another service',
    ],
    [
      'services/a/service.ts',
      "export { p } from '../../plan/types.js';",
      'services import only services/contract and diagnostics',
    ],
    ['plan/x.ts', "const a = await import('../mirror/fetch.js');", 'may import only types from there'],
    [
      'diagnostics/x.ts',
      "import type { Site } from '../services/contract.js';",
      'diagnostics imports nothing',
    ],
    [
      'stages/x.ts',
      "import { assemblePlan } from '../plan/assemble.js';",
      'imports only host, diagnostics, templates and types',
    ],
    ['stages/x.ts', 'const a = await import(name);', 'only a registry imports what it finds'],
    ['plan/x.ts', "import type { Locator } from '../profile/locate.js';", null],
    ['image/x.ts', "import { writeAtomic } from '../host/files.js';", null],
    ['verify/x.ts', "import { CA_FILE } from '../services/contract.js';", null],
  ])('judges %s: %s', (file, text, expected) => {
    const [first] = importsOf(file, text);
    expect(first).toBeDefined();
    expect(first ? verdict(first) : '').toBe(expected);
  });
});
