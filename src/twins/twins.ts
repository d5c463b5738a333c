import { existsSync } from 'node:fs';
import {
  chmod,
  copyFile,
  link,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { sha256, syncFolder } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import type { Tools } from '../host/tools.js';
import type { LockPackage } from '../mirror/types.js';
import { DISPATCH, MACHINE } from './binaries.js';
import { MACHINES, readElf, type Elf } from './elf.js';
import { EMULATED_PROGRAMS, PERL_MODULE, TWIN_PACKAGES } from './programs.js';

/** Where the twins lie inside a tree while it is made. */
export const TWINS_ROOT = '/.twins';

/** Changes when the way twins are made changes. */
const RECIPE = 1;

const LIBRARIES = '/usr/lib/x86_64-linux-gnu';
// As long as the name it replaces: it stands in tables of strings that cannot grow.
const TWIN_LIBRARIES = `${TWINS_ROOT}/lib/amd64-twinset`;
const LOADER = 'ld-linux-x86-64.so.2';
const PRELOAD = '/etc/ld.so.preload';
const TWIN_PRELOAD = `${TWINS_ROOT}/ld.preload`;

export interface TwinInputs {
  /** The programs of the build. */
  readonly tools: Tools;
  /** Where trees are kept. */
  readonly folder: string;
  /** Packages of the tree, of the other architecture. */
  readonly system: readonly LockPackage[];
  /** Packages of this machine's architecture (`twinsSet`). */
  readonly natives: readonly LockPackage[];
  /** The verified .deb of a package. */
  readonly debPath: (one: LockPackage) => string;
  /** A static qemu-user for the programs without a twin. */
  readonly emulator: string;
}

export interface Twins {
  /** Folder to be shown as `TWINS_ROOT` inside the tree that is made. */
  readonly path: string;
  /** The interpreter to register for programs of the other architecture. */
  readonly dispatcher: string;
  readonly id: string;
}

/** A package of the tree and the native one of the same source. */
interface Pair {
  readonly foreign: LockPackage;
  readonly native: LockPackage;
}

/**
 * Pairs of the same source version; only such twins do the same. Without a native package for each compiled Perl module of the tree
 * Perl stays emulated: a script that finds a module missing may go on and do something else.
 */
export function pairsOf(system: readonly LockPackage[], natives: readonly LockPackage[]): readonly Pair[] {
  const twinOf = (one: LockPackage): LockPackage | undefined =>
    natives.find(
      ({ name, source, sourceVersion }) =>
        name === one.name && source === one.source && sourceVersion === one.sourceVersion,
    );
  const perl = system.every(
    (one) => one.arch === 'all' || !PERL_MODULE.test(one.name) || twinOf(one) !== undefined,
  );
  return system.flatMap((foreign) => {
    if (!(foreign.name in TWIN_PACKAGES) || foreign.arch === 'all') return [];
    if (!perl && (foreign.name === 'perl' || foreign.name === 'perl-base')) return [];
    const native = twinOf(foreign);
    return native === undefined ? [] : [{ foreign, native }];
  });
}

/** Content id of a folder of twins. */
export function twinsId(inputs: Pick<TwinInputs, 'system' | 'natives'>): string {
  const pairs = pairsOf(inputs.system, inputs.natives);
  return sha256(
    [
      `twins ${RECIPE}`,
      DISPATCH,
      MACHINE,
      ...Object.keys(EMULATED_PROGRAMS),
      ...pairs.map(({ foreign, native }) => `${foreign.sha256} ${native.sha256}`).sort(),
      ...inputs.natives.map((one) => one.sha256).sort(),
    ].join('\n'),
  );
}

/**
 * Makes the native twins for a tree, or finds them in the cache (README.md beside this file). No script of any package is run.
 * @throws ToolError, WorkError.
 */
export async function ensureTwins(host: Host, inputs: TwinInputs): Promise<Twins> {
  const id = twinsId(inputs);
  const path = join(inputs.folder, `twins-${id.slice(0, 16)}`);
  const twins: Twins = { path, dispatcher: join(path, 'dispatch'), id };
  if (existsSync(join(path, '.complete'))) return twins;
  await timed(
    host,
    'twins',
    'native twins for the programs of the target',
    () => makeTwins(host, inputs, path, id),
    (count) => ({ note: `${count} programs` }),
  );
  return twins;
}

async function makeTwins(host: Host, inputs: TwinInputs, path: string, id: string): Promise<number> {
  await mkdir(inputs.folder, { recursive: true });
  const part = `${path}.${process.pid}.part`;
  const forget = host.onClose(() => rm(part, { recursive: true, force: true }));
  try {
    const [work, out] = [join(part, 'work'), join(part, 'out')];
    await mkdir(join(out, 't'), { recursive: true });
    const pairs = pairsOf(inputs.system, inputs.natives);
    const { native, foreign } = await unpack(inputs, work, pairs);
    let count = 0;
    for (const pair of pairs)
      count += await twinPrograms(join(foreign, pair.foreign.name), native, out, pair.foreign.name);
    await twinLibraries(join(native, LIBRARIES), join(out, TWIN_LIBRARIES.slice(TWINS_ROOT.length)));
    await writeLoader(native, out);
    await writeFile(join(out, 'dispatch'), gunzipSync(Buffer.from(DISPATCH, 'base64')), { mode: 0o755 });
    await copyFile(inputs.emulator, join(out, 'qemu-aarch64'));
    await chmod(join(out, 'qemu-aarch64'), 0o755);
    // What the dispatcher writes to when a build shows a real file in its place (templates/base/extract.sh).
    await writeFile(join(out, 'trace'), '');
    await writeFile(join(out, '.complete'), `${id}\n`);
    await syncFolder(out);
    await rename(out, path);
    return count;
  } finally {
    await rm(part, { recursive: true, force: true });
    forget();
  }
}

/** Unpacks the native packages into one tree, and of the foreign ones the programs, each package into a folder of its own. */
async function unpack(
  inputs: TwinInputs,
  work: string,
  pairs: readonly Pair[],
): Promise<{ native: string; foreign: string }> {
  const [debs, native, foreign] = [join(work, 'debs'), join(work, 'native'), join(work, 'foreign')];
  for (const folder of [debs, join(native, 'usr'), foreign]) await mkdir(folder, { recursive: true });
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    await mkdir(join(native, 'usr', name));
    await symlink(`usr/${name}`, join(native, name));
  }
  const jobs: string[] = [];
  const add = async (one: LockPackage, to: string): Promise<void> => {
    const deb = join(debs, `${jobs.length}.deb`);
    const from = inputs.debPath(one);
    await link(from, deb).catch(() => copyFile(from, deb));
    await mkdir(to, { recursive: true });
    jobs.push(`/mnt/twins/debs/${jobs.length}.deb /mnt/twins${to.slice(work.length)}`);
  };
  for (const one of inputs.natives) await add(one, native);
  for (const { foreign: one } of pairs) await add(one, join(foreign, one.name));
  await inputs.tools.run(
    [
      'xargs',
      '-P4',
      '-n2',
      'bash',
      '-euo',
      'pipefail',
      '-c',
      'dpkg-deb --fsys-tarfile "$0" | tar -x -C "$1" --keep-directory-symlink --no-same-owner --exclude=./usr/share --exclude=./etc --exclude=./var',
    ],
    {
      input: `${jobs.join('\n')}\n`,
      binds: [{ from: work, to: '/mnt/twins' }],
      title: 'unpacking the twins',
    },
  );
  return { native, foreign };
}

/** Twins of all programs of one package. @returns how many. */
async function twinPrograms(package_: string, native: string, out: string, name: string): Promise<number> {
  const entries = await readdir(package_, { recursive: true, withFileTypes: true });
  let count = 0;
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name).slice(package_.length);
    if (entry.name in EMULATED_PROGRAMS) continue;
    const foreign = readElf(await readFile(join(package_, path)));
    // A library has no interpreter, a static program needs no twin: neither is run as one.
    if (foreign?.machine !== MACHINES.arm64 || foreign.interpreter === null || foreign.buildId === null)
      continue;
    const bytes = await readFile(join(native, canonical(path))).catch(() => null);
    const twin = bytes === null ? null : readElf(bytes);
    if (bytes === null || twin?.machine !== MACHINES.amd64) continue;
    const patched = patchProgram(bytes, twin, name);
    if (patched === null) continue;
    const to = join(out, 't', foreign.buildId, entry.name);
    await mkdir(dirname(to), { recursive: true });
    await writeFile(to, patched, { mode: 0o755 });
    count += 1;
  }
  return count;
}

/** A path on a system with a merged /usr. */
function canonical(path: string): string {
  return path.replace(/^\/(bin|sbin|lib|lib64)\//, '/usr/$1/');
}

/**
 * A program that takes loader and libraries from the twins' folder; null when it has libraries of its own elsewhere, where it would
 * find those of the tree.
 */
export function patchProgram(bytes: Buffer, elf: Elf, packageName: string): Buffer | null {
  if (elf.interpreter === null) return null;
  if (elf.runPaths.some((path) => path !== LIBRARIES && !path.startsWith(`${LIBRARIES}/`))) return null;
  const loader = `${TWINS_ROOT}/ld.so`;
  if (elf.interpreter.size <= loader.length) return null;
  const patched = Buffer.from(bytes);
  patched.fill(0, elf.interpreter.offset, elf.interpreter.offset + elf.interpreter.size);
  patched.write(loader, elf.interpreter.offset, 'latin1');
  replaceAll(patched, LIBRARIES, TWIN_LIBRARIES);
  // dpkg's own architecture is compiled in; a tree's dpkg is of the tree's.
  if (packageName === 'dpkg') {
    replaceAll(patched, '\0amd64\0', '\0arm64\0');
    replaceAll(patched, ' (amd64)\0', ' (arm64)\0');
  }
  return patched;
}

/** Replaces text in place. Both are of the same length, so that nothing moves. */
export function replaceAll(bytes: Buffer, from: string, to: string): number {
  if (from.length !== to.length) throw new Error(`"${to}" is not as long as "${from}"`);
  let count = 0;
  for (let at = bytes.indexOf(from, 0, 'latin1'); at >= 0; at = bytes.indexOf(from, at + 1, 'latin1')) {
    bytes.write(to, at, 'latin1');
    count += 1;
  }
  return count;
}

async function twinLibraries(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await twinLibraries(source, target);
    else if (entry.isSymbolicLink()) await symlink(await readlink(source), target);
    else if (entry.isFile() && !entry.name.endsWith('.a')) {
      const bytes = await readFile(source);
      replaceAll(bytes, LIBRARIES, TWIN_LIBRARIES);
      await writeFile(target, bytes, { mode: 0o755 });
    }
  }
}

/** The native loader, and what it loads into every twin. */
async function writeLoader(native: string, out: string): Promise<void> {
  const loader = await readFile(join(native, LIBRARIES, LOADER));
  replaceAll(loader, LIBRARIES, TWIN_LIBRARIES);
  if (replaceAll(loader, `${PRELOAD}\0`, `${TWIN_PRELOAD}\0`) !== 1)
    throw new Error(`${basename(LOADER)} names ${PRELOAD} not once`);
  await writeFile(join(out, 'ld.so'), loader, { mode: 0o755 });
  await writeFile(join(out, 'machine.so'), gunzipSync(Buffer.from(MACHINE, 'base64')), { mode: 0o755 });
  await writeFile(join(out, 'ld.preload'), `${TWINS_ROOT}/machine.so\n`);
}
