import type { ErrorObject } from 'ajv/dist/2020.js';
import { fault, type Diagnostic, type ProfilePath } from '../diagnostics/diagnostic.js';
import { suggest } from '../diagnostics/suggest.js';
import { counted, listed, quoted } from '../diagnostics/text.js';
import type { JsonSchema } from '../services/contract.js';
import { example, named, spelled, table, type Table } from './wording.js';
import { wrongType } from './wrong-type.js';

/** What the messages need to know beside the errors themselves. */
export interface Context {
  readonly schema: JsonSchema;
  readonly data: unknown;
  /** Services that are part of every kit and have no key of their own. */
  readonly always: readonly string[];
}

/** Steps of a JSON pointer (RFC 6901); numbers where `data` holds a list. */
function stepsOf(pointer: string, data: unknown): (string | number)[] {
  const steps: (string | number)[] = [];
  let here = data;
  for (const raw of pointer.split('/').slice(1)) {
    const step = raw.replace(/~1/g, '/').replace(/~0/g, '~');
    if (Array.isArray(here)) {
      steps.push(Number(step));
      here = here[Number(step)] as unknown;
    } else {
      steps.push(step);
      here = table(here)?.[step];
    }
  }
  return steps;
}

/** Paths of every setting with this name, e.g. ssid → network.wifi.ssid. */
function elsewhere(key: string, schema: unknown, path: readonly string[] = []): string[][] {
  const here = table(schema);
  if (!here) return [];
  const properties = table(here['properties']) ?? {};
  return [
    ...(Object.hasOwn(properties, key) ? [[...path, key]] : []),
    ...Object.entries(properties).flatMap(([name, inner]) => elsewhere(key, inner, [...path, name])),
    ...elsewhere(key, here['else'], path),
  ];
}

function unknownSetting(error: ErrorObject, parent: ProfilePath, context: Context): Diagnostic {
  const key = String(error.params['additionalProperty']);
  const known = Object.keys(table(table(error.parentSchema)?.['properties']) ?? {});
  const path = [...parent, key];
  const tell = (message: string, hint: string): Diagnostic => ({
    ...fault('profile/unknown-setting', message, path, hint),
    at: 'key',
  });
  const isService = parent.length === 1 && parent[0] === 'services';
  if (isService && context.always.includes(key)) {
    return tell(`${quoted(key)} is part of every kit`, 'delete the line: it cannot be switched on or off');
  }
  const what = isService ? 'service' : 'setting';
  if (key === '<<') {
    return tell('"<<" (merging) is not used in profiles', 'write the settings out');
  }
  const near = suggest(key, known);
  if (near !== undefined) return tell(`unknown ${what} ${quoted(key)}`, `did you mean "${near}"?`);
  const other = elsewhere(key, context.schema)[0];
  if (other !== undefined) {
    const place = other.slice(0, -1);
    const where = place.length === 0 ? 'at the left edge' : `below "${spelled(place)}"`;
    return tell(`${quoted(key)} does not belong here`, `it stands ${where}`);
  }
  const hint = known.length === 0 ? 'delete it' : `what can stand here: ${known.join(', ')}`;
  return tell(`unknown ${what} ${quoted(key)}`, hint);
}

function missing(error: ErrorObject, parent: ProfilePath): Diagnostic {
  const key = String(error.params['missingProperty'] ?? '');
  const schema = table(table(table(error.parentSchema)?.['properties'])?.[key]);
  const where = parent.length === 0 ? '' : ` below "${spelled(parent)}"`;
  const about = typeof schema?.['description'] === 'string' ? ` (${schema['description']})` : '';
  const required = schema?.['required'];
  const inner = Array.isArray(required) ? required.map(String) : [];
  const hint =
    example(key, schema) ??
    (inner.length > 0 ? `add "${key}:" with ${listed(inner, 'and')} below it` : `add "${key}:"`);
  return fault('profile/missing-setting', `"${key}" is missing${where}${about}`, [...parent, key], hint);
}

/** The bounds of a number in words. */
function bounds(schema: Table | undefined): string {
  const low = schema?.['minimum'];
  const high = schema?.['maximum'];
  if (typeof low === 'number' && typeof high === 'number') return `between ${low} and ${high}`;
  if (typeof low === 'number') return `at least ${low}`;
  if (typeof high === 'number') return `at most ${high}`;
  const above = schema?.['exclusiveMinimum'];
  const below = schema?.['exclusiveMaximum'];
  return [
    ...(typeof above === 'number' ? [`more than ${above}`] : []),
    ...(typeof below === 'number' ? [`less than ${below}`] : []),
  ].join(' and ');
}

function explain(error: ErrorObject, context: Context): Diagnostic {
  const path = stepsOf(error.instancePath, context.data);
  const key = path[path.length - 1];
  const schema = table(error.parentSchema);
  const description = typeof schema?.['description'] === 'string' ? schema['description'] : undefined;
  const limit = Number(error.params['limit']);
  const hint = example(key, schema);
  switch (error.keyword) {
    case 'type':
      return wrongType(error, path);
    case 'additionalProperties':
    case 'unevaluatedProperties':
      return unknownSetting(error, path, context);
    case 'required':
    case 'dependentRequired':
      return missing(error, path);
    case 'enum': {
      const choices = (error.params['allowedValues'] as unknown[]).map(String);
      const near = typeof error.data === 'string' ? suggest(error.data, choices) : undefined;
      const message = `${quoted(error.data)} is not a choice for ${named(path)}`;
      return fault(
        'profile/not-a-choice',
        message,
        path,
        near === undefined
          ? `write ${listed(choices)}${description === undefined ? '' : ` (${description})`}`
          : `did you mean "${near}"? The choices are ${listed(choices)}`,
      );
    }
    case 'const':
      return fault(
        'profile/not-a-choice',
        `${named(path)} can only be ${quoted(error.params['allowedValue'])}`,
        path,
        hint,
      );
    case 'minimum':
    case 'maximum':
    case 'exclusiveMinimum':
    case 'exclusiveMaximum':
      return fault(
        'profile/out-of-range',
        `${named(path)} must be ${bounds(schema)}, and this is ${String(error.data)}`,
        path,
        hint,
      );
    case 'multipleOf':
      return fault(
        'profile/out-of-range',
        `${named(path)} must be a multiple of ${String(error.params['multipleOf'])}`,
        path,
        hint,
      );
    case 'minLength':
      return fault(
        'profile/too-short',
        limit === 1
          ? `${named(path)} is empty`
          : `${named(path)} needs at least ${counted(limit, 'character')}`,
        path,
        hint,
      );
    case 'maxLength':
      return fault(
        'profile/too-long',
        `${named(path)} is too long: at most ${counted(limit, 'character')}`,
        path,
        hint,
      );
    case 'minItems':
      return fault(
        'profile/too-few',
        `${named(path)} needs at least ${counted(limit, 'entry', 'entries')}`,
        path,
        hint,
      );
    case 'maxItems':
      return fault('profile/too-many', `${named(path)} has too many entries: at most ${limit}`, path);
    case 'uniqueItems': {
      const second = Math.max(Number(error.params['i']), Number(error.params['j']));
      return fault(
        'profile/twice',
        `${named(path)} names the same twice`,
        [...path, second],
        'delete one of the two',
      );
    }
    case 'minProperties':
      return fault(
        'profile/too-few',
        `${named(path)} needs at least ${counted(limit, 'setting')} below it`,
        path,
      );
    case 'maxProperties':
      return fault(
        'profile/too-many',
        `${named(path)} may have at most ${counted(limit, 'setting')} below it`,
        path,
      );
    case 'propertyNames':
      return {
        ...fault(
          'profile/unknown-setting',
          `${quoted(error.params['propertyName'])} cannot be a name here`,
          [...path, String(error.params['propertyName'])],
          description,
        ),
        at: 'key',
      };
    default:
      // pattern, format, anyOf, oneOf, not: the schema's own description says it better than the keyword.
      return fault(
        'profile/wrong-form',
        typeof error.data === 'string'
          ? `${quoted(error.data)} cannot be understood as ${named(path)}`
          : `${named(path)} is not written as it must be`,
        path,
        description ?? hint,
      );
  }
}

const isAlternative = (keyword: string): boolean =>
  keyword === 'anyOf' || keyword === 'oneOf' || keyword === 'propertyNames';

/** Errors that say something of their own: not those that only repeat, at another level, what a neighbour says better. */
function telling(all: readonly ErrorObject[]): readonly ErrorObject[] {
  const alternatives = all.filter((error) => isAlternative(error.keyword));
  const own = all.filter(
    (error) =>
      error.keyword !== 'if' &&
      !alternatives.some((other) => error.schemaPath.startsWith(`${other.schemaPath}/`)),
  );
  // Of a value of the wrong kind, its length or form is of no interest.
  const wrongKind = new Set(
    own.filter((error) => error.keyword === 'type').map((error) => error.instancePath),
  );
  return own.filter((error) => error.keyword === 'type' || !wrongKind.has(error.instancePath));
}

/** Says each of ajv's errors (made with `allErrors` and `verbose`) in words, at the setting it belongs to. */
export function explainErrors(errors: readonly ErrorObject[], context: Context): Diagnostic[] {
  const told = new Set<string>();
  const out: Diagnostic[] = [];
  const misspelt = new Set(
    errors.flatMap((error) => {
      const known = Object.keys(table(table(error.parentSchema)?.['properties']) ?? {});
      const near =
        error.keyword === 'additionalProperties'
          ? suggest(String(error.params['additionalProperty']), known)
          : undefined;
      return near === undefined ? [] : [`${error.instancePath}/${near}`];
    }),
  );
  for (const error of telling(errors)) {
    // It is there, only under a wrong name.
    const missed = `${error.instancePath}/${String(error.params['missingProperty'])}`;
    if (error.keyword === 'required' && misspelt.has(missed)) continue;
    const diagnostic = explain(error, context);
    const id = JSON.stringify([diagnostic.path, diagnostic.code]);
    if (told.has(id)) continue;
    told.add(id);
    out.push(diagnostic);
  }
  return out;
}
