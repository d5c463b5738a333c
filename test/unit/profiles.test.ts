import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runCheck } from '../../src/cli/commands/check.js';
import { fault, type Diagnostic } from '../../src/diagnostics/diagnostic.js';
import { assemblePlan } from '../../src/plan/assemble.js';
import type { Site } from '../../src/services/contract.js';
import { loadServices } from '../../src/services/registry.js';

// What a person sees for each profile below test/profiles. UPDATE_EXPECTED=1 writes the files anew: read them.
const CASES = new URL('../profiles/', import.meta.url).pathname;
const PRESETS = new URL('../../profiles/', import.meta.url).pathname;
const update = process.env['UPDATE_EXPECTED'] === '1';
const scratch = mkdtempSync(join(tmpdir(), 'profiles-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const services = await loadServices();
// As the command does it: faults of the plan (ports, memory, storage) count too.
const planned = ({ site }: { site: Site }): readonly Diagnostic[] => assemblePlan(site, services).diagnostics;
const plain = { json: false, strict: false, color: false };
const cases = readdirSync(CASES, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

/** What `check` says, with the folder taken off every path. */
async function said(folder: string): Promise<{ text: string; exitCode: number }> {
  const { stdout, exitCode } = await runCheck([join(folder, 'profile.yaml')], plain, services, planned);
  return { text: stdout.replaceAll(`${folder}/`, ''), exitCode };
}

describe('profiles', () => {
  it.each(cases)('%s', async (name) => {
    const folder = join(CASES, name);
    const { text, exitCode } = await said(folder);
    const file = join(folder, 'expected.txt');
    if (update) writeFileSync(file, text);
    expect(text).toBe(readFileSync(file, 'utf8'));
    expect(exitCode).toBe(name.startsWith('bad-') ? 2 : 0);
  });

  it('are many', () => {
    expect(cases.filter((name) => name.startsWith('bad-')).length).toBeGreaterThanOrEqual(45);
    expect(cases.filter((name) => name.startsWith('good-')).length).toBeGreaterThanOrEqual(8);
    expect(cases.filter((name) => !/^(good|bad|warn)-/.test(name))).toEqual([]);
  });

  it('good ones have no warnings, and --strict refuses the others', async () => {
    for (const name of cases.filter((one) => !one.startsWith('bad-'))) {
      const file = join(CASES, name, 'profile.yaml');
      const { exitCode } = await runCheck([file], { ...plain, strict: true }, services, planned);
      expect([name, exitCode]).toEqual([name, name.startsWith('good-') ? 0 : 2]);
    }
  });

  it('--json says the same as data', async () => {
    for (const name of cases) {
      const folder = join(CASES, name);
      const { stdout, exitCode } = await runCheck(
        [join(folder, 'profile.yaml')],
        { ...plain, json: true },
        services,
        planned,
      );
      const { ok, diagnostics } = JSON.parse(stdout) as {
        ok: boolean;
        diagnostics: {
          file: string;
          line: number;
          column: number;
          severity: string;
          code: string;
          message: string;
        }[];
      };
      expect(ok).toBe(exitCode === 0);
      const { text } = await said(folder);
      for (const one of diagnostics) {
        expect(text).toContain(
          `profile.yaml:${one.line}:${one.column} ${one.severity}[${one.code}] ${one.message}`,
        );
      }
    }
  });
});

describe('presets', () => {
  const presets = readdirSync(PRESETS).filter((file) => file.endsWith('.yaml'));

  it.each(presets)('%s is good, without a warning', async (file) => {
    const { stdout, exitCode } = await runCheck(
      [join(PRESETS, file)],
      { ...plain, strict: true },
      services,
      planned,
    );
    expect([exitCode, stdout]).toEqual([0, expect.stringMatching(/: good(?: \(1 note\))?: /)]);
  });

  it.each(presets)('%s explains its settings', (file) => {
    const lines = readFileSync(join(PRESETS, file), 'utf8').split('\n');
    const comments = lines.filter((line) => line.trim().startsWith('#')).length;
    const settings = lines.filter((line) => /^\s*\w+:\s+\S/.test(line)).length;
    expect(comments).toBeGreaterThanOrEqual(settings / 2);
  });
});

describe('files nobody commits', () => {
  const file = join(scratch, 'profile.yaml');
  const check = async (content: string | Uint8Array): Promise<string> => {
    writeFileSync(file, content);
    const { stdout, exitCode } = await runCheck([file], plain, services, planned);
    expect(exitCode).toBe(2);
    return stdout.replaceAll(`${scratch}/`, '');
  };

  it('10 MB', async () => {
    const text = `site:\n  name: clinic\n  title: Clinic\n${'# filling\n'.repeat(1_000_000)}`;
    expect(await check(text)).toBe(
      'profile.yaml:1:1 error[profile/too-big] this file is too big for a profile (10.0 MB; at most 1 MB is read)\n' +
        '   hint: a profile is a page of text; is this the right file?\n\n' +
        'profile.yaml: not good: 1 error\n',
    );
  });

  it('brackets without end', async () => {
    for (const text of [
      '['.repeat(50_000),
      '{a: '.repeat(50_000),
      '- '.repeat(50_000),
      `a: ${'['.repeat(30)}${']'.repeat(30)}\n`,
    ]) {
      expect(await check(text)).toMatch(/error\[profile\/(too-deep|unclosed)\]/);
    }
  });

  it('a hundred thousand settings, one of them twice', async () => {
    const many = Array.from({ length: 90_000 }, (_, index) => `k${index}: 1\n`).join('');
    expect(await check(`${many}k7: 2\n`)).toContain(
      'profile.yaml:90001:1 error[profile/duplicate-setting] "k7" is written twice',
    );
  });

  it('a device', async () => {
    const { stdout, exitCode } = await runCheck(['/dev/zero'], plain, services, planned);
    expect([exitCode, stdout]).toEqual([
      2,
      expect.stringContaining('this is a device or a pipe, not a file'),
    ]);
  });

  it('several files at once: each is told, one bad one is enough to fail', async () => {
    const good = join(CASES, 'good-smallest/profile.yaml');
    const { stdout, exitCode } = await runCheck([good, join(scratch, 'none.yaml')], plain, services, planned);
    expect(exitCode).toBe(2);
    expect(stdout).toContain(`${good}: good: `);
    expect(stdout).toContain('none.yaml:1:1 error[profile/not-found]');
  });
});

it('what is found beyond the profile (the plan) is told at its line, too', async () => {
  const file = join(CASES, 'good-smallest/profile.yaml');
  const { stdout, exitCode } = await runCheck([file], plain, services, (profile) => [
    fault('plan/memory', `too much for ${profile.site.board}`, ['board']),
  ]);
  expect(exitCode).toBe(2);
  expect(stdout).toContain(`${file}:4:8 error[plan/memory] too much for pi4`);
  expect(stdout).toContain(`${file}: not good: 1 error`);
});

describe('secrets', () => {
  it('are never shown', async () => {
    for (const name of cases) {
      const file = join(CASES, name, 'profile.yaml');
      if (!existsSync(file)) continue;
      for (const json of [false, true]) {
        const { stdout } = await runCheck([file], { json, strict: false, color: false }, services);
        for (const secret of [
          'geheim',
          'Kalembe*2024',
          '20240131',
          'four plain words here',
          'grüße',
          '12345678',
          'b3BlbnNzaC1rZXk',
        ]) {
          // The hint for an easy passphrase speaks of four words, too, but of no particular ones.
          expect([name, stdout.includes(secret)]).toEqual([name, false]);
        }
      }
    }
  });
});
