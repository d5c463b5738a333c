import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/commands.js';
import { main } from '../../src/cli/main.js';
import { errorExitCode, errorJson, errorText } from '../../src/cli/output/errors.js';
import { createTheme } from '../../src/cli/output/theme.js';
import {
  CacheMissError,
  ProfileError,
  ToolError,
  UsageError,
  WorkError,
} from '../../src/diagnostics/errors.js';
import { packagesFor } from '../../src/host/requirements.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const golden = join(root, 'test/golden/help');
const scratch = mkdtempSync(join(tmpdir(), 'commesh-cli-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** Runs a command line in this process, away from any terminal. */
async function run(...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  let [stdout, stderr] = ['', ''];
  const code = await main(argv, {
    stdout: { write: (text: string) => (stdout += text) },
    stderr: { write: (text: string) => (stderr += text) },
    stdin: {},
    env: {},
  });
  return { code, stdout, stderr };
}

const GOOD = `site:
  name: clinic
  title: Clinic
board: pi4
network:
  mode: lan
services:
  prosody: true
`;
const good = join(scratch, 'good.yaml');
const bad = join(scratch, 'bad.yaml');
writeFileSync(good, GOOD);
writeFileSync(
  bad,
  GOOD.replace('board: pi4', 'board: pi9').replace('mode: lan', 'mode: lan\n  adress: 10.0.0.1/24'),
);

describe('help', () => {
  // UPDATE_EXPECTED=1 writes the texts anew; read the difference before you keep it.
  const update = process.env['UPDATE_EXPECTED'] === '1';
  const names = ['commeshctl', ...commands.map((command) => command.name)];
  it.each(names)('of %s is the golden one', async (name) => {
    const { code, stdout, stderr } = await run(...(name === 'commeshctl' ? [] : [name]), '--help');
    expect(code).toBe(0);
    expect(stderr).toBe('');
    const path = join(golden, `${name}.txt`);
    if (update) {
      mkdirSync(golden, { recursive: true });
      writeFileSync(path, stdout);
    }
    expect(stdout).toBe(readFileSync(path, 'utf8'));
  });

  it('has no golden text without a command', () => {
    expect(readdirSync(golden).sort()).toEqual(names.map((name) => `${name}.txt`).sort());
  });

  it('shows an example of each command, which the command line understands', () => {
    for (const command of commands) {
      expect(command.example.length).toBeGreaterThan(0);
      for (const line of command.example)
        expect(line).toMatch(new RegExp(`^\\$ (sudo )?commeshctl ${command.name}\\b`));
    }
  });

  it('fits 100 columns', () => {
    for (const file of readdirSync(golden))
      for (const line of readFileSync(join(golden, file), 'utf8').split('\n'))
        expect(line.length, `${file}: ${line}`).toBeLessThanOrEqual(110);
  });

  it('is shown on stderr, with exit code 2, when nothing is asked', async () => {
    const { code, stdout, stderr } = await run();
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toBe(
      readFileSync(join(golden, 'commeshctl.txt'), 'utf8').replace(/\nThe usual way:[^]*$/, ''),
    );
  });
});

describe('a wrong command line', () => {
  it.each([
    [['plna'], "unknown command 'plna'", 'did you mean plan?'],
    [['plan', '--jsno', good], "unknown option '--jsno'", 'did you mean --json?'],
    [['plan'], "missing required argument 'file'", '--help'],
    [['plan', good, bad], 'too many arguments', '--help'],
    [['init', '--board', 'pi9'], 'pi9', 'pi9'],
    [['init', '--people', 'many'], 'whole number', '1 to 500'],
    [['completion', 'tcsh'], 'tcsh', 'Allowed choices are bash, zsh, fish'],
  ])('%j: says what and ends with 2', async (argv, what, hint) => {
    const { code, stdout, stderr } = await run(...argv);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain('error: ');
    expect(stderr).toContain(what);
    expect(stderr).toContain(hint);
    expect(stderr).not.toMatch(/\n {4}at /);
  });

  it('is told as JSON with --json', async () => {
    const { code, stderr } = await run('plna', '--json');
    expect(code).toBe(2);
    expect(JSON.parse(stderr)).toMatchObject({
      type: 'error',
      family: 'usage',
      exitCode: 2,
      hint: 'did you mean plan?',
    });
  });
});

describe('check and plan', () => {
  it('end with 0 for a good profile', async () => {
    const check = await run('check', good);
    expect(check).toMatchObject({ code: 0, stderr: '' });
    const plan = await run('plan', good);
    expect(plan.code).toBe(0);
    expect(plan.stdout).toMatch(/^Clinic {2}clinic\.home\.arpa\n/);
    expect(plan.stdout).toMatch(/prosody +prosody, line 8 \(services\.prosody\)/);
  });

  it('give the plan as data, each entry with the line that asked for it', async () => {
    const { code, stdout } = await run('plan', good, '--json');
    expect(code).toBe(0);
    const plan = JSON.parse(stdout) as {
      sets: { packages: { name: string; line?: number; because: unknown }[] }[];
    };
    const wish = plan.sets[0]?.packages.find((entry) => entry.name === 'prosody');
    expect(wish).toMatchObject({ line: 8, because: ['services', 'prosody'] });
  });

  it('end with 2 for a bad one and show the place', async () => {
    const check = await run('check', bad);
    expect(check.code).toBe(2);
    expect(check.stdout).toContain(`${bad}:7:3 error[profile/unknown-setting]`);
    expect(check.stdout).toContain('did you mean "address"?');
    const plan = await run('plan', bad);
    expect([plan.code, plan.stdout]).toEqual([2, '']);
    expect(plan.stderr).toContain(`${bad}:7:3 error[profile/unknown-setting]`);
    const json = await run('plan', bad, '--json');
    expect(JSON.parse(json.stderr)).toMatchObject({ type: 'error', family: 'profile', exitCode: 2 });
  });

  it('gives the same bytes twice', async () => {
    expect((await run('plan', good, '--json')).stdout).toBe((await run('plan', good, '--json')).stdout);
  });
});

it('services lists every service with its settings, also as data', async () => {
  const text = await run('services');
  expect(text.code).toBe(0);
  for (const id of ['prosody', 'coturn', 'system', 'network'])
    expect(text.stdout).toMatch(new RegExp(`^ {2}${id} `, 'm'));
  const data = JSON.parse((await run('services', '--json')).stdout) as { id: string; always: boolean }[];
  expect(data.find((service) => service.id === 'prosody')).toMatchObject({ always: false });
});

describe('errors', () => {
  const theme = createTheme(false);
  const quiet = { verbose: false };
  const tool = new ToolError(['mke2fs', '-d', 'my tree', 'x.img'], 1, 'first line\nlast line', {
    hint: 'make room',
  });

  it('of a program show it, its exit code and its last words', async () => {
    expect(await errorText(tool, quiet, undefined, theme)).toBe(
      [
        'error: mke2fs failed (exit code 1)',
        "  command: mke2fs -d 'my tree' x.img",
        '  its last words:',
        '  | first line',
        '  | last line',
        '  hint: make room',
      ].join('\n'),
    );
    expect(await errorJson(tool, quiet, undefined)).toMatchObject({
      family: 'tool',
      argv: tool.argv,
      status: 1,
    });
  });

  it('that know their setting are told at its line', async () => {
    const miss = new CacheMissError('prosody_13.deb is not in the cache', {
      because: ['services', 'prosody'],
      hint: 'run "commeshctl fetch"',
    });
    const text = await errorText(miss, quiet, good, theme);
    expect(text).toContain(`${good}:8:3 error[cache] prosody_13.deb is not in the cache`);
    expect(text).toContain('hint: run "commeshctl fetch"');
    expect(text).toContain('^^^^^^^');
    expect(await errorJson(miss, quiet, good)).toMatchObject({ family: 'cache', file: good, line: 8 });
  });

  it('that nobody expected are bugs: a stack only when asked', async () => {
    const bug = new TypeError('x is not a function');
    expect(await errorText(bug, quiet, undefined, theme)).toMatch(
      /^error: this is a bug in commeshctl: x is not/,
    );
    expect(await errorText(bug, quiet, undefined, theme)).not.toContain('    at ');
    expect(await errorText(bug, { verbose: true }, undefined, theme)).toContain('    at ');
    expect(await errorJson(bug, quiet, undefined)).not.toHaveProperty('stack');
  });

  it('end with 2 when a person can mend them in the profile or the command line', () => {
    expect([new UsageError('x'), new ProfileError([])].map(errorExitCode)).toEqual([2, 2]);
    expect([new WorkError('x'), tool, new Error('x')].map(errorExitCode)).toEqual([1, 1, 1]);
  });
});

it('bin/packages.txt names exactly the packages commeshctl runs', () => {
  const listed = readFileSync(join(root, 'bin/packages.txt'), 'utf8')
    .split('\n')
    .flatMap((line) => /^run ([\w.+-]+)/.exec(line)?.[1] ?? []);
  expect(listed.sort()).toEqual(packagesFor(['build', 'backup', 'try', 'flash']));
});
