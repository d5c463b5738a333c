import type { ProfilePath } from '../diagnostics/diagnostic.js';
import { quoted } from '../diagnostics/text.js';

/** A map from outside whose shape is not known. */
export type Table = Readonly<Record<string, unknown>>;

/** The value as a map, or undefined when it is something else. */
export function table(value: unknown): Table | undefined {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Table) : undefined;
}

/** A setting as it is spoken of: `"country"`, `entry 2 of "keys"`, `the profile`. */
export function named(path: ProfilePath): string {
  const last = path[path.length - 1];
  if (last === undefined) return 'the profile';
  if (typeof last === 'number') return `entry ${last + 1} of ${named(path.slice(0, -1))}`;
  return quoted(last);
}

/** `network: wifi:`, as it stands in a profile. */
export function spelled(path: ProfilePath): string {
  return path.map((step) => `${step}:`).join(' ');
}

function sample(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(sample).join(', ')}]`;
  return String(value);
}

/** `for example: people: 8`, from the schema's own examples. */
export function example(key: string | number | undefined, schema: Table | undefined): string | undefined {
  const values = schema?.['examples'];
  if (!Array.isArray(values) || values.length === 0 || typeof key !== 'string') return undefined;
  return `for example: ${key}: ${sample(values[0])}`;
}
