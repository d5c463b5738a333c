import { readdir } from 'node:fs/promises';
import type { Check } from './check.js';

/**
 * Every check below `checks/`, sorted by kind. A new file there is a new check.
 * @throws Error when a file does not export `check` under its own name: a fault of the program.
 */
export async function loadChecks(): Promise<ReadonlyMap<string, Check>> {
  const folder = new URL('./checks/', import.meta.url);
  const names = (await readdir(folder)).filter((name) => /^[a-z-]+\.(ts|js)$/.test(name)).sort();
  const checks = new Map<string, Check>();
  for (const name of names) {
    const module = (await import(new URL(name, folder).href)) as { check?: Check };
    const kind = name.replace(/\.(ts|js)$/, '');
    if (module.check?.kind !== kind)
      throw new Error(`src/verify/checks/${name} does not export the check "${kind}"`);
    checks.set(kind, module.check);
  }
  return checks;
}
