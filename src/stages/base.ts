import { existsSync } from 'node:fs';
import {
  copyFile,
  cp,
  link,
  mkdir,
  readFile,
  readdir,
  rename,
  rm,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { freemem } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { InterruptedError, ToolError, WorkError } from '../diagnostics/errors.js';
import { NPM_SET, wheelsSet } from '../services/contract.js';
import { extractTarball } from '../host/tarball.js';
import { hashFile, readTextIfThere, sha256, syncFolder } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import type { Tools } from '../host/tools.js';
import { packageRoot } from '../host/paths.js';
import type { LockPackage } from '../mirror/types.js';
import { removeTree } from './remove.js';
import { indexTar, type IndexEntry } from './tar-index.js';
import type { BaseLayer, Stage } from './types.js';

/** Free memory with which a tree is made there: about four times its size, for half of the memory is what a tmpfs may take. */
const MEMORY_FOR_TREE = 8 * 2 ** 30;

type BaseStage = Extract<Stage, { type: 'base' }>;

export interface BaseInputs {
  /** Runs programs of the target, too. */
  readonly tools: Tools;
  /** Folder of native twins (src/twins), null where everything is native or emulated. */
  readonly twins: string | null;
  readonly layersFolder: string;
  readonly packages: readonly LockPackage[];
  readonly boot: readonly LockPackage[];
  readonly debPath: (one: LockPackage) => string;
  /** Where a file of a set of other sources lies, by name of the project or package. */
  readonly artifactPath: (set: string, name: string) => string;
  /** Looks at the tree's archive before it is kept; throws to refuse it. */
  readonly inspect: (tar: string) => Promise<void>;
  /** The stanza of a package in its signed index (latin1 text). */
  readonly stanza: (one: LockPackage) => string;
}

/**
 * Makes the base layer of a stage, or finds it in the cache: all packages installed and configured, nothing of any site.
 * Runs in the tools tree, where no network exists.
 */
export async function ensureBaseLayer(host: Host, stage: BaseStage, inputs: BaseInputs): Promise<BaseLayer> {
  const folder = join(inputs.layersFolder, stage.id.slice(0, 32));
  const known = await readTextIfThere(join(folder, '.complete'));
  // A cached layer enters the image like a package does: not unread.
  if (known === null || (await digestOf(folder)) !== known.trim()) {
    await timed(
      host,
      'base',
      `install ${stage.options.packages.length} packages (${stage.options.arch})`,
      () => makeBaseLayer(host, stage, inputs, folder),
    );
  } else {
    host.emit({ type: 'begin', id: 'base', title: `base layer ${stage.id.slice(0, 12)}` });
    host.emit({ type: 'end', id: 'base', state: 'cached', milliseconds: 0 });
  }
  return layerAt(folder, stage.id);
}

/** Digest over every file of a layer, by path; a file that cannot be read counts as a difference. */
async function digestOf(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile() && entry.name !== '.complete')
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
  const digests: string[] = [];
  for (const path of paths) digests.push(`${path} ${(await hashFile(join(folder, path))).sha256}`);
  return sha256(digests.join('\n'));
}

function layerAt(folder: string, id: string): BaseLayer {
  return {
    id,
    tar: join(folder, 'base.tar'),
    boot: join(folder, 'boot'),
    passwd: join(folder, 'passwd'),
    group: join(folder, 'group'),
    index: join(folder, 'index.jsonl'),
  };
}

async function makeBaseLayer(
  host: Host,
  stage: BaseStage,
  inputs: BaseInputs,
  folder: string,
): Promise<void> {
  const { options } = stage;
  await mkdir(inputs.layersFolder, { recursive: true });
  const part = `${folder}.${process.pid}.part`;
  const forget = host.onClose(() => removeTree(host, part, inputs.tools));
  try {
    const [inFolder, out, work, mirror] = ['in', 'out', 'work', 'mirror'].map((name) => join(part, name)) as [
      string,
      string,
      string,
      string,
    ];
    for (const one of [inFolder, out, work, mirror]) await mkdir(one, { recursive: true });
    await writeRepository(mirror, inputs);
    await cp(join(packageRoot(), 'templates/base'), inFolder, { recursive: true });
    await writeFile(
      join(inFolder, 'users'),
      options.users
        .map((user) => `${user.name}:${user.home}:${user.shell}:${user.groups.join(',')}\n`)
        .join(''),
    );
    await writeFile(join(inFolder, 'initramfs.conf'), options.initramfs.conf);
    await writeFile(join(inFolder, 'initramfs.hook'), options.initramfs.hook);

    await offerArtifacts(host, options, inputs, inFolder);

    // For the developers of src/twins: a file (of mode 0666) that gets a line for every emulated program.
    const trace = host.env['COMMESHCTL_TWINS_TRACE'];
    const inMemory = freemem() >= MEMORY_FOR_TREE;
    const said: string[] = [];
    let configured = 0;
    const total = options.packages.length;
    await inputs.tools
      .run(
        [
          'mmdebstrap',
          '--verbose',
          '--mode=root',
          '--format=tar',
          '--variant=essential',
          `--architectures=${options.arch}`,
          `--include=${options.packages.map((one) => `${one.name}=${one.version}`).join(',')}`,
          '--aptopt=APT::Install-Recommends "false"',
          '--aptopt=APT::Sandbox::User "root"',
          '--aptopt=Acquire::Languages "none"',
          '--dpkgopt=force-unsafe-io',
          ...options.excludes.map((glob) => `--dpkgopt=path-exclude=${glob}`),
          '--dpkgopt=path-include=/usr/share/doc/*/copyright',
          '--extract-hook=sh /mnt/in/extract.sh "$1"',
          '--essential-hook=sh /mnt/in/essential.sh "$1"',
          '--customize-hook=sh /mnt/in/customize.sh "$1"',
          // The hook has removed apt's files already.
          '--skip=cleanup/apt',
          // The emulator is ours, in a namespace of its own; arch-test would look for the host's.
          '--skip=check/qemu',
          'trixie',
          '/mnt/out/base.tar',
          'deb [trusted=yes] copy:/mnt/mirror ./',
        ],
        {
          ids: 'range',
          binds: [
            { from: inFolder, to: '/mnt/in', readOnly: true },
            { from: mirror, to: '/mnt/mirror', readOnly: true },
            ...(inputs.twins === null ? [] : [{ from: inputs.twins, to: '/mnt/twins', readOnly: true }]),
            ...(trace === undefined ? [] : [{ from: trace, to: '/mnt/trace' }]),
            { from: out, to: '/mnt/out' },
            // Else it is in memory, as all of /mnt that is not bound: a fifth less time.
            ...(inMemory ? [] : [{ from: work, to: '/mnt/work' }]),
          ],
          env: {
            TMPDIR: inMemory ? '/mnt' : '/mnt/work',
            SOURCE_DATE_EPOCH: String(options.epoch),
            // One initramfs, at the end, instead of one per package that asks.
            INITRD: 'No',
            DEBIAN_FRONTEND: 'noninteractive',
          },
          onStdoutLine: onLine,
          onStderrLine: onLine,
          title: 'installing the packages',
        },
      )
      .catch((error: unknown) => {
        if (!(error instanceof ToolError)) throw error;
        throw new ToolError(['mmdebstrap'], error.status, said.slice(-20).join('\n'), {
          title: 'installing the packages',
        });
      });
    function onLine(line: string): void {
      // After a failure mmdebstrap tries to remove the twins, too: they are mounted read-only, and it complains of each.
      if (!line.includes('/.twins/')) said.push(line);
      if (said.length > 200) said.splice(0, 100);
      if (/^Setting up /.test(line)) {
        configured += 1;
        host.emit({
          type: 'progress',
          id: 'base',
          done: Math.min(configured, total),
          total,
          unit: 'items',
          note: line.replace(/^Setting up (\S+).*$/, '$1'),
        });
      }
      host.emit({ type: 'log', level: 'debug', text: line });
    }

    await unpackBoot(inputs, out);
    await inputs.inspect(join(out, 'base.tar'));
    const { entries, end } = await indexTar(join(out, 'base.tar'));
    await truncate(join(out, 'base.tar'), end);
    await writeFile(join(out, 'index.jsonl'), entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
    await writeFile(join(out, '.complete'), `${await digestOf(out)}\n`);
    await syncFolder(out);
    await rm(folder, { recursive: true, force: true });
    await rename(out, folder);
  } finally {
    await removeTree(host, part, inputs.tools);
    forget();
  }
}

/** A verified .deb under its digest, so that the tools tree need not see the whole cache. */
async function offer(one: LockPackage, inputs: BaseInputs, folder: string): Promise<void> {
  const to = join(folder, `${one.sha256}.deb`);
  await link(inputs.debPath(one), to).catch(() => copyFile(inputs.debPath(one), to));
}

/** Wheels, and files out of npm packages as they shall lie in the tree, for the customize hook. */
async function offerArtifacts(
  host: Host,
  options: BaseStage['options'],
  inputs: BaseInputs,
  folder: string,
): Promise<void> {
  for (const { id, system, files } of options.wheels ?? []) {
    const to = join(folder, 'wheels', id);
    await mkdir(to, { recursive: true });
    if (system) await writeFile(join(to, 'system'), '');
    for (const { name } of files) {
      const from = inputs.artifactPath(wheelsSet(id), name);
      await link(from, join(to, basename(from))).catch(() => copyFile(from, join(to, basename(from))));
    }
  }
  for (const { name, version, files } of options.tarballs ?? []) {
    const taken = await extractTarball(inputs.artifactPath(NPM_SET, name), join(folder, 'overlay'), files);
    const missing = files.filter(({ from }) => !taken.has(from));
    if (missing.length > 0)
      throw new WorkError(`the npm package ${name} ${version} has no ${missing[0]?.from}`, {
        hint: 'this version of commeshctl expects another version of the package',
      });
    if (host.signal.aborted) throw new InterruptedError();
  }
}

/**
 * A repository of exactly the locked packages, described by the stanzas of the signed indexes. Signatures were checked with the
 * cache; here there is one version of each package, so nothing is left to resolve.
 */
async function writeRepository(folder: string, inputs: BaseInputs): Promise<void> {
  await mkdir(join(folder, 'pool'));
  await Promise.all(inputs.packages.map((one) => offer(one, inputs, join(folder, 'pool'))));
  const stanzas = inputs.packages.map((one) =>
    inputs.stanza(one).replace(/^Filename: .*$/m, `Filename: pool/${one.sha256}.deb`),
  );
  await writeFile(join(folder, 'Packages'), stanzas.sort().join('\n'), 'latin1');
  await writeFile(join(folder, 'Release'), 'Suite: trixie\nCodename: trixie\n');
}

/** Takes out of the boot packages the files a boot loader needs. */
async function unpackBoot(inputs: BaseInputs, out: string): Promise<void> {
  const pool = join(dirname(out), 'boot-pool');
  const unpacked = join(dirname(out), 'boot-packages');
  await mkdir(pool);
  await mkdir(unpacked);
  await Promise.all(inputs.boot.map((one) => offer(one, inputs, pool)));
  await inputs.tools.run(
    ['sh', '-euc', 'for deb in /mnt/pool/*.deb; do dpkg-deb --extract "$deb" /mnt/out; done'],
    {
      binds: [
        { from: pool, to: '/mnt/pool', readOnly: true },
        { from: unpacked, to: '/mnt/out' },
      ],
      title: 'unpacking the boot packages',
    },
  );
  const wanted: readonly (readonly [from: string, to: string])[] = [
    ['usr/lib/raspi-firmware', 'firmware'],
    ['usr/lib/grub/i386-pc', 'grub-i386-pc'],
    ['usr/lib/shim/shimx64.efi.signed', 'shimx64.efi.signed'],
    ['usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed', 'grubx64.efi.signed'],
  ];
  for (const [from, to] of wanted) {
    if (existsSync(join(unpacked, from)))
      await cp(join(unpacked, from), join(out, 'boot', to), { recursive: true });
  }
}

/** Reads the index a base layer was written with. */
export async function readIndex(layer: Pick<BaseLayer, 'index'>): Promise<IndexEntry[]> {
  const text = await readFile(layer.index, 'utf8');
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as IndexEntry);
}
