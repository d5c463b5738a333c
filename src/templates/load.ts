import { WorkError } from '../diagnostics/errors.js';
import type { FileWish, TemplateData } from '../services/contract.js';
import { renderTemplate, TemplateError, type SecretOf, type TemplateValues } from './engine.js';

/** Bytes of a file, or null when there is none. */
export type ReadFile = (path: string) => Uint8Array | null;

/** Where templates are looked for. Paths of the host, without a slash at the end. */
export interface TemplateFolders {
  /** The tool's own `templates/`. */
  readonly templates: string;
  /** `overrides/` beside the profile; wins. */
  readonly overrides: string | null;
}

/** A file of the plan that comes from `templates/`. */
export type TemplateFile = Pick<FileWish, 'path' | 'kind' | 'template' | 'data'> & { readonly service: string };

/**
 * Path below `templates/`: `<service><path on the device>`, with `.hbs` for kind `template`.
 * `template` in the wish names another path on the device, of the same service.
 */
export function templatePath(file: TemplateFile): string {
  return `${file.service}${file.template ?? file.path}${file.kind === 'template' ? '.hbs' : ''}`;
}

/** Finds a file below `overrides/` or `templates/`. `name` is for messages. */
export function findTemplate(
  path: string,
  folders: TemplateFolders,
  read: ReadFile,
): { readonly bytes: Uint8Array; readonly name: string } | null {
  for (const [folder, label] of [
    [folders.overrides, 'overrides'],
    [folders.templates, 'templates'],
  ] as const) {
    const bytes = folder === null ? null : read(`${folder}/${path}`);
    if (bytes !== null) return { bytes, name: `${label}/${path}` };
  }
  return null;
}

function textOf(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new TemplateError(name, 0, 'this file is not UTF-8 text');
  }
}

/** The template's text. */
export function templateSource(
  file: TemplateFile,
  folders: TemplateFolders,
  read: ReadFile,
): { readonly source: string; readonly name: string } {
  const path = templatePath(file);
  const found = findTemplate(path, folders, read);
  if (found === null)
    throw new WorkError(`the template for ${file.path} is missing: templates/${path}`, {
      hint: 'this is a fault in commeshctl; please report it',
    });
  return { source: textOf(found.bytes, found.name), name: found.name };
}

type Catalogue = { readonly [key: string]: TemplateData };
const FALLBACK_LANGUAGE = 'en';

/** `pt-BR` → `pt-BR`, `pt`, `en`. */
function languageChain(tag: string): readonly string[] {
  const parts = tag.split('-');
  const chain = parts.map((_part, index) => parts.slice(0, parts.length - index).join('-'));
  return [...new Set([...chain, FALLBACK_LANGUAGE])];
}

function merge(base: TemplateData | undefined, over: TemplateData): TemplateData {
  if (!isObject(base) || !isObject(over)) return over;
  return {
    ...base,
    ...Object.fromEntries(Object.entries(over).map(([key, value]) => [key, merge(base[key], value)])),
  };
}

function isObject(value: unknown): value is Catalogue {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/**
 * The texts of one language: `templates/<service>/i18n/<tag>.json`, completed from the language without its
 * region and from English.
 */
export function catalogue(
  service: string,
  tag: string,
  folders: TemplateFolders,
  read: ReadFile,
): { readonly [key: string]: TemplateData } {
  let texts: TemplateData = {};
  for (const language of [...languageChain(tag)].reverse()) {
    const found = findTemplate(`${service}/i18n/${language}.json`, folders, read);
    if (found === null) continue;
    let parsed: unknown;
    try {
      parsed = JSON.parse(textOf(found.bytes, found.name));
    } catch (error) {
      if (error instanceof TemplateError) throw error;
      throw new TemplateError(found.name, 0, `not valid JSON: ${(error as Error).message}`);
    }
    if (!isObject(parsed)) throw new TemplateError(found.name, 0, 'a catalogue is a JSON object');
    texts = merge(texts, parsed);
  }
  return texts as Catalogue;
}

function withCatalogues(data: TemplateData, texts: (tag: string) => Catalogue): TemplateData {
  if (Array.isArray(data)) return (data as readonly TemplateData[]).map((inner) => withCatalogues(inner, texts));
  if (!isObject(data)) return data;
  const keys = Object.keys(data);
  if (keys.length === 1 && typeof data['catalogue'] === 'string') return texts(data['catalogue']);
  return Object.fromEntries(keys.map((key) => [key, withCatalogues(data[key] as TemplateData, texts)]));
}

/**
 * Content of a file of kind `template` or `copy`. `{ catalogue: '<language tag>' }` in the data becomes the
 * service's texts in that language.
 * @throws TemplateError, WorkError.
 */
export function renderFile(
  file: TemplateFile,
  folders: TemplateFolders,
  read: ReadFile,
  secrets: SecretOf,
): Uint8Array {
  if (file.kind === 'copy') {
    const found = findTemplate(templatePath(file), folders, read);
    if (found === null)
      throw new WorkError(`the file ${file.path} is missing: templates/${templatePath(file)}`, {
        hint: 'this is a fault in commeshctl; please report it',
      });
    return found.bytes;
  }
  const { source, name } = templateSource(file, folders, read);
  const data = withCatalogues(file.data ?? {}, (tag) => catalogue(file.service, tag, folders, read));
  return new TextEncoder().encode(renderTemplate(source, name, data as TemplateValues, secrets));
}
