import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { readKeys } from 'openpgp';
import { beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/host/paths.js';
import { assemblePlan } from '../../src/plan/assemble.js';
import type { Plan } from '../../src/plan/types.js';
import { loadProfile } from '../../src/profile/index.js';
import type { Service } from '../../src/services/contract.js';
import { loadServices } from '../../src/services/registry.js';
import { namesUsed, secretsIn } from '../../src/templates/engine.js';
import { templatePath, templateSource } from '../../src/templates/load.js';

const root = packageRoot();
const presets = readdirSync(join(root, 'profiles')).filter((name) => name.endsWith('.yaml'));
const folders = { templates: join(root, 'templates'), overrides: null };
const read = (path: string): Uint8Array | null => (existsSync(path) ? readFileSync(path) : null);

/** Secrets every site has, and public facts only the site layer knows. */
const GIVEN = ['ca-fingerprint', 'ca-pem', 'ca-mobileconfig', 'clock-floor'];

let services: readonly Service[];
const plans = new Map<string, Plan>();

beforeAll(async () => {
  services = await loadServices();
  for (const preset of presets) {
    const { site } = await loadProfile(join(root, 'profiles', preset), services);
    const { plan, diagnostics } = assemblePlan(site, services);
    expect(diagnostics.filter((one) => one.severity === 'error')).toEqual([]);
    plans.set(preset, plan);
  }
});

describe('every service', () => {
  it('has a README that says what it is for', () => {
    for (const service of services) {
      const readme = readFileSync(join(root, 'src/services', service.id, 'README.md'), 'utf8');
      expect(readme.length, service.id).toBeGreaterThan(200);
    }
  });

  it('accepts its own default settings', async () => {
    const ajv = new Ajv2020({ strict: true, allErrors: true, allowUnionTypes: true });
    for (const preset of presets) {
      const { site } = await loadProfile(join(root, 'profiles', preset), services);
      for (const service of services) {
        if (service.always || !(service.id in site.services)) continue;
        const check = ajv.compile(service.schema);
        check({});
        expect(check.errors ?? [], `${service.id} in ${preset}`).toEqual([]);
      }
    }
  });

  it('declares the same twice, as plain data', async () => {
    for (const preset of presets) {
      const { site } = await loadProfile(join(root, 'profiles', preset), services);
      const again = assemblePlan(site, services).plan;
      expect(JSON.stringify(again)).toBe(JSON.stringify(plans.get(preset)));
      expect(structuredClone(again)).toEqual(again);
    }
  });

  it('declares what is backed up, or why nothing is', () => {
    const spoken = new Set(
      [...plans.values()].flatMap((plan) => [
        ...plan.backups.map((one) => one.service),
        ...plan.noBackup.map((one) => one.service),
      ]),
    );
    expect(services.map((service) => service.id).filter((id) => !spoken.has(id))).toEqual([]);
  });

  it('declares every secret its files use', () => {
    for (const [preset, plan] of plans) {
      const declared = new Set([
        ...plan.secrets.flatMap((wish) => [
          wish.id,
          ...(wish.kind === 'ssh-ed25519' ? [`${wish.id}.pub`] : []),
        ]),
        ...GIVEN,
      ]);
      for (const file of plan.files) {
        for (const id of secretsIn(file.data ?? {}))
          expect(declared, `${preset}: ${file.path}`).toContain(id);
      }
    }
  });

  it('takes packages only from archives it declares, whose key is in keys/', async () => {
    for (const [preset, plan] of plans) {
      const declared = new Map(plan.archives.map((one) => [one.archive, one]));
      for (const { name, archive } of plan.sets.flatMap((set) => set.packages))
        if (archive !== undefined) expect([...declared.keys()], `${preset}: ${name}`).toContain(archive);
    }
    for (const one of [...plans.values()].flatMap((plan) => plan.archives)) {
      expect(one.archive).toMatch(/^(?!debian|raspberrypi)[a-z0-9][a-z0-9.-]*$/);
      expect(one.uri).toMatch(/^https?:\/\/\S*[^/\s]$/);
      expect(one.components.length > 0, `components of ${one.archive}`).toBe(!one.suite.endsWith('/'));
      const file = join(root, 'keys', `${one.archive}.asc`);
      const keys = await readKeys({ armoredKeys: readFileSync(file, 'utf8') });
      const known = keys.map((key) => key.getFingerprint().toUpperCase());
      expect(known, file).toEqual(expect.arrayContaining([...one.fingerprints]));
      expect(one.fingerprints.length).toBeGreaterThan(0);
    }
  });

  it('keeps files with secrets from other users', () => {
    for (const plan of plans.values()) {
      for (const file of plan.files) {
        const own = secretsIn(file.data ?? {}).filter((id) => !GIVEN.includes(id) && !id.endsWith('.pub'));
        if (own.length > 0)
          expect([file.path, file.mode.slice(-1), file.sensitive]).toEqual([file.path, '0', true]);
      }
    }
  });
});

describe('templates', () => {
  it('all have a file that uses them, and every file has its template', () => {
    const used = new Set<string>();
    for (const plan of plans.values()) {
      for (const file of plan.files) {
        if (file.kind !== 'template' && file.kind !== 'copy') continue;
        expect(existsSync(join(folders.templates, templatePath(file))), templatePath(file)).toBe(true);
        used.add(templatePath(file));
      }
    }
    const ids = new Set(services.map((service) => service.id));
    const there = readdirSync(folders.templates, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(folders.templates.length + 1))
      .filter((path) => ids.has(path.split('/')[0] ?? '') && !path.includes('/i18n/'));
    expect(there.filter((path) => !used.has(path))).toEqual([]);
  });

  it('use every name they are given', () => {
    for (const plan of plans.values()) {
      for (const file of plan.files) {
        if (file.kind !== 'template') continue;
        const { source, name } = templateSource(file, folders, read);
        expect([...namesUsed(source, name)].sort(), name).toEqual(Object.keys(file.data ?? {}).sort());
      }
    }
  });
});
