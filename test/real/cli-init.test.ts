import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const commeshctl = join(root, 'bin/commeshctl');

let folder = '';
let socket = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'commesh-init-'));
  socket = join(folder, 'tmux');
  mkdirSync(join(folder, 'home/.ssh'), { recursive: true });
  mkdirSync(join(folder, 'work'));
});
afterEach(() => {
  spawnSync('tmux', ['-S', socket, 'kill-server']);
  rmSync(folder, { recursive: true, force: true });
});

const tmux = (...argv: string[]): string =>
  execFileSync('tmux', ['-S', socket, ...argv], { encoding: 'utf8' });
const screen = (): string => tmux('capture-pane', '-p');

/** Waits until the screen shows `text`; a minute is for a machine under load. */
async function shows(text: string): Promise<string> {
  for (let tries = 0; tries < 600; tries += 1) {
    const now = screen();
    if (now.includes(text)) return now;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`the screen never showed ${JSON.stringify(text)}:\n${screen()}`);
}

function start(...argv: string[]): void {
  // The marker is put together so that the command line itself does not show it.
  const line = `cd '${folder}/work'; '${commeshctl}' ${argv.join(' ')}; printf 'ended%s\\n' "-$?"; sleep 600`;
  const env = [
    'env',
    '-u',
    'CI',
    '-u',
    'NO_COLOR',
    `HOME=${folder}/home`,
    'LANG=C.UTF-8',
    'TERM=xterm-256color',
  ];
  tmux('-f', '/dev/null', 'new-session', '-d', '-x', '100', '-y', '35', ...env, 'sh', '-c', line);
}

/** Waits for a question and answers it. */
async function answer(question: string, ...keys: string[]): Promise<void> {
  await shows(question);
  for (const key of keys) tmux('send-keys', key);
}

function left(): readonly string[] {
  return readdirSync(join(folder, 'work'));
}

function makeKey(): string {
  const file = join(folder, 'home/.ssh/id_ed25519');
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'amina@laptop', '-f', file]);
  return readFileSync(`${file}.pub`, 'utf8').trim();
}

it('asks, goes back and forth, refuses what will not work, and writes a profile that check accepts', async () => {
  const key = makeKey();
  start('init', 'goma.yaml');
  await answer('What do people call', 'Dispensaire de Goma', 'Enter');
  await answer('A short name', 'Goma !', 'Enter');
  await answer('No: ', 'C-u', 'goma', 'Enter');
  await answer('Which languages', 'fr', 'Enter');
  await answer('Which time zone', 'Africa/Kinshasa', 'Enter');
  await answer('How many people', '40', 'Enter');
  await answer('What shall the kit offer', 'Enter');
  const boards = await shows('What will it run on');
  expect(boards).toMatch(/Zero 2 W\s+will not work: it has no network socket/);
  await answer('What will it run on', 'Enter');
  expect(await shows('How do people reach it')).toContain('carries about 8 people, not 40');
  // The refused choice cannot be taken.
  tmux('send-keys', 'Up');
  tmux('send-keys', 'Enter');
  await shows('No: a Raspberry Pi');
  // Back to the number of people, then forward again.
  await answer('How do people reach it', 'Escape');
  await answer('What will it run on', 'Escape');
  await answer('What shall the kit offer', 'Escape');
  await answer('How many people', '6', 'Enter');
  await answer('What shall the kit offer', 'Enter');
  await answer('What will it run on', 'Enter');
  expect(await shows('How do people reach it')).not.toContain('will not work');
  tmux('send-keys', 'Up');
  tmux('send-keys', 'Enter');
  await answer('What shall the Wi-Fi be called', 'Goma chat', 'Enter');
  await answer('In which country', 'XX', 'Enter');
  await answer('No: ', 'C-u', 'cd', 'Enter');
  await answer('Daily backups', 'Enter');
  await answer('At what time', '12:30', 'Enter');
  expect(await shows('Which SSH key')).toContain('amina@laptop');
  tmux('send-keys', 'Enter');
  const summary = await shows('Enter: write goma.yaml');
  expect(summary).toContain('own Wi-Fi "Goma chat" (CD)');
  expect(left()).toEqual([]);
  tmux('send-keys', 'Enter');
  await shows('ended-0');
  expect(left()).toEqual(['goma.yaml']);
  const file = join(folder, 'work/goma.yaml');
  const text = readFileSync(file, 'utf8');
  expect(text).toContain(`- ${key}`);
  expect(text).toMatch(/^people: 6$/m);
  const check = spawnSync(commeshctl, ['check', '--strict', file], { encoding: 'utf8' });
  expect(check.stdout + check.stderr).toContain('goma.yaml: good');
  expect(check.status).toBe(0);
});

it('leaves nothing when Ctrl-C ends it', async () => {
  start('init');
  await answer('What do people call', 'Camp', 'Enter');
  await answer('A short name', 'C-c');
  await shows('ended-1');
  expect(screen()).toContain('interrupted');
  expect(left()).toEqual([]);
  expect(readdirSync(join(folder, 'home/.ssh'))).toEqual([]);
});

it('makes a key only when asked to, and only when the profile is written', async () => {
  start('init', 'camp.yaml');
  await answer('What do people call', 'Enter');
  for (const question of ['A short name', 'Which languages', 'Which time zone', 'How many people'])
    await answer(question, 'Enter');
  for (const question of [
    'What shall the kit offer',
    'What will it run on',
    'How do people reach',
    'Daily backups',
  ])
    await answer(question, 'Enter');
  await answer('At what time', 'Enter');
  await answer('Which SSH key', 'Down', 'Enter');
  await shows('Enter: write camp.yaml');
  expect(readdirSync(join(folder, 'home/.ssh'))).toEqual([]);
  tmux('send-keys', 'Enter');
  await shows('ended-0');
  expect(readdirSync(join(folder, 'home/.ssh')).sort()).toEqual(['commesh-camp', 'commesh-camp.pub']);
  const made = readFileSync(join(folder, 'home/.ssh/commesh-camp.pub'), 'utf8').trim();
  expect(readFileSync(join(folder, 'work/camp.yaml'), 'utf8')).toContain(made);
});

it('works by flags alone without a terminal, and never overwrites', () => {
  const run = (...argv: string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(commeshctl, argv, {
      encoding: 'utf8',
      cwd: join(folder, 'work'),
      env: { ...process.env, HOME: join(folder, 'home') },
    });
  expect(run('init', 'a.yaml')).toMatchObject({ status: 2, stdout: '' });
  const flags = ['--yes', '--title', 'Redaction', '--languages', 'fr,en', '--board', 'pi4', '--people', '30'];
  expect(run('init', 'a.yaml', ...flags, '--network', 'access-point', '--country', 'CD')).toMatchObject({
    status: 2,
    stdout: '',
  });
  expect(left()).toEqual([]);
  const made = run('init', 'a.yaml', ...flags, '--network', 'lan', '--backup', '03:15', '--ssh-key', 'make');
  expect(made).toMatchObject({ status: 0, stdout: 'a.yaml\n' });
  const text = readFileSync(join(folder, 'work/a.yaml'), 'utf8');
  expect(text).toContain('at: "03:15"');
  expect(run('check', 'a.yaml').status).toBe(0);
  const again = run('init', 'a.yaml', ...flags);
  expect(again.status).toBe(2);
  expect(again.stderr).toContain('never overwrites');
  expect(readFileSync(join(folder, 'work/a.yaml'), 'utf8')).toBe(text);
  // A key of that name is there now: nothing is written, nothing is lost.
  const key = readFileSync(join(folder, 'home/.ssh/commesh-a'), 'utf8');
  const other = run('init', 'b.yaml', ...flags, '--name', 'a', '--ssh-key', 'make');
  expect(other.status).toBe(1);
  expect(existsSync(join(folder, 'work/b.yaml'))).toBe(false);
  expect(readFileSync(join(folder, 'home/.ssh/commesh-a'), 'utf8')).toBe(key);
});

it('takes no private key and no rubbish for a public one', () => {
  const key = join(folder, 'home/.ssh/id_ed25519');
  makeKey();
  writeFileSync(join(folder, 'rubbish.pub'), 'ssh-ed25519 AAAA not-a-key\n');
  for (const [file, words] of [
    [key, 'is a private key'],
    [join(folder, 'rubbish.pub'), 'holds no public SSH key'],
    [join(folder, 'missing.pub'), 'cannot be read'],
  ] as const) {
    const result = spawnSync(commeshctl, ['init', 'x.yaml', '--yes', '--title', 'X', '--ssh-key', file], {
      encoding: 'utf8',
      cwd: join(folder, 'work'),
    });
    expect(result.status).toBe(2);
    expect(result.stderr).toContain(words);
    expect(left()).toEqual([]);
  }
});
