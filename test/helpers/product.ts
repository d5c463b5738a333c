import { spawn } from 'node:child_process';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../src/host/paths.js';

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the compiled program as a person would. */
export function commeshctl(
  args: readonly string[],
  options: { cwd?: string; env?: Readonly<Record<string, string>> } = {},
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(join(packageRoot(), 'bin/commeshctl'), args, {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? 1, stdout, stderr }));
  });
}

/** The same, and it has to work. */
export async function works(args: readonly string[], options: { cwd?: string } = {}): Promise<Outcome> {
  const outcome = await commeshctl(args, options);
  if (outcome.code !== 0)
    throw new Error(`commeshctl ${args.join(' ')}: exit ${outcome.code}\n${outcome.stderr}`);
  return outcome;
}

/** Offline cache shared by all test runs on this machine; layers in it are found again by their content. */
export const CACHE =
  process.env['COMMESH_TEST_CACHE'] ??
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'commeshctl/test');

/**
 * A site of its own below `folder`, from the quickstart preset.
 * @returns the path of its profile.
 */
export async function makeSite(
  folder: string,
  name: string,
  change: (text: string) => string = (text) => text,
): Promise<string> {
  await mkdir(folder, { recursive: true });
  const text = await readFile(join(packageRoot(), 'profiles/quickstart.yaml'), 'utf8');
  const profile = join(folder, `${name}.yaml`);
  await writeFile(profile, change(text.replace(/^( +)name: quickstart$/m, `$1name: ${name}`)));
  return profile;
}

/** The same site in another folder: profile, lock and secrets. */
export async function copySite(profile: string, folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const base = profile.replace(/\.yaml$/, '');
  const to = join(folder, base.slice(base.lastIndexOf('/') + 1));
  await cp(profile, `${to}.yaml`);
  await cp(`${base}.lock.json`, `${to}.lock.json`);
  await cp(`${base}.secrets`, `${to}.secrets`, { recursive: true });
  return `${to}.yaml`;
}
