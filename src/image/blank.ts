import { copyFile, mkdir, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { WorkError } from '../diagnostics/errors.js';
import { hashFile, readTextIfThere, syncFolder } from '../host/files.js';
import type { Host } from '../host/host.js';
import type { Tools } from '../host/tools.js';
import type { Base, Board } from '../services/contract.js';
import { biosCore } from './boot/bios.js';
import { bootPlan, listBootFolder } from './boot/plan.js';
import { bootBytes, type BootPlan } from './boot/types.js';
import { createBmap, formatBmap, parseBmap, type Bmap } from './bmap.js';
import { makeExt4, makeFat } from './filesystems.js';
import { diskLayout, ext4Content, imageIds, JOURNAL_MIB, type DiskLayout } from './layout.js';
import { encodeMbr, SECTOR, type MbrEntry } from './mbr.js';
import { checkOverlay } from './overlay.js';
import type { ImagePartition, TarPart } from './types.js';

/** Everything a blank disk is made of: nothing of any site. The same values (paths aside) give the same bytes. */
export interface BlankSpec {
  /** Lower-case hex SHA-256 that names the content: UUIDs, volume id and hash seed are derived from it. */
  readonly id: string;
  /** Seconds since 1970; every time stamp. */
  readonly epoch: number;
  readonly board: Board;
  readonly base: Base;
  /** Folder with kernel, initramfs, device trees, firmware or boot loader, as the base layer leaves it. */
  readonly boot: string;
  readonly root: readonly TarPart[];
  /** Small files of the base layer that the making of a site needs; they are kept beside the disk under these names. */
  readonly companions: Readonly<Record<string, string>>;
}

/**
 * A disk with boot and root partition at their places and no site in it: what every site with the same packages and board begins
 * with. It is kept with a block map; whoever copies it checks every byte.
 */
export interface Blank {
  readonly folder: string;
  readonly image: string;
  readonly map: Bmap;
  readonly board: Board;
  readonly partitions: readonly [boot: ImagePartition, root: ImagePartition];
  /** Path of a companion. */
  companion(name: string): string;
}

/** Written last: says that a blank is whole, and what it is. */
const COMPLETE = '.complete';

interface Complete {
  readonly board: Board;
  readonly partitions: Blank['partitions'];
  /** SHA-256 of the map and the companions. */
  readonly files: Readonly<Record<string, string>>;
}

/** The blank disk in a folder, or null when there is none or one of its small files is damaged. The disk itself is not read. */
export async function findBlank(folder: string): Promise<Blank | null> {
  const text = await readTextIfThere(join(folder, COMPLETE));
  if (text === null) return null;
  try {
    const { board, partitions, files } = JSON.parse(text) as Complete;
    for (const [name, sha256] of Object.entries(files)) {
      if ((await hashFile(join(folder, name))).sha256 !== sha256) return null;
    }
    const image = join(folder, 'disk.img');
    const map = parseBmap((await readTextIfThere(join(folder, 'disk.bmap'))) ?? '', 'disk.bmap');
    if ((await stat(image)).size !== map.imageSize) return null;
    return { folder, image, map, board, partitions, companion: (name) => join(folder, name) };
  } catch {
    // Whatever cannot be read is made again.
    return null;
  }
}

/**
 * Makes a blank disk in place of what is in its folder: table, boot partition and root, in one sparse file; no root, no loop device,
 * no network.
 * @throws WorkError, ToolError.
 */
export async function makeBlank(host: Host, tools: Tools, spec: BlankSpec, folder: string): Promise<Blank> {
  checkOverlay(spec.root);
  const ids = imageIds(spec.id);
  const plan = bootPlan(spec.board, spec.base, listBootFolder(spec.boot));
  const layout = diskLayout({
    board: spec.board,
    bootBytes: bootBytes(plan),
    bootFiles: plan.files.length,
    root: ext4Content(spec.root.flatMap((part) => part.members)),
    ids,
  });
  await mkdir(dirname(folder), { recursive: true });
  const part = await host.temporary(`.${basename(folder)}`, dirname(folder));
  try {
    const work = join(part, 'work');
    await mkdir(work);
    const image = join(part, 'disk.img');
    const making: Making = { tools, image, work, spec, plan, layout };
    await writeStart(making);
    await fill(making);
    await rm(work, { recursive: true });
    const { map } = await createBmap(host, image);
    await writeFile(join(part, 'disk.bmap'), formatBmap(map, basename(folder)));
    for (const [name, from] of Object.entries(spec.companions)) await copyFile(from, join(part, name));
    const files: Record<string, string> = {};
    for (const name of ['disk.bmap', ...Object.keys(spec.companions)])
      files[name] = (await hashFile(join(part, name))).sha256;
    const complete: Complete = { board: spec.board, partitions: layout.partitions, files };
    await writeFile(join(part, COMPLETE), `${JSON.stringify(complete)}\n`);
    for (const name of ['disk.img', ...Object.keys(files), COMPLETE]) {
      const file = await open(join(part, name), 'r+');
      await file.sync().finally(() => file.close());
    }
    await syncFolder(part);
    await rm(folder, { recursive: true, force: true });
    await rename(part, folder);
    await syncFolder(dirname(folder));
  } finally {
    await rm(part, { recursive: true, force: true });
  }
  const made = await findBlank(folder);
  if (made === null) throw new WorkError(`the disk just made in ${folder} cannot be read back`);
  return made;
}

/** The entries of the partition table. */
export function tableEntries(board: Board, partitions: readonly ImagePartition[]): readonly MbrEntry[] {
  return partitions.map(({ number, type, start, size }) => ({
    // Some BIOSes start nothing from a disk without an active partition.
    bootable: board === 'pc' && number === 1,
    type,
    start: start / SECTOR,
    sectors: size / SECTOR,
  }));
}

/** A blank disk in the making. */
interface Making {
  readonly tools: Tools;
  /** The file it becomes. */
  readonly image: string;
  /** A folder for what is needed on the way. */
  readonly work: string;
  readonly spec: BlankSpec;
  readonly plan: BootPlan;
  readonly layout: DiskLayout;
}

/** The empty disk: its size, a table and, for a PC's BIOS, the boot code. */
async function writeStart({ tools, image, work, spec, plan, layout }: Making): Promise<void> {
  const code = plan.bios === null ? null : await biosCore(tools, spec.boot, work, plan.bios);
  const room = layout.partitions[0].start - SECTOR;
  if (code !== null && code.core.length > room) {
    throw new WorkError(`GRUB's core image has ${code.core.length} bytes; there is room for ${room}`);
  }
  // The disk id is the site's.
  const table = encodeMbr(0, tableEntries(spec.board, layout.partitions), code?.boot);
  const file = await open(image, 'wx');
  try {
    await file.truncate(layout.size);
    await file.write(table, 0, table.length, 0);
    if (code !== null) await file.write(code.core, 0, code.core.length, SECTOR);
  } finally {
    await file.close();
  }
}

/** Both file systems, side by side: each program writes only its own part of the file. */
async function fill({ tools, image, work, spec, plan, layout }: Making): Promise<void> {
  const [boot, root] = layout.partitions;
  const ids = imageIds(spec.id);
  const texts = join(work, 'texts');
  await mkdir(texts);
  await Promise.all(
    plan.files.map((file, index) =>
      'text' in file ? writeFile(join(texts, String(index)), file.text) : undefined,
    ),
  );
  const results = await Promise.allSettled([
    makeExt4(tools, {
      image,
      partition: root,
      hashSeed: ids.root.hashSeed,
      epoch: spec.epoch,
      inodes: layout.rootInodes,
      journalMiB: JOURNAL_MIB.root,
      growable: false,
      tars: spec.root.map((part) => part.tar),
    }),
    makeFat(tools, {
      image,
      partition: boot,
      volumeId: ids.volume,
      epoch: spec.epoch,
      clusterSectors: layout.clusterSectors,
      files: plan.files,
      boot: spec.boot,
      texts,
    }),
  ]);
  // Both have ended before anything is removed.
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}
