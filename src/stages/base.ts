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
import { dirname, join } from 'node:path';
import { hashFile, readTextIfThere, sha256, syncFolder } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import type { Tools } from '../host/tools.js';
import { packageRoot } from '../host/paths.js';
import type { LockPackage } from '../mirror/types.js';
import { removeTree } from './remove.js';
import { indexTar, type IndexEntry } from './tar-index.js';
import type { BaseLayer, Stage } from './types.js';

type BaseStage = Extract<Stage, { type: 'base' }>;

export interface BaseInputs {
  readonly tools: Tools;
  /** Needs an emulator for programs of the target. */
  readonly layersFolder: string;
  readonly packages: readonly LockPackage[];
  readonly boot: readonly LockPackage[];
  readonly debPath: (one: LockPackage) => string;
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
  const forget = host.onClose(() => removeTree(host, part));
  try {
    const [inFolder, out, work, mirror] = ['in', 'out', 'work', 'mirror'].map((name) => join(part, name)) as [
      string,
      string,
      string,
      string,
    ];
    for (const one of [inFolder, out, work, mirror]) await mkdir(one, { recursive: true });
    await writeRepository(host, mirror, inputs);
    for (const hook of ['essential.sh', 'customize.sh']) {
      await cp(join(packageRoot(), 'templates/base', hook), join(inFolder, hook));
    }
    await writeFile(
      join(inFolder, 'users'),
      options.users
        .map((user) => `${user.name}:${user.home}:${user.shell}:${user.groups.join(',')}\n`)
        .join(''),
    );
    await writeFile(join(inFolder, 'initramfs.conf'), options.initramfs.conf);
    await writeFile(join(inFolder, 'initramfs.hook'), options.initramfs.hook);

    let configured = 0;
    const total = options.packages.length;
    await inputs.tools.run(
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
          { from: out, to: '/mnt/out' },
          { from: work, to: '/mnt/work' },
        ],
        env: {
          TMPDIR: '/mnt/work',
          SOURCE_DATE_EPOCH: String(options.epoch),
          // One initramfs, at the end, instead of one per package that asks.
          INITRD: 'No',
          DEBIAN_FRONTEND: 'noninteractive',
        },
        onStdoutLine: onLine,
        onStderrLine: onLine,
        title: 'installing the packages',
      },
    );
    function onLine(line: string): void {
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

    await unpackBoot(host, inputs, out);
    const { entries, end } = await indexTar(join(out, 'base.tar'));
    await truncate(join(out, 'base.tar'), end);
    await writeFile(join(out, 'index.jsonl'), entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
    await writeFile(join(out, '.complete'), `${await digestOf(out)}\n`);
    await syncFolder(out);
    await rm(folder, { recursive: true, force: true });
    await rename(out, folder);
  } finally {
    await removeTree(host, part);
    forget();
  }
}

/**
 * A repository of exactly the locked packages, described by the control data of the verified .debs themselves. Their
 * signatures were checked with the cache; here there is one version of each package, so nothing is left to resolve.
 */
async function writeRepository(host: Host, folder: string, inputs: BaseInputs): Promise<void> {
  await mkdir(join(folder, 'pool'));
  const stanzas: string[] = [];
  const queue = [...inputs.packages];
  const worker = async (): Promise<void> => {
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
      const from = inputs.debPath(one);
      const to = join(folder, 'pool', `${one.sha256}.deb`);
      await link(from, to).catch(() => copyFile(from, to));
      const { stdout } = await host.exec(['dpkg-deb', '--field', from], { title: `reading ${one.name}` });
      stanzas.push(
        `${stdout.trimEnd()}\nFilename: pool/${one.sha256}.deb\nSize: ${one.size}\nSHA256: ${one.sha256}\n`,
      );
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  await writeFile(join(folder, 'Packages'), stanzas.sort().join('\n'));
  await writeFile(join(folder, 'Release'), 'Suite: trixie\nCodename: trixie\n');
}

/** Takes out of the boot packages the files a boot loader needs. */
async function unpackBoot(host: Host, inputs: BaseInputs, out: string): Promise<void> {
  const unpacked = join(dirname(out), 'boot-packages');
  await mkdir(unpacked);
  for (const one of inputs.boot) {
    await host.exec(
      [
        'sh',
        '-euc',
        'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" --no-same-owner',
        'sh',
        inputs.debPath(one),
        unpacked,
      ],
      {
        title: `unpacking ${one.name}`,
      },
    );
  }
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
