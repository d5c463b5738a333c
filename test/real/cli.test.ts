import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const commeshctl = join(root, 'bin/commeshctl');
const PROFILE = `site:
  name: clinic
  title: Clinic
board: pc
network:
  mode: lan
`;

let folder = '';
let server: Server | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'commesh-cli-'));
});
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  rmSync(folder, { recursive: true, force: true });
});

describe('the launcher', () => {
  it('says how to build a clone that is not built', () => {
    mkdirSync(join(folder, 'bin'));
    cpSync(commeshctl, join(folder, 'bin/commeshctl'));
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    const result = spawnSync(join(folder, 'bin/commeshctl'), ['--help'], { encoding: 'utf8' });
    expect(result.status).toBe(2);
    expect(result.stderr).toContain('not built yet');
    expect(result.stderr).toContain(join(folder, 'bin/setup'));
  });

  it('works through a symbolic link and from another folder', () => {
    symlinkSync(commeshctl, join(folder, 'commesh'));
    const result = spawnSync(join(folder, 'commesh'), ['--version'], { encoding: 'utf8', cwd: folder });
    expect([result.status, result.stderr]).toEqual([0, '']);
    expect(result.stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('does not mind a reader that stops early', () => {
    const script = `set -o pipefail; '${commeshctl}' services --json | head -c 1; exit "\${PIPESTATUS[0]}"`;
    const result = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
    expect([result.status, result.stdout, result.stderr]).toEqual([0, '[', '']);
  });

  it('writes all of a long answer into a pipe', () => {
    writeFileSync(join(folder, 'clinic.yaml'), PROFILE);
    const script = `'${commeshctl}' plan '${folder}/clinic.yaml' --json | (sleep 1; cat)`;
    const result = spawnSync('sh', ['-c', script], { encoding: 'utf8' });
    expect(result.stdout.length).toBeGreaterThan(65_536 / 4);
    expect(JSON.parse(result.stdout)).toMatchObject({ format: 1, site: { name: 'clinic' } });
  });
});

describe('Ctrl-C', () => {
  /** A mirror that takes connections and never answers. */
  async function deafMirror(): Promise<{ url: string; asked: Promise<void> }> {
    let tell = (): void => {};
    const asked = new Promise<void>((resolve) => {
      tell = resolve;
    });
    const made = createServer(() => tell());
    server = made;
    await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', () => resolve()));
    return { url: `http://127.0.0.1:${(made.address() as AddressInfo).port}/debian`, asked };
  }

  it.each(['SIGINT', 'SIGTERM'] as const)(
    '%s ends a fetch in order and leaves no half-written file',
    async (signal) => {
      const mirror = await deafMirror();
      writeFileSync(join(folder, 'clinic.yaml'), `${PROFILE}mirror: ${mirror.url}\n`);
      const child = spawn(commeshctl, ['fetch', 'clinic.yaml', '--cache', 'cache'], {
        cwd: folder,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let stderr = '';
      let stdout = '';
      child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
      child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
      const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
      await Promise.race([mirror.asked, ended]);
      child.kill(signal);
      expect(await ended, stderr).toBe(1);
      expect(stderr).toContain('error: interrupted');
      expect(stdout).toBe('');
      expect(
        readdirSync(folder)
          .sort()
          .filter((name) => name !== 'cache'),
      ).toEqual(['clinic.yaml']);
    },
  );
});

it('the shell scripts have nothing shellcheck complains about', () => {
  const scripts = ['bin/setup', 'bin/quickstart', 'bin/test', '.ci/run'];
  const result = spawnSync('shellcheck', scripts, { cwd: root, encoding: 'utf8' });
  expect(result.stdout + result.stderr).toBe('');
});

it('doctor looks at this machine and gives it as data', () => {
  const result = spawnSync(commeshctl, ['doctor', '--json'], { encoding: 'utf8' });
  const report = JSON.parse(result.stdout) as { ok: boolean; findings: { id: string; state: string }[] };
  expect(result.status).toBe(report.ok ? 0 : 1);
  const states = new Map(report.findings.map((finding) => [finding.id, finding.state]));
  expect(states.get('node')).toBe('pass');
  expect([...states.keys()]).toEqual(
    expect.arrayContaining(['program/newuidmap', 'namespaces', 'subuid', 'emulation', 'disk']),
  );
});

it('doctor finds what is missing and names the package', () => {
  // A PATH with Node alone, and no system folders for the programs that are looked for by name.
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  for (const program of ['id', 'uname']) symlinkSync(`/usr/bin/${program}`, join(bin, program));
  symlinkSync(process.execPath, join(bin, 'node'));
  const result = spawnSync(commeshctl, ['doctor', '--json'], {
    encoding: 'utf8',
    env: { PATH: bin, HOME: folder },
  });
  expect(result.status).toBe(1);
  const report = JSON.parse(result.stdout) as { findings: { id: string; state: string; package?: string }[] };
  expect(report.findings.find((finding) => finding.id === 'program/newuidmap')).toMatchObject({
    state: 'fail',
    package: 'uidmap',
  });
  expect(report.findings.find((finding) => finding.id === 'program/qemu-img')).toMatchObject({
    state: 'warn',
    package: 'qemu-utils',
  });
});
