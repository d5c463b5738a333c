import { CsvError, parse } from 'csv-parse/sync';
import { isCollection, isMap, parseDocument } from 'yaml';
import {
  fault,
  located,
  type Diagnostic,
  type LocatedDiagnostic,
  type Place,
  type ProfilePath,
} from '../diagnostics/diagnostic.js';
import { ordered } from '../diagnostics/render.js';
import { suggest } from '../diagnostics/suggest.js';
import type { JsonSchema, Service } from '../services/contract.js';
import { coversSetting } from './cover.js';
import { checkProfileText, type LoadedProfile } from './index.js';
import { startOf } from './locate.js';
import type { ProfileDocument } from './read.js';
import { certificateTexts } from './sisters.js';
import { profileSchema } from './schema.js';

/** A site of a table: the template with the settings of its row. */
export interface TableSite {
  readonly name: string;
  /** The profile, comments of the template included. */
  readonly text: string;
  readonly profile: LoadedProfile;
}

export interface SitesTable {
  /** In the order of the table; empty when there is an error. */
  readonly sites: readonly TableSite[];
  readonly diagnostics: readonly LocatedDiagnostic[];
  /** Texts by file name, secrets covered, to show beside diagnostics. */
  readonly sources: ReadonlyMap<string, string>;
}

interface Cell {
  readonly text: string;
  readonly place: Place;
}

interface Column {
  readonly path: ProfilePath;
  readonly header: Cell;
}

/** A fault of the table that has a place already. */
class TableFault extends Error {
  constructor(readonly diagnostic: LocatedDiagnostic) {
    super(diagnostic.message);
  }
}

const EXAMPLE = 'the first line names settings: site.name,site.title,network.address';

/**
 * Makes the profiles of a table of sites. Its first line names settings by their path (`site.name,site.title,network.address`);
 * every other line is a site. An empty cell leaves what the template says. A fault is told at the cell it comes from, or in the
 * template. Commas, semicolons or tabs between the cells, quotes as in RFC 4180.
 * @param file name of the table, for messages.
 * @param further looks at a profile that is right in itself (the plan).
 */
export function sitesOf(
  template: ProfileDocument,
  file: string,
  text: string,
  services: readonly Service[],
  further: (profile: LoadedProfile) => readonly Diagnostic[],
): SitesTable {
  const sources = new Map([
    [file, ''],
    [template.file, template.shown],
  ]);
  try {
    const [header, ...rows] = cellsOf(file, text);
    if (header === undefined) throw tableFault(startOf(file), 'this table is empty', EXAMPLE);
    const columns = header.map((cell): Column => ({ path: cell.text.split('.'), header: cell }));
    sources.set(file, covered(text, columns, rows));
    checkColumns(columns, file, profileSchema(services));
    if (rows.length === 0) throw tableFault(startOf(file), 'this table names no site', EXAMPLE);
    const sites: TableSite[] = [];
    const told: LocatedDiagnostic[] = [];
    const names = new Map<string, number>();
    for (const row of rows) {
      const { profileText, faults } = fill(template, columns, row, services);
      const checked = checkProfileText(template.file, profileText, services, template.beside);
      const found = [
        ...faults,
        ...checked.diagnostics,
        ...(checked.profile === null ? [] : checked.profile.tell(further(checked.profile))),
      ].map((one) => ({ ...one, ...placeOf(one, columns, row, template) }));
      const { profile } = checked;
      if (profile !== null) {
        const { name } = profile.site;
        const cell = row[columns.findIndex((column) => column.path.join('.') === 'site.name')];
        const line = cell?.place.line ?? 0;
        const before = names.get(name);
        if (before !== undefined && cell !== undefined) {
          const message = `the site "${name}" stands in line ${before} already`;
          found.push(
            located(fault('sites/name-twice', message, [], 'give each site a name of its own'), cell.place),
          );
        }
        names.set(name, line);
        sites.push({ name, text: profileText, profile });
      }
      told.push(...found);
    }
    const diagnostics = ordered(told);
    const failed = diagnostics.some((one) => one.severity === 'error');
    return { sites: failed ? [] : sites, diagnostics, sources };
  } catch (error) {
    if (!(error instanceof TableFault)) throw error;
    return { sites: [], diagnostics: [error.diagnostic], sources };
  }
}

function tableFault(place: Place, message: string, hint: string, code = 'sites/table'): TableFault {
  return new TableFault(located(fault(code, message, [], hint), place));
}

/** The cells with their places. */
function cellsOf(file: string, text: string): readonly (readonly Cell[])[] {
  const first = text.slice(0, Math.max(0, text.indexOf('\n'))) || text;
  // Office programs take the semicolon where the comma is a decimal point.
  const delimiter = [',', ';', '\t'].find((one) => first.includes(one)) ?? ',';
  let records: {
    readonly record: readonly string[];
    readonly raw: string;
    readonly info: { lines: number };
  }[];
  try {
    records = parse(text, {
      bom: true,
      delimiter,
      info: true,
      raw: true,
      trim: true,
      skip_empty_lines: true,
    }) as never;
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const line = Number((error as { lines?: unknown }).lines ?? 1);
    throw tableFault(
      { ...startOf(file), line },
      error.code === 'CSV_RECORD_INCONSISTENT_FIELDS_LENGTH'
        ? 'this line has another number of cells than the first one'
        : `this line cannot be read: ${error.message}`,
      'a cell that holds a comma or a line break stands in double quotes; a quote inside is doubled',
    );
  }
  return records.map(({ record, raw, info }) => {
    const body = raw.replace(/^\uFEFF/, '').replace(/\r?\n$/, '');
    // The number is that of the record's last line.
    const lastLine = info.lines;
    let line = lastLine - (body.match(/\n/g)?.length ?? 0);
    let column = 1;
    let quoted = false;
    const places: Place[] = [];
    let start = { line, column };
    const finish = (): void => {
      const length = Math.max(1, line === start.line ? column - start.column : 1);
      places.push({ file, ...start, length });
    };
    for (const character of body) {
      if (character === '"') quoted = !quoted;
      if (character === delimiter && !quoted) {
        finish();
        column += 1;
        start = { line, column };
      } else if (character === '\n') {
        line += 1;
        column = 1;
      } else column += 1;
    }
    finish();
    return record.map((value, index) => ({ text: value, place: places[index] ?? startOf(file) }));
  });
}

function checkColumns(columns: readonly Column[], file: string, schema: JsonSchema): void {
  const seen = new Set<string>();
  for (const { path, header } of columns) {
    const name = path.join('.');
    if (name === '') throw tableFault(header.place, 'this column has no name', EXAMPLE);
    if (seen.has(name))
      throw tableFault(header.place, `the column "${name}" stands here twice`, 'take one of them out');
    seen.add(name);
    if (settingSchema(schema, path) === undefined) {
      const meant = nearSetting(schema, path);
      const hint = meant === undefined ? EXAMPLE : `did you mean "${meant}"?`;
      throw tableFault(header.place, `there is no setting "${name}"`, hint, 'sites/unknown-setting');
    }
  }
  if (!seen.has('site.name')) {
    throw tableFault(startOf(file), 'this table has no column "site.name"', EXAMPLE);
  }
}

type Properties = Readonly<Record<string, JsonSchema>>;

/** The settings below a setting. */
function propertiesOf(schema: JsonSchema): Properties {
  const inner = (schema['else'] as JsonSchema | undefined) ?? schema;
  return (inner['properties'] as Properties | undefined) ?? {};
}

/** The schema of a setting; undefined when a profile has no such setting. */
function settingSchema(schema: JsonSchema, path: ProfilePath): JsonSchema | undefined {
  let here: JsonSchema | undefined = schema;
  for (const step of path) {
    here = propertiesOf(here)[step];
    if (here === undefined) return undefined;
  }
  return here;
}

/** The setting a person most likely meant by a name that is none: one step of it is written wrong. */
function nearSetting(schema: JsonSchema, path: ProfilePath): string | undefined {
  const wrong = path.findIndex(
    (_step, index) => settingSchema(schema, path.slice(0, index + 1)) === undefined,
  );
  const above = settingSchema(schema, path.slice(0, wrong));
  const known = above === undefined ? [] : Object.keys(propertiesOf(above));
  const meant = suggest(String(path[wrong]), known);
  if (meant === undefined) return undefined;
  const whole = [...path.slice(0, wrong), meant, ...path.slice(wrong + 1)];
  return settingSchema(schema, whole) === undefined ? undefined : whole.join('.');
}

/** The template with the settings of a row. */
function fill(
  template: ProfileDocument,
  columns: readonly Column[],
  row: readonly Cell[],
  services: readonly Service[],
): { readonly profileText: string; readonly faults: readonly LocatedDiagnostic[] } {
  const document = template.yaml.clone();
  const schema = profileSchema(services);
  const faults: LocatedDiagnostic[] = [];
  // The profile of a site lies in another folder than the template, so certificates are written into it.
  for (const [index, ca] of certificateTexts(template).entries()) {
    if (ca !== null) document.setIn(['federation', index, 'ca'], ca);
  }
  columns.forEach(({ path }, index) => {
    const cell = row[index];
    if (cell === undefined || cell.text === '') return;
    const above = path.slice(0, -1);
    const blocked = above.findIndex((_step, depth) => {
      const node: unknown = document.getIn(path.slice(0, depth + 1), true);
      return node !== undefined && !isMap(node);
    });
    if (blocked >= 0) {
      const setting = path.slice(0, blocked + 1).join('.');
      const message = `"${setting}" has no settings of its own in the template, so "${path.join('.')}" cannot be set`;
      faults.push(
        located(fault('sites/no-map', message, path, `write "${setting}" there as a map`), cell.place),
      );
      return;
    }
    document.setIn(path, valueOf(cell.text, settingSchema(schema, path)));
  });
  return { profileText: document.toString({ lineWidth: 0, flowCollectionPadding: false }), faults };
}

/** A cell's value: text where the setting is a text, else what YAML makes of it (`25`, `true`, `[fr, en]`). */
function valueOf(text: string, schema: JsonSchema | undefined): unknown {
  if (schema?.['type'] === 'string') return text;
  const parsed = parseDocument(text);
  if (parsed.errors.length > 0) return text;
  // A list stays written as it is in the cell; a single value takes the place of the one that is there, comment and all.
  return isCollection(parsed.contents) ? parsed.contents : (parsed.toJS() as unknown);
}

/** Where a fault of a site stands: in the cell of the setting it is about, else in the template. */
function placeOf(
  one: LocatedDiagnostic,
  columns: readonly Column[],
  row: readonly Cell[],
  template: ProfileDocument,
): Place {
  const within = (inner: ProfilePath, outer: ProfilePath): boolean =>
    outer.every((step, index) => String(inner[index]) === String(step));
  const filled = columns
    .map((column, index) => ({ path: column.path, cell: row[index] }))
    .filter(({ cell }) => cell !== undefined && cell.text !== '');
  const best =
    filled.find(({ path }) => within(one.path, path)) ??
    (one.path.length === 0 ? undefined : filled.find(({ path }) => within(path, one.path)));
  return best?.cell?.place ?? template.locate(one.path, one.at ?? 'value');
}

/** The table as it may be shown: cells of secret settings covered. */
function covered(text: string, columns: readonly Column[], rows: readonly (readonly Cell[])[]): string {
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  for (const [index, { path }] of columns.entries()) {
    if (!path.some((step) => coversSetting(String(step)))) continue;
    for (const row of rows) {
      const { line, column, length } = row[index]?.place ?? startOf('');
      const characters = [...(lines[line - 1] ?? '')];
      characters.fill('•', column - 1, column - 1 + length);
      lines[line - 1] = characters.join('');
    }
  }
  return lines.join('\n');
}
