import type { ErrorObject } from 'ajv/dist/2020.js';
import { fault, type Diagnostic, type ProfilePath } from '../diagnostics/diagnostic.js';
import { listed } from '../diagnostics/text.js';
import { example, named, table, type Table } from './wording.js';

const EXPECTED: Readonly<Record<string, string>> = {
  string: 'text',
  integer: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  object: 'settings of its own',
  array: 'a list',
  null: 'nothing',
};

function found(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'settings of its own';
  if (typeof value === 'number') return Number.isInteger(value) ? 'a number' : 'a number with a fraction';
  return typeof value === 'boolean' ? 'true or false' : 'text';
}

/** What a person gets told to write instead of a value of the wrong kind. */
function typeHint(error: ErrorObject, path: ProfilePath, types: readonly string[]): string | undefined {
  const schema = table(error.parentSchema);
  const value: unknown = error.data;
  const key = path[path.length - 1];
  const given = example(key, schema);
  if (typeof value === 'string' && isSwitch(error)) {
    if (YES.test(value)) return 'write true';
    if (NO.test(value)) return 'write false';
  }
  if (types.includes('object')) {
    if (typeof value === 'string' && /^[\w-]+:\S/.test(value))
      return 'put a space after the colon: name: value';
    const keys = Object.keys(table(schema?.['properties']) ?? {});
    const below = `on the lines below it, further to the right: ${listed(keys)}`;
    return isSwitch(error) ? `write true, false, or ${below}` : below;
  }
  if (types.includes('string') && value !== null && typeof value === 'object') {
    return given ?? 'if the text has a colon or brackets in it, put it in quotation marks';
  }
  if (types.includes('string') && (typeof value === 'number' || typeof value === 'boolean')) {
    return hasUnit(schema) ? given : 'put it in quotation marks, so that it counts as text';
  }
  if (
    typeof value === 'string' &&
    /^[-+]?\d+$/.test(value) &&
    types.some((type) => /integer|number/.test(type))
  ) {
    return 'leave the quotation marks out';
  }
  if (types.includes('boolean') && typeof value === 'string') {
    if (YES.test(value)) return 'write true';
    if (NO.test(value)) return 'write false';
    return 'write true or false';
  }
  return (
    given ??
    (types.includes('array') ? 'write each entry on a line of its own that begins with "- "' : undefined)
  );
}

const YES = /^(yes|on|y|enabled?|true)$/i;
const NO = /^(no|off|n|none|disabled?|false)$/i;

/** Whether the setting may also be just true or false (see `switchOr` in schema.ts). */
function isSwitch(error: ErrorObject): boolean {
  return error.schemaPath.endsWith('/else/type');
}

/** Whether the schema's example is a number and its unit. */
function hasUnit(schema: Table | undefined): boolean {
  const values = schema?.['examples'];
  return Array.isArray(values) && /^\d+ [A-Za-z]+$/.test(String(values[0]));
}

/** A value of the wrong kind: ajv's `type` error in words. */
export function wrongType(error: ErrorObject, path: ProfilePath): Diagnostic {
  const schema = table(error.parentSchema);
  const type = schema?.['type'];
  const types = (Array.isArray(type) ? type : [type]).map(String);
  const value: unknown = error.data;
  const hint = typeHint(error, path, types);
  if (value === null) {
    return fault('profile/empty-setting', `${named(path)} has no value`, path, hint);
  }
  if (types.includes('string') && typeof value === 'number' && hasUnit(schema)) {
    return fault('profile/wrong-type', `the unit is missing after ${String(value)}`, path, hint);
  }
  const wanted = listed([
    ...(isSwitch(error) ? ['true', 'false'] : []),
    ...types.map((one) => EXPECTED[one] ?? one),
  ]);
  return fault(
    'profile/wrong-type',
    `${named(path)} must be ${wanted}, and this is ${found(value)}`,
    path,
    hint,
  );
}
