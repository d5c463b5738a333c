import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { WorkError } from '../diagnostics/errors.js';
import { syncFolder, writeAtomic } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import type { Tools } from '../host/tools.js';
import { bootPlan, listBootFolder } from './boot/plan.js';
import { biosCore } from './boot/bios.js';
import { bootBytes, type BootPlan } from './boot/types.js';
import { compressImage } from './compress.js';
import { makeExt4, makeFat } from './filesystems.js';
import { ext4Content, imageIds, JOURNAL_MIB, layoutOf, type ImageIds, type Layout } from './layout.js';
import { encodeMbr, SECTOR } from './mbr.js';
import { checkOverlay } from './overlay.js';
import { makeBmap } from './bmap.js';
import type { BuiltImage, ImageSpec } from './types.js';

/**
 * Builds an image: partition table, boot partition, root and data, written once, in place, into one sparse file; no root, no
 * loop device, no network. It appears under its name only when it is whole; an older one of that name is replaced then.
 * @throws WorkError, ToolError.
 */
export async function assembleImage(host: Host, tools: Tools, spec: ImageSpec): Promise<BuiltImage> {
  const timings: Record<string, number> = {};
  const step = <T>(id: string, title: string, work: () => Promise<T>): Promise<T> =>
    timed(host, `image/${id}`, title, async () => {
      const begin = host.now();
      const result = await work();
      timings[id] = host.now() - begin;
      return result;
    });

  checkOverlay(spec.root);
  checkOverlay(spec.data);
  const ids = imageIds(spec.id);
  const plan = bootPlan(spec.board, spec.base, listBootFolder(spec.boot));
  const layout = layoutOf({
    board: spec.board,
    bootBytes: bootBytes(plan),
    bootFiles: plan.files.length,
    root: ext4Content(spec.root.flatMap((part) => part.members)),
    data: ext4Content(spec.data.flatMap((part) => part.members)),
    ids,
  });

  const folder = dirname(spec.output);
  await mkdir(folder, { recursive: true });
  // Beside the output, so that a rename is enough; a folder, so that the programs of the build see nothing else.
  const work = await host.temporary(`.${basename(spec.output)}`, folder);
  try {
    const image = join(work, 'image');
    await step('table', 'partition table', () => writeTable(tools, image, work, spec, plan, layout, ids));
    await step('filesystems', 'file systems', () => fill(tools, image, work, spec, plan, layout, ids));
    const map = await step('map', 'checksum and block map', () =>
      makeBmap(host, image, basename(spec.output)),
    );
    const compressed =
      spec.compress === 'none'
        ? null
        : await step('compress', `compressed image (${spec.compress})`, () =>
            compressImage(host, tools, image, spec.output, spec.compress),
          );
    await step('publish', 'image to its place', () => publish(image, spec.output, map));
    const { partitions, size } = layout;
    return {
      path: spec.output,
      size,
      bytesUsed: map.mappedBytes,
      diskId: ids.disk.toString(16).padStart(8, '0'),
      partitions,
      sha256: map.sha256,
      bmapPath: `${spec.output}.bmap`,
      sha256Path: `${spec.output}.sha256`,
      compressed,
      timings,
    };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The empty disk: its size, partition table and, for a PC's BIOS, the boot code. */
async function writeTable(
  tools: Tools,
  image: string,
  work: string,
  spec: ImageSpec,
  plan: BootPlan,
  layout: Layout,
  ids: ImageIds,
): Promise<void> {
  const code = plan.bios === null ? null : await biosCore(tools, spec.boot, work, plan.bios);
  const room = layout.partitions[0].start - SECTOR;
  if (code !== null && code.core.length > room) {
    throw new WorkError(`GRUB's core image has ${code.core.length} bytes; there is room for ${room}`);
  }
  const table = encodeMbr(
    ids.disk,
    layout.partitions.map(({ number, type, start, size }) => ({
      // Some BIOSes start nothing from a disk without an active partition.
      bootable: code !== null && number === 1,
      type,
      start: start / SECTOR,
      sectors: size / SECTOR,
    })),
    code?.boot,
  );
  const file = await open(image, 'wx');
  try {
    await file.truncate(layout.size);
    await file.write(table, 0, table.length, 0);
    if (code !== null) await file.write(code.core, 0, code.core.length, SECTOR);
  } finally {
    await file.close();
  }
}

/** The three file systems, side by side: each program writes only its own part of the file. */
async function fill(
  tools: Tools,
  image: string,
  work: string,
  spec: ImageSpec,
  plan: BootPlan,
  layout: Layout,
  ids: ImageIds,
): Promise<void> {
  const [boot, root, data] = layout.partitions;
  const { epoch } = spec;
  const texts = join(work, 'texts');
  await mkdir(texts);
  await Promise.all(
    plan.files.map((file, index) =>
      'text' in file ? writeFile(join(texts, String(index)), file.text) : undefined,
    ),
  );
  const tars = (parts: ImageSpec['root']): readonly string[] => parts.map((part) => part.tar);
  const results = await Promise.allSettled([
    makeExt4(tools, {
      image,
      partition: root,
      hashSeed: ids.root.hashSeed,
      epoch,
      inodes: layout.inodes.root,
      journalMiB: JOURNAL_MIB.root,
      growable: false,
      tars: tars(spec.root),
    }),
    (async () => {
      await makeFat(tools, {
        image,
        partition: boot,
        volumeId: ids.volume,
        epoch,
        clusterSectors: layout.clusterSectors,
        files: plan.files,
        boot: spec.boot,
        texts,
      });
      await makeExt4(tools, {
        image,
        partition: data,
        hashSeed: ids.data.hashSeed,
        epoch,
        inodes: layout.inodes.data,
        journalMiB: JOURNAL_MIB.data,
        growable: true,
        tars: tars(spec.data),
      });
    })(),
  ]);
  // Both have ended before anything is removed.
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

async function publish(image: string, output: string, map: { xml: string; sha256: string }): Promise<void> {
  const file = await open(image, 'r+');
  try {
    await file.chmod(0o600);
    await file.sync();
  } finally {
    await file.close();
  }
  // An old map beside a new image would be believed.
  await rm(`${output}.bmap`, { force: true });
  await rm(`${output}.sha256`, { force: true });
  await rename(image, output);
  await syncFolder(dirname(output));
  await writeAtomic(`${output}.bmap`, map.xml);
  await writeAtomic(`${output}.sha256`, `${map.sha256}  ${basename(output)}\n`);
}
