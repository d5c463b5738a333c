import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/commands.js';

const commeshctl = fileURLToPath(new URL('../../bin/commeshctl', import.meta.url));
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'commesh-completion-'));
  for (const shell of ['bash', 'zsh', 'fish'])
    writeFileSync(join(folder, shell), execFileSync(commeshctl, ['completion', shell], { encoding: 'utf8' }));
  for (const name of ['clinic.yaml', 'camp one.yaml', 'kit.img', 'notes.txt'])
    writeFileSync(join(folder, name), '');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('bash', () => {
  /** What bash itself offers for the line, whose last word is being typed. */
  function complete(...words: string[]): readonly string[] {
    const script = [
      'source ./bash',
      `COMP_WORDS=(commeshctl ${words.map((word) => `'${word}'`).join(' ')})`,
      'COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))',
      "$(complete -p commeshctl | sed -E 's/.*-F ([^ ]+) .*/\\1/')",
      'printf "%s\\n" "${COMPREPLY[@]}"',
    ].join('\n');
    const out = execFileSync('bash', ['--norc', '-u', '-c', script], { cwd: folder, encoding: 'utf8' });
    return out.split('\n').filter(Boolean).sort();
  }

  it('offers every command', () => {
    expect(complete('')).toEqual(['help', ...commands.map((command) => command.name)].sort());
    expect(complete('fl')).toEqual(['flash']);
  });

  it('offers flags, their values, files of the right kind and shells', () => {
    expect(complete('plan', '--j')).toEqual(['--json']);
    expect(complete('build-image', '--compress', '')).toEqual(['none', 'xz', 'zst']);
    expect(complete('init', '--board', 'pi')).toEqual(['pi3', 'pi4', 'pi5']);
    expect(complete('plan', '')).toEqual(['camp one.yaml', 'clinic.yaml']);
    expect(complete('check', 'clinic.yaml', 'c')).toEqual(['camp one.yaml', 'clinic.yaml']);
    expect(complete('plan', 'clinic.yaml', '')).toEqual([]);
    expect(complete('flash', 'k')).toEqual(['kit.img']);
    expect(complete('--cache', 'dir', 'completion', '')).toEqual(['bash', 'fish', 'zsh']);
    expect(complete('help', 'do')).toEqual(['doctor']);
  });

  it('has nothing shellcheck complains about', () => {
    const found = spawnSync('shellcheck', ['-s', 'bash', '-e', 'SC2207', 'bash'], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect(found.stdout + found.stderr).toBe('');
  });
});

it('zsh loads the script, registers it and offers the commands', () => {
  execFileSync('zsh', ['-f', '-n', 'zsh'], { cwd: folder });
  const script = [
    'autoload -Uz compinit && compinit -u -d ./zcompdump',
    'source ./zsh',
    'print -r -- "registered: ${_comps[commeshctl]}"',
    // What _describe is given, without the line editor.
    '_describe() { print -rl -- "${commands[@]%%:*}"; }',
    'words=(commeshctl ""); CURRENT=2; _commeshctl',
  ].join('\n');
  const out = execFileSync('zsh', ['-f', '-c', script], { cwd: folder, encoding: 'utf8' }).trim().split('\n');
  expect(out).toEqual(['registered: _commeshctl', ...commands.map((command) => command.name)]);
});

it('fish completes commands, flags and values', () => {
  const complete = (line: string): readonly string[] =>
    execFileSync('fish', ['--no-config', '-c', `source ./fish; complete --do-complete '${line}'`], {
      cwd: folder,
      encoding: 'utf8',
      env: { ...process.env, HOME: folder },
    })
      .split('\n')
      .filter(Boolean)
      .map((found) => found.split('\t')[0] ?? '');
  execFileSync('fish', ['--no-config', '--no-execute', 'fish'], { cwd: folder });
  expect(complete('commeshctl ')).toEqual(expect.arrayContaining(commands.map((command) => command.name)));
  expect(complete('commeshctl plan --js')).toEqual(['--json']);
  expect([...complete('commeshctl build-image --compress ')].sort()).toEqual(['none', 'xz', 'zst']);
  expect(complete('commeshctl plan cl')).toEqual(['clinic.yaml']);
});
