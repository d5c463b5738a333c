import type { JsonSchema, Service } from '../../services/contract.js';
import { loadServices } from '../../services/registry.js';
import type { Cli } from '../context.js';
import { wrap } from '../output/table.js';

interface Setting {
  readonly key: string;
  readonly text: string;
}

/** Lists the services of the registry. */
export async function runServices(cli: Cli): Promise<number> {
  const services = await loadServices();
  if (cli.flags.json) {
    cli.out(
      JSON.stringify(
        services.map(({ id, title, summary, always, schema }) => ({ id, title, summary, always, schema })),
        null,
        2,
      ),
    );
    return 0;
  }
  cli.out(servicesText(services, cli.theme));
  return 0;
}

/** The list as a person reads it. Pure. */
export function servicesText(
  services: readonly Pick<Service, 'id' | 'title' | 'summary' | 'always' | 'schema'>[],
  theme: { bold(text: string): string; dim(text: string): string },
): string {
  const lines: string[] = [];
  const group = (title: string, members: typeof services): void => {
    if (members.length === 0) return;
    if (lines.length > 0) lines.push('');
    lines.push(theme.bold(title));
    for (const service of members) {
      lines.push('', `  ${theme.bold(service.id)}  ${service.title}`);
      for (const line of wrap(service.summary, 92)) lines.push(`    ${line}`);
      for (const setting of settingsOf(service.schema)) {
        const [first = '', ...rest] = wrap(setting.text, 66);
        lines.push(`      ${setting.key.padEnd(22)} ${theme.dim(first)}`.trimEnd());
        for (const line of rest) lines.push(`      ${' '.repeat(22)} ${theme.dim(line)}`);
      }
    }
  };
  group(
    'Chosen in the profile, below "services:" ("prosody: true" takes all defaults)',
    services.filter((service) => !service.always),
  );
  group(
    'Part of every kit',
    services.filter((service) => service.always),
  );
  return lines.join('\n');
}

/** Settings of a schema with their descriptions; nested ones as `upload.limit`. */
export function settingsOf(schema: JsonSchema, above = ''): readonly Setting[] {
  const found: Setting[] = [];
  const variants = ['anyOf', 'oneOf', 'allOf'].flatMap((key) => asList(schema[key]));
  for (const variant of variants) found.push(...settingsOf(variant, above));
  const properties = schema['properties'];
  if (isSchema(properties)) {
    for (const [name, inner] of Object.entries(properties)) {
      if (!isSchema(inner)) continue;
      const key = above === '' ? name : `${above}.${name}`;
      const below = settingsOf(inner, key);
      if (below.length > 0) found.push(...below);
      else found.push({ key, text: describe(inner) });
    }
  }
  return found;
}

function describe(schema: JsonSchema): string {
  const parts: string[] = [];
  if (typeof schema['description'] === 'string') parts.push(schema['description']);
  if (Array.isArray(schema['enum'])) parts.push(`one of: ${schema['enum'].map(String).join(', ')}`);
  else if (parts.length === 0 && typeof schema['type'] === 'string') parts.push(schema['type']);
  const least = schema['minimum'];
  const most = schema['maximum'];
  if (typeof least === 'number' && typeof most === 'number') parts.push(`${least} to ${most}`);
  if (schema['default'] !== undefined) parts.push(`default ${JSON.stringify(schema['default'])}`);
  return parts.join('; ');
}

function isSchema(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function asList(value: unknown): readonly JsonSchema[] {
  return Array.isArray(value) ? value.filter(isSchema) : [];
}
