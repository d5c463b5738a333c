/**
 * commeshctl beside other image builders, on this machine: `npm run bench:peers -- [--rounds 3] [--rounds-slow 1]
 * [--board pc,pi4] [--only check,fetch,second,peers,cold] [--work FOLDER] [--resume FILE]`. Method: README.md beside this file.
 * Needs root (loop devices for vmdb2 and debos), and the network for `fetch` and for what is made once.
 */
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { cpus, tmpdir, totalmem } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { spawnSync } from 'node:child_process';
import { hostArch } from '../../src/cli/commands/project.js';
import { createHost } from '../../src/host/host.js';
import { packageRoot } from '../../src/host/paths.js';
import { readLock } from '../../src/mirror/lock.js';
import { setsForHost } from '../../src/mirror/request.js';
import { locateArchives } from '../../src/mirror/sources/apt.js';
import { readNetworkSettings } from '../../src/mirror/sources/proxy.js';
import type { Lock } from '../../src/mirror/types.js';
import type { Manifest } from '../../src/stages/types.js';
import { logFile, Results, timeRun, type Result, type Times } from './measure.js';

type Board = 'pc' | 'pi4';

const PARTS = ['check', 'fetch', 'second', 'peers', 'cold'] as const;
type Part = (typeof PARTS)[number];
const PEERS = ['vmdb2', 'debos', 'mkosi', 'genimage'] as const;
const OVERLAY_FILES = 300;

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    'rounds-slow': { type: 'string', default: '1' },
    board: { type: 'string', default: 'pc,pi4' },
    only: { type: 'string', default: PARTS.join(',') },
    work: { type: 'string', default: join(tmpdir(), 'commeshctl-peers') },
    resume: { type: 'string' },
  },
});
const rounds = Number(options.rounds);
const slowRounds = Number(options['rounds-slow']);
const boards = options.board.split(',').map((name): Board => {
  if (name !== 'pc' && name !== 'pi4') throw new Error(`--board ${name}: pc or pi4`);
  return name;
});
const parts = new Set(
  options.only.split(',').map((name): Part => {
    const part = PARTS.find((one) => one === name);
    if (part === undefined) throw new Error(`--only ${name}: ${PARTS.join(', ')}`);
    return part;
  }),
);
const root = packageRoot();
const recipes = join(root, 'test/bench/peers');
const work = resolve(options.work);
const cache = join(work, 'cache');
const tree = join(work, 'tree');
const results = new Results(
  resolve(
    options.resume ??
      join(work, `results-${new Date().toISOString().slice(0, 19).replaceAll(':', '')}.jsonl`),
  ),
  options.resume !== undefined,
);

const say = (text: string): void => void process.stderr.write(`${text}\n`);
const archOf = (board: Board): 'amd64' | 'arm64' => (board === 'pc' ? 'amd64' : 'arm64');
const foreign = (board: Board): boolean => (archOf(board) === 'amd64') !== (process.arch === 'x64');

// --- commeshctl

const sites = join(work, 'sites');
const imageOf = (name: string): string => join(work, 'images', `${name}.img`);

function commeshctl(log: string, command: string, ...args: string[]): Times {
  const argv = [join(root, 'bin/commeshctl'), command, ...args, '--plain', '--quiet'];
  return timeRun(args.includes('--cache') ? argv : [...argv, '--cache', cache], { log });
}

/** A profile of its own for `name`, with the lock of `like` if there is one. */
function makeSite(name: string, board: Board, like?: string): string {
  mkdirSync(sites, { recursive: true });
  const profile = join(sites, `${name}.yaml`);
  const text = readFileSync(join(root, 'profiles/quickstart.yaml'), 'utf8')
    .replace(/^( *)name: .*$/m, `$1name: ${name}`)
    .replace(/^board: .*$/m, `board: ${board}`);
  writeFileSync(profile, text);
  if (like !== undefined) cpSync(join(sites, `${like}.lock.json`), join(sites, `${name}.lock.json`));
  return profile;
}

/** Removes profile, lock, secrets and image of a site. */
function forgetSite(name: string): void {
  for (const folder of [sites, join(work, 'images')])
    for (const file of readdirSync(folder))
      if (file.startsWith(`${name}.`)) rmSync(join(folder, file), { recursive: true });
}

/** Builds the image of a profile; `told`: the report's own timings in seconds. */
function build(measure: string, round: number, name: string): { times: Times; told: Record<string, number> } {
  const image = imageOf(name);
  mkdirSync(dirname(image), { recursive: true });
  const times = commeshctl(
    logFile(work, measure, round),
    'build-image',
    join(sites, `${name}.yaml`),
    '--output',
    image,
  );
  const report = JSON.parse(readFileSync(image.replace(/img$/, 'json'), 'utf8')) as {
    timings: Record<string, number>;
  };
  return {
    times,
    told: Object.fromEntries(Object.entries(report.timings).map(([step, ms]) => [step, ms / 1000])),
  };
}

/** The site every round is compared with: packages in the cache, lock written, base layer made. */
function prepareFirstSite(board: Board): string {
  const name = `first-${board}`;
  const profile = makeSite(name, board);
  commeshctl(logFile(work, `prepare fetch ${board}`, 0), 'fetch', profile);
  return name;
}

async function lockOf(name: string): Promise<Lock> {
  const lock = await readLock(join(sites, `${name}.lock.json`));
  if (lock === null) throw new Error(`no lock of ${name}`);
  return lock;
}

/** The folders of the base layer of a site, and of the blank disk made of it. */
function layersOf(name: string): { readonly base: string; readonly disk: string } {
  const printed = spawnSync(
    join(root, 'bin/commeshctl'),
    ['build-image', join(sites, `${name}.yaml`), '--print-manifest', '--json', '--cache', cache],
    { encoding: 'utf8' },
  );
  if (printed.status !== 0) throw new Error(`no manifest of ${name}:\n${printed.stderr}`);
  const manifest = JSON.parse(printed.stdout) as Manifest;
  const folder = (type: 'base' | 'disk'): string => {
    const id = manifest.stages.find((stage) => stage.type === type)?.id;
    if (id === undefined) throw new Error(`the manifest of ${name} has no ${type}`);
    return join(cache, 'layers', id.slice(0, 32));
  };
  return { base: folder('base'), disk: folder('disk') };
}

/** The folder of the base layer; layer and disk are made if they are not there. */
function warmLayer(board: Board, name: string): string {
  const { base, disk } = layersOf(name);
  if (!existsSync(base) || !existsSync(disk)) build(`prepare ${board}`, 0, name);
  return base;
}

// --- the peers

/** A folder made once and kept: `make` fills `<path>.part`. */
async function keep(path: string, make: (part: string) => Promise<void> | void): Promise<void> {
  if (existsSync(path)) return;
  say(`making ${path}`);
  const part = `${path}.part`;
  rmSync(part, { recursive: true, force: true });
  mkdirSync(dirname(path), { recursive: true });
  await make(part);
  renameSync(part, path);
}

const network = await readNetworkSettings(createHost());

async function archiveUri(archive: string): Promise<string> {
  const source = { archive, suite: 'trixie', components: ['main'], fingerprints: [], use: 'all' } as const;
  const [place] = await locateArchives([source], { mirror: 'auto' });
  if (place === undefined) throw new Error(`no archive ${archive}`);
  return place.uri;
}

/** A program in the peers' tree, with `folder` as its working folder and without a network. */
function peer(log: string, folder: string, emulate: boolean, ...argv: string[]): Times {
  return timeRun(['sh', join(recipes, 'enter.sh'), tree, folder, recipes, emulate ? '1' : '0', ...argv], {
    log,
  });
}
const script = (name: string, ...args: string[]): string[] => ['sh', `/mnt/recipes/${name}.sh`, ...args];

/** A repository of exactly the .debs the lock of a board names, as the offline cache holds them. */
async function makeRepository(board: Board, first: string): Promise<string> {
  const folder = join(work, 'cold', board);
  await keep(folder, async (part) => {
    mkdirSync(join(part, 'pool'), { recursive: true });
    const packages = (await lockOf(first)).sets['system'] ?? [];
    for (const one of packages)
      linkSync(join(cache, 'apt', one.archive, one.path), join(part, 'pool', `${one.sha256}.deb`));
    writeFileSync(join(part, 'packages'), packages.map((one) => one.name).join(','));
    peer(logFile(work, `prepare repository ${board}`, 0), part, false, ...script('repository'));
  });
  return folder;
}

/**
 * What the peers start from, warm: the very tree of commeshctl's own base layer, unpacked (`root`), as a tar, and the files of
 * the boot partition.
 */
async function makeBase(board: Board, first: string): Promise<string> {
  const folder = join(work, 'board', board);
  await keep(folder, (part) => {
    const layer = warmLayer(board, first);
    mkdirSync(join(part, 'root'), { recursive: true });
    cpSync(join(layer, 'boot'), join(part, 'boot'), { recursive: true });
    // Device nodes belong to the kernel of the running system; mkosi would read from them when it copies the tree.
    const unpack = `tar -C "$2/root" --numeric-owner -xf "$1" && rm -rf "$2"/root/dev/* && tar -C "$2/root" --numeric-owner -cf "$2/rootfs.tar" .`;
    timeRun(['sh', '-euc', unpack, 'sh', join(layer, 'base.tar'), part], {
      log: logFile(work, `prepare base ${board}`, 0),
    });
  });
  return folder;
}

/** Leaves of a peers' folder only what they start from. */
function clear(folder: string): void {
  for (const found of readdirSync(folder))
    if (!['root', 'rootfs.tar', 'boot'].includes(found)) rmSync(join(folder, found), { recursive: true });
}

/** The overlay of the site `name`: its host name and 299 further files. */
function writeOverlay(folder: string, name: string): void {
  const etc = join(folder, 'overlay/etc');
  mkdirSync(join(etc, 'site'), { recursive: true });
  writeFileSync(join(etc, 'hostname'), `${name}\n`);
  for (let number = 1; number < OVERLAY_FILES; number += 1) {
    const line = createHash('sha256').update(`${name} ${number}`).digest('hex');
    // 65 bytes to 8 KiB, 4 KiB on average.
    writeFileSync(join(etc, 'site', `${number}.conf`), `${line}\n`.repeat(1 + (number % 128)));
  }
}

const flush = (): void => void spawnSync('sync');

// --- measures

interface Measure {
  readonly name: string;
  readonly part: Part;
  readonly slow: boolean;
  run(round: number): Promise<void> | void;
}
const measures: Measure[] = [];
/** `slow` measures take many minutes and have rounds of their own. */
function measure(part: Part, name: string, run: (round: number) => Promise<void> | void, slow = false): void {
  if (parts.has(part)) measures.push({ part, name, run, slow });
}
const log = (name: string, round: number): string => logFile(work, name, round);

const firsts = new Map<Board, string>();
function first(board: Board): string {
  const known = firsts.get(board) ?? prepareFirstSite(board);
  firsts.set(board, known);
  return known;
}

for (const command of ['check', 'plan'])
  measure('check', command, async (round) => {
    const profile = join(sites, `${first('pc')}.yaml`);
    results.add(command, round, commeshctl(log(command, round), command, profile));
  });

const fetchBoard = boards.at(-1) ?? 'pc';
measure('fetch', 'fetch: parallel curl', async (round) => {
  const name = 'fetch: parallel curl';
  const files = await filesOf(await lockOf(first(fetchBoard)));
  const target = join(work, 'curl');
  const config = join(work, 'curl.conf');
  const lines = files.flatMap(({ url, path }) => [`url = "${url.href}"`, `output = "${join(target, path)}"`]);
  const proxy = files[0] === undefined ? null : await network.proxyFor(files[0].url);
  if (proxy !== null) lines.push(`proxy = "${proxy.href}"`);
  writeFileSync(config, `${lines.join('\n')}\n`, { mode: 0o600 });
  const argv = [
    'curl',
    '--parallel',
    '--parallel-max',
    '8',
    '--fail',
    '--silent',
    '--show-error',
    '--create-dirs',
  ];
  const run = (): Times => {
    rmSync(target, { recursive: true, force: true });
    flush();
    return timeRun([...argv, '--config', config], { log: log(name, round) });
  };
  // What a caching mirror on the way has to get from afar, it gets before anybody is timed.
  if (round === 0) run();
  const times = run();
  // commeshctl's files are on the disk when it is done.
  const finish = timeRun(['find', target, '-type', 'f', '-exec', 'sync', '{}', '+'], {
    log: log(`${name} finish`, round),
  });
  results.add(name, round, times, { 'on disk': times.wall + finish.wall });
  rmSync(target, { recursive: true, force: true });
  rmSync(config);
});
measure('fetch', 'fetch: empty cache, lock present', async (round) => {
  const name = 'fetch: empty cache, lock present';
  const empty = join(work, 'empty-cache');
  rmSync(empty, { recursive: true, force: true });
  flush();
  const profile = join(sites, `${first(fetchBoard)}.yaml`);
  results.add(name, round, commeshctl(log(name, round), 'fetch', profile, '--locked', '--cache', empty));
  // Otherwise curl would have had other work to do.
  const expected = (await filesOf(await lockOf(first(fetchBoard)))).map(({ path }) => path).sort();
  const got = readdirSync(join(empty, 'apt'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(join(empty, 'apt'), join(entry.parentPath, entry.name)))
    .sort();
  if (got.join() !== expected.join())
    throw new Error(`curl gets ${expected.length} files and fetch got ${got.length}`);
  rmSync(empty, { recursive: true, force: true });
});
for (const [name, flags] of [
  ['fetch: nothing to do', []],
  ['fetch: resolves anew, nothing to get', ['--update']],
] as const)
  measure('fetch', name, (round) => {
    const like = first(fetchBoard);
    // A copy: should the mirror have changed, the lock of everything else stays as it is.
    const profile = makeSite(`again-${fetchBoard}`, fetchBoard, like);
    results.add(name, round, commeshctl(log(name, round), 'fetch', profile, ...flags));
  });

/** Address and size of every file a locked fetch gets, largest first as commeshctl gets them. */
async function filesOf(lock: Lock): Promise<{ url: URL; path: string; size: number }[]> {
  const found = new Map<string, { url: URL; path: string; size: number }>();
  const add = async (archive: string, file: { path: string; size: number }): Promise<void> => {
    const path = `${archive}/${file.path}`;
    found.set(path, { url: new URL(`${await archiveUri(archive)}/${file.path}`), path, size: file.size });
  };
  for (const index of lock.indexes) for (const file of index.files) await add(index.archive, file);
  const sets = Object.entries(lock.sets).map(([id, packages]) => ({ id, packages }));
  for (const { packages } of setsForHost(sets, hostArch()))
    for (const one of packages) await add(one.archive, one);
  return [...found.values()].sort((a, b) => b.size - a.size);
}

for (const board of boards) {
  const productName = `second site, ${board}: commeshctl`;
  measure('second', productName, async (round) => {
    const like = first(board);
    warmLayer(board, like);
    const name = `second-${board}-${round}`;
    makeSite(name, board, like);
    flush();
    const { times, told } = build(productName, round, name);
    results.add(productName, round, times, told);
    forgetSite(name);
  });
  for (const tool of PEERS) {
    const name = `second site, ${board}: ${tool}`;
    measure('peers', name, async (round) => {
      const folder = await makeBase(board, first(board));
      const host = `second-${board}-${tool}-${round}`;
      clear(folder);
      writeOverlay(folder, host);
      flush();
      // None of these recipes runs a program of the image, so an arm64 one needs no emulation.
      const times = peer(log(name, round), folder, false, ...script(tool, archOf(board)));
      const image = tool === 'mkosi' ? 'image.raw' : 'image.img';
      peer(log(`${name} look`, round), folder, false, ...script('look', image, host));
      // What commeshctl does with every image and these tools leave to others.
      const finish = timeRun(['sh', '-euc', 'sync "$1"; sha256sum "$1"', 'sh', join(folder, image)], {
        log: log(`${name} finish`, round),
      });
      results.add(name, round, times, { 'on disk, with SHA-256': times.wall + finish.wall });
      clear(folder);
    });
  }
}

for (const board of boards) {
  const productName = `base layer, ${board}: commeshctl`;
  measure('cold', productName, async (round) => {
    const name = first(board);
    // Makes the tools tree, which is no part of the base layer.
    if (!existsSync(join(cache, 'trees'))) build(`prepare ${board}`, 0, name);
    for (const layer of Object.values(layersOf(name))) rmSync(layer, { recursive: true, force: true });
    flush();
    const { times, told } = build(productName, round, name);
    results.add(productName, round, times, told);
  });
  const plainName = `base layer, ${board}: mmdebstrap`;
  measure(
    'cold',
    plainName,
    async (round) => {
      const folder = await makeRepository(board, first(board));
      for (const made of ['base.tar', 'tmp']) rmSync(join(folder, made), { recursive: true, force: true });
      flush();
      const times = peer(
        log(plainName, round),
        folder,
        foreign(board),
        ...script('mmdebstrap', archOf(board)),
      );
      if (statSync(join(folder, 'base.tar')).size < 100e6) throw new Error('mmdebstrap made next to nothing');
      results.add(plainName, round, times);
    },
    foreign(board),
  );
}

// --- the run

if (process.getuid?.() !== 0) throw new Error('vmdb2 and debos need root: run this as root');
say(`work folder ${work}\nresults ${results.file}`);
if (measures.some(({ part }) => part === 'peers' || part === 'cold')) {
  await keep(tree, async (part) => {
    timeRun(['sh', join(recipes, 'tree.sh'), part, await archiveUri('debian')], {
      log: log('prepare tree', 0),
    });
  });
}
const failures: string[] = [];
for (let round = 0; round < Math.max(rounds, slowRounds); round += 1) {
  for (const one of measures) {
    if (round >= (one.slow ? slowRounds : rounds) || results.has(one.name, round)) continue;
    say(`round ${round + 1}: ${one.name}`);
    try {
      await one.run(round);
      say(`  ${seconds(results.of(one.name).at(-1)?.wall ?? null)}`);
    } catch (error) {
      // One that fails has no figure; the others have theirs.
      failures.push(
        `${one.name}, round ${round + 1}: ${error instanceof Error ? error.message : String(error)}`,
      );
      say(`  failed: ${failures.at(-1)}`);
    }
  }
}
process.stdout.write(report());
if (failures.length > 0) process.exitCode = 1;

// --- the report

function seconds(value: number | null): string {
  if (value === null) return 'not measured';
  return value < 100 ? `${value.toFixed(value < 10 ? 2 : 1)} s` : `${Math.round(value)} s`;
}

function goals(): [string, string, string][] {
  const base = (one: Result): number | undefined => one.told?.['base'];
  const rows: [string, string, string][] = [];
  const ratio = (a: number | null, b: number | null, format: (ratio: number) => string): string =>
    a === null || b === null ? 'not measured' : format(a / b);
  const pi = results.median('base layer, pi4: commeshctl', base);
  const pc = results.median('base layer, pc: commeshctl', base);
  const emulated = results.median('base layer, pi4: mmdebstrap');
  if (pi !== null || emulated !== null)
    rows.push([
      'cold arm64 base layer, of plain mmdebstrap under emulation',
      'at most 1/15',
      `${seconds(pi)} of ${seconds(emulated)}: ${ratio(emulated, pi, (r) => `1/${r.toFixed(1)}`)}`,
    ]);
  if (pi !== null || pc !== null)
    rows.push([
      'cold arm64 base layer, of the native amd64 one',
      'at most 1.5 times',
      `${seconds(pi)} of ${seconds(pc)}: ${ratio(pi, pc, (r) => `${r.toFixed(2)} times`)}`,
    ]);
  for (const board of ['pc', 'pi4']) {
    const own = results.median(`second site, ${board}: commeshctl`);
    if (own === null) continue;
    rows.push([`second site, raw image, ${board}`, 'under 3 s', seconds(own)]);
    for (const [what, figure] of [
      ['', (one: Result): number | undefined => one.wall],
      [' (on disk, with SHA-256)', (one: Result): number | undefined => one.told?.['on disk, with SHA-256']],
    ] as const) {
      const fastest = PEERS.map((tool) => ({
        tool,
        wall: results.median(`second site, ${board}: ${tool}`, figure),
      }))
        .filter((one): one is { tool: (typeof PEERS)[number]; wall: number } => one.wall !== null)
        .sort((a, b) => a.wall - b.wall)[0];
      if (fastest === undefined) continue;
      rows.push([
        `fastest of the others${what}, ${board}`,
        '50 times that',
        `${fastest.tool} ${seconds(fastest.wall)}: ${(fastest.wall / own).toFixed(2)} times`,
      ]);
    }
  }
  const curl = results.median('fetch: parallel curl');
  const curlOnDisk = results.median('fetch: parallel curl', (one) => one.told?.['on disk']);
  const fetched = results.median('fetch: empty cache, lock present');
  if (fetched !== null)
    rows.push([
      'fetch, warm connection, of a parallel curl',
      'at most 1.2 times',
      `${seconds(fetched)} of ${seconds(curl)}: ${ratio(fetched, curl, (r) => `${r.toFixed(2)} times`)}; with curl's files on the disk, ${seconds(curlOnDisk)}: ${ratio(fetched, curlOnDisk, (r) => `${r.toFixed(2)} times`)}`,
    ]);
  for (const [name, goal] of [
    ['fetch: nothing to do', 'under 1 s'],
    ['fetch: resolves anew, nothing to get', ''],
    ['check', 'under 0.5 s'],
    ['plan', 'under 0.5 s'],
  ] as const)
    if (results.measures.includes(name)) rows.push([name, goal, seconds(results.median(name))]);
  return rows;
}

function report(): string {
  const cpu = cpus();
  const machine = `${cpu.length} × ${cpu[0]?.model ?? 'CPU'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.version}`;
  const every = results.measures.map((name): string => {
    const all = results.of(name).map((one) => one.wall);
    const told = results.of(name)[0]?.told;
    const extra = Object.keys(told ?? {})
      .filter((key) => !key.includes('/'))
      .map((key) => `${key} ${seconds(results.median(name, (one) => one.told?.[key]))}`)
      .join(', ');
    const cpuTime = results.median(name, (one) => one.user + one.system);
    return `| ${name} | ${seconds(results.median(name))} | ${seconds(Math.min(...all))} to ${seconds(Math.max(...all))} | ${seconds(cpuTime)} | ${all.length} | ${extra} |`;
  });
  const failed = failures.map((text) => `- ${text.split('\n')[0]}`);
  return [
    `${machine}; ${new Date().toISOString().slice(0, 10)}; medians`,
    '',
    '| | goal | figure |',
    '|---|---|---|',
    ...goals().map((row) => `| ${row.join(' | ')} |`),
    '',
    '| measure | wall | least to most | CPU | rounds | of it |',
    '|---|---|---|---|---|---|',
    ...every,
    '',
    ...(failed.length > 0 ? ['Failed:', ...failed, ''] : []),
  ].join('\n');
}
