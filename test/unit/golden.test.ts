import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/host/paths.js';
import { assemblePlan } from '../../src/plan/assemble.js';
import { loadProfile } from '../../src/profile/index.js';
import type { Service } from '../../src/services/contract.js';
import { loadServices } from '../../src/services/registry.js';
import { renderFile } from '../../src/templates/load.js';

const root = packageRoot();
const golden = join(root, 'test/golden');
const update = process.env['UPDATE_EXPECTED'] === '1';
const presets = readdirSync(join(root, 'profiles'))
  .filter((name) => name.endsWith('.yaml'))
  .map((name) => name.replace(/\.yaml$/, ''));

let services: readonly Service[];
beforeAll(async () => {
  services = await loadServices();
});

/** Same text as the file says, or (UPDATE_EXPECTED=1) make the file say so. */
function same(path: string, text: string): void {
  if (update) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  expect(existsSync(path) ? readFileSync(path, 'utf8') : 'no such golden file').toBe(text);
}

describe.each(presets)('%s', (preset) => {
  it('gives the plan of test/golden/plans', async () => {
    const { site } = await loadProfile(join(root, 'profiles', `${preset}.yaml`), services);
    const { plan, diagnostics } = assemblePlan(site, services);
    expect(diagnostics.filter((one) => one.severity === 'error')).toEqual([]);
    same(join(golden, 'plans', `${preset}.json`), `${JSON.stringify(plan, null, 1)}\n`);
  });

  it('gives the files of test/golden/rendered', async () => {
    const { site } = await loadProfile(join(root, 'profiles', `${preset}.yaml`), services);
    const { plan } = assemblePlan(site, services);
    const folder = join(golden, 'rendered', preset);
    if (update) rmSync(folder, { recursive: true, force: true });
    const read = (path: string): Uint8Array | null => (existsSync(path) ? readFileSync(path) : null);
    const wanted: string[] = [];
    for (const file of plan.files) {
      if (file.kind !== 'template') continue;
      const bytes = renderFile(file, { templates: join(root, 'templates'), overrides: null }, read, (id) =>
        id === 'clock-floor' ? '1790000000' : `<${id}>`,
      );
      same(join(folder, file.path), Buffer.from(bytes).toString('utf8'));
      wanted.push(file.path);
    }
    const there = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(folder.length));
    expect(there.sort()).toEqual(wanted.sort());
  });
});
