/**
 * What many sites cost: builds them from one template and a table in one run, and prints seconds for each, the process's largest
 * memory and what a thousand would take. `node dist/test/bench/fleet.js [--sites 100] [--board pc] [--cache DIR] [--work DIR]`.
 * Images are removed as soon as they are there: a thousand of them would fill a disk.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { HostEvent } from '../../src/host/events.js';
import { packageRoot } from '../../src/host/paths.js';

const argument = (name: string, otherwise: string): string => {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : (process.argv[at + 1] ?? otherwise);
};
const count = Number(argument('--sites', '100'));
const board = argument('--board', 'pc');
const root = packageRoot();
const work = mkdtempSync(join(argument('--work', tmpdir()), 'commeshctl-fleet-'));
const cache = resolve(argument('--cache', join(work, 'cache')));
const template = join(work, 'district.yaml');
const program = join(root, 'bin/commeshctl');

/** The largest resident memory of a process so far, bytes (VmHWM of proc_pid_status(5)). */
function peakOf(pid: number | undefined): number {
  try {
    const text = readFileSync(`/proc/${pid ?? 0}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Runs one `build-image` over sites `from` to `to`. Times of the finished sites, milliseconds from the beginning. */
async function build(from: number, to: number): Promise<{ ended: number[]; wall: number; peak: number }> {
  const table = join(work, 'sites.csv');
  const rows = Array.from({ length: to - from }, (_none, at) => `site-${from + at},Site ${from + at}\n`);
  writeFileSync(table, `site.name,site.title\n${rows.join('')}`);
  const images = join(work, 'images');
  const begin = performance.now();
  const child = spawn(
    program,
    ['build-image', template, '--sites', table, '--output', images, '--cache', cache, '--json'],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const ended: number[] = [];
  let peak = 0;
  let rest = '';
  let last = '';
  child.stderr.on('data', (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      last = line;
      const event = JSON.parse(line) as HostEvent;
      if (event.type !== 'end' || !event.id.startsWith('site/')) continue;
      if (event.state !== 'done') throw new Error(`${event.id}: ${event.state}`);
      ended.push(performance.now() - begin);
      peak = Math.max(peak, peakOf(child.pid));
      rmSync(join(images, `${event.id.slice('site/'.length)}.img`));
    }
  });
  const code = await new Promise((done) => child.once('close', done));
  if (code !== 0) throw new Error(`build-image failed: ${last}`);
  return { ended, wall: performance.now() - begin, peak };
}

const text = readFileSync(join(root, 'profiles/quickstart.yaml'), 'utf8');
writeFileSync(template, text.replace(/^board: .*$/m, `board: ${board}`));
try {
  const fetched = spawnSync(program, ['fetch', template, '--cache', cache, '--quiet'], { encoding: 'utf8' });
  if (fetched.status !== 0) throw new Error(fetched.stderr);
  // Base layer and disk, which all share.
  const first = await build(0, 1);
  const { ended, wall, peak } = await build(1, count + 1);
  const at = (index: number): number => ended[index] ?? Number.NaN;
  const half = Math.floor(count / 2);
  const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(2)} s`;
  const rows: readonly (readonly [string, string])[] = [
    ['first site, with what all share', seconds(first.wall)],
    [`${count} more sites, ${availableParallelism()} at a time`, seconds(wall)],
    ['for each', seconds(wall / count)],
    ['for each, first half', seconds(at(half - 1) / half)],
    ['for each, second half', seconds((at(count - 1) - at(half - 1)) / (count - half))],
    [
      'largest memory of commeshctl',
      `${Math.round(peak / 1e6)} MB (one site: ${Math.round(first.peak / 1e6)} MB)`,
    ],
    ['1,000 sites would take', `${((wall / count / 60_000) * 1000).toFixed(0)} min`],
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  process.stdout.write(
    `${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, Node ${process.version}; board ${board}\n`,
  );
  for (const [label, value] of rows) process.stdout.write(`${label.padEnd(width)}  ${value}\n`);
} finally {
  rmSync(work, { recursive: true, force: true });
}
