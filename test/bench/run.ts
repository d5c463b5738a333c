/**
 * Wall times of each stage on this machine, printed as a table. `npm run bench [-- --board pi4] [-- --rounds 3]`.
 * Every figure is the median of the rounds; the cold base layer is made once.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { packageRoot } from '../../src/host/paths.js';

interface Report {
  readonly timings: Readonly<Record<string, number>>;
  readonly image: { readonly size: number; readonly bytesUsed: number };
}

const argument = (name: string, otherwise: string): string => {
  const at = process.argv.indexOf(name);
  return at < 0 ? otherwise : (process.argv[at + 1] ?? otherwise);
};
const board = argument('--board', 'pc');
const rounds = Number(argument('--rounds', '3'));
const root = packageRoot();
const work = mkdtempSync(join(argument('--work', tmpdir()), 'commeshctl-bench-'));
const cache = join(work, 'cache');

function commeshctl(...args: string[]): number {
  const begin = performance.now();
  const run = spawnSync(join(root, 'bin/commeshctl'), [...args, '--plain', '--quiet', '--cache', cache], {
    encoding: 'utf8',
    cwd: work,
  });
  if (run.status !== 0) throw new Error(`commeshctl ${args[0]} failed:\n${run.stderr}`);
  return performance.now() - begin;
}

function makeSite(name: string): string {
  const path = join(work, `${name}.yaml`);
  const text = readFileSync(join(root, 'profiles/quickstart.yaml'), 'utf8')
    .replace(/^( *)name: .*$/m, `$1name: ${name}`)
    .replace(/^board: .*$/m, `board: ${board}`);
  writeFileSync(path, text);
  return path;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(1)} s`;
const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;
const rows: [string, string][] = [];
const again = (work: () => number): number => median(Array.from({ length: rounds }, work));
const build = (profile: string, image: string, ...more: string[]): Report => {
  commeshctl('build-image', profile, '--output', image, ...more);
  return JSON.parse(readFileSync(image.replace(/\.img$/, '.json'), 'utf8')) as Report;
};

try {
  const one = makeSite('bench-one');
  rows.push(['check', seconds(again(() => commeshctl('check', one)))]);
  rows.push(['plan', seconds(again(() => commeshctl('plan', one)))]);
  rows.push(['fetch, empty cache', seconds(commeshctl('fetch', one))]);
  rows.push(['fetch, nothing to do', seconds(again(() => commeshctl('fetch', one)))]);

  const cold = build(one, join(work, 'one.img'));
  for (const [label, key] of [
    ['tools tree, cold', 'tools'],
    ['base layer, cold', 'base'],
    ['site layer', 'site'],
    ['image', 'image'],
    ['whole build, cold', 'total'],
  ] as const) {
    rows.push([label, seconds(cold.timings[key] ?? Number.NaN)]);
  }
  const second: Report[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const name = `bench-two-${round}`;
    const profile = makeSite(name);
    cpSync(join(work, 'bench-one.lock.json'), join(work, `${name}.lock.json`));
    second.push(build(profile, join(work, 'two.img')));
    rmSync(join(work, `${name}.secrets`), { recursive: true });
  }
  for (const key of ['identity', 'site', 'image', 'total']) {
    rows.push([
      `second site: ${key}`,
      seconds(median(second.map((report) => report.timings[key] ?? Number.NaN))),
    ]);
  }
  const zst = build(one, join(work, 'zst.img'), '--compress', 'zst');
  rows.push(['same site again, with zst', seconds(zst.timings['total'] ?? Number.NaN)]);
  rows.push(['image, raw content', megabytes(cold.image.bytesUsed)]);
  rows.push(['image, zst', megabytes(statSync(join(work, 'zst.img.zst')).size)]);

  const width = Math.max(...rows.map(([label]) => label.length));
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? 'CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`;
  process.stdout.write(`${machine}; board ${board}, ${rounds} rounds, medians\n`);
  for (const [label, value] of rows) process.stdout.write(`${label.padEnd(width)}  ${value.padStart(9)}\n`);
} finally {
  rmSync(work, { recursive: true, force: true });
}
