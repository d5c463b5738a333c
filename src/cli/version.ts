import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../host/paths.js';

/** The version in package.json. */
export function version(): string {
  const data = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };
  return data.version;
}
