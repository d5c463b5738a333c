import { mkdir, open, rename, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { WorkError } from '../diagnostics/errors.js';
import { syncFolder, writeAtomic } from '../host/files.js';
import { timed, type Host } from '../host/host.js';
import { tarOf } from '../host/tarball.js';
import type { Tools } from '../host/tools.js';
import { tableEntries, type Blank } from './blank.js';
import { copyByMap, makeBmap } from './bmap.js';
import { compressImage } from './compress.js';
import { makeExt4 } from './filesystems.js';
import { inject } from './inject.js';
import { dataLayout, ext4Content, imageIds, JOURNAL_MIB, SITE_ROOM } from './layout.js';
import { encodeMbr, SECTOR } from './mbr.js';
import { checkOverlay } from './overlay.js';
import type { BuiltImage, ImageSpec, SiteEntry, TarMember } from './types.js';

/** Boot code of the first sector; disk id and table follow. */
const BOOT_CODE = 440;

/** The blank disk is not what its block map says. */
export class DamagedBlankError extends WorkError {}

/** An image that has begun: the blank disk, copied and checked, in a folder beside the place where it will appear. */
export interface BegunImage {
  readonly blank: Blank;
  readonly output: string;
  /** Folder that only the owner can read, gone after `finishImage` or `discard`. */
  readonly work: string;
  readonly image: string;
  readonly milliseconds: number;
  discard(): Promise<void>;
}

/**
 * Copies a blank disk to where an image is going to be made, and checks every byte of it.
 * @throws DamagedBlankError, InterruptedError. Nothing is left then.
 */
export async function beginImage(host: Host, blank: Blank, output: string): Promise<BegunImage> {
  const begin = host.now();
  const folder = dirname(output);
  await mkdir(folder, { recursive: true });
  // Beside the output, so that a rename is enough; a folder, so that the programs of the build see nothing else.
  const work = await host.temporary(`.${basename(output)}`, folder);
  const discard = (): Promise<void> => rm(work, { recursive: true, force: true });
  const image = join(work, 'image');
  try {
    await timed(host, 'image/clone', 'copy of the packages', async () => {
      if (await copyByMap(host, blank.image, blank.map, image)) return;
      throw new DamagedBlankError(`the disk in the cache is damaged: ${blank.image}`, {
        hint: `remove ${blank.folder} and build again`,
      });
    });
    return { blank, output, work, image, discard, milliseconds: host.now() - begin };
  } catch (error) {
    await discard();
    throw explained(error, output);
  }
}

/** A disk that is full, in words. */
function explained(error: unknown, output: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return new WorkError(`no room left for the image ${output}`, {
    hint: 'make room there, or give another place with --output; an image takes about 0.5 GB, twice that when it is built again',
  });
}

/**
 * Makes an image of a blank disk: the site's files, the data partition and the partition table, then checksum and block map. It
 * appears under its name only when it is whole; an older one of that name is replaced then.
 * @throws WorkError, ToolError. Nothing is left then.
 */
export async function finishImage(
  host: Host,
  tools: Tools,
  begun: BegunImage,
  spec: ImageSpec,
): Promise<BuiltImage> {
  const { blank, output, image, work } = begun;
  const timings: Record<string, number> = { clone: begun.milliseconds };
  const step = <T>(id: string, title: string, run: () => Promise<T>): Promise<T> =>
    timed(host, `image/${id}`, title, async () => {
      const begin = host.now();
      const result = await run();
      timings[id] = host.now() - begin;
      return result;
    });
  try {
    const rootMembers = spec.root.map(memberOf);
    const dataMembers = spec.data.map(memberOf);
    checkOverlay([{ members: spec.existing }, { members: rootMembers }]);
    checkOverlay([{ members: dataMembers }]);
    checkRoom(rootMembers);
    const ids = imageIds(spec.id);
    const [boot, root] = blank.partitions;
    const { partition: data, inodes } = dataLayout(
      blank.board,
      root.start + root.size,
      ext4Content(dataMembers),
      ids,
    );
    const partitions = [boot, root, data];
    const size = data.start + data.size;

    const file = await open(image, 'r+');
    try {
      await step('site', "the site's files", async () => {
        await writeTable(file, blank, ids.disk, partitions, size);
        // The disk begins to write what was copied while there is still other work.
        void file.datasync().catch(() => {});
        const [files, dataTar] = [join(work, 'files'), join(work, 'data.tar')];
        await mkdir(files);
        await writeFile(dataTar, tarOf(spec.data), { mode: 0o600 });
        const results = await Promise.allSettled([
          inject(tools, {
            image,
            partition: root,
            entries: spec.root,
            existing: new Set(spec.existing.map((member) => member.path)),
            epoch: spec.epoch,
            work: files,
          }),
          makeExt4(tools, {
            image,
            partition: data,
            hashSeed: ids.data.hashSeed,
            epoch: spec.epoch,
            inodes,
            journalMiB: JOURNAL_MIB.data,
            growable: true,
            tars: [dataTar],
          }),
        ]);
        // Both have ended before anything is removed.
        for (const result of results) if (result.status === 'rejected') throw result.reason;
      });
      const map = await step('map', 'checksum and block map', () => makeBmap(host, image, basename(output)));
      const compressed =
        spec.compress === 'none'
          ? null
          : await step('compress', `compressed image (${spec.compress})`, () =>
              compressImage(host, tools, image, output, spec.compress),
            );
      await step('publish', 'image to its place', () => publish(file, image, output, map));
      return {
        path: output,
        size,
        bytesUsed: map.mappedBytes,
        diskId: ids.disk.toString(16).padStart(8, '0'),
        partitions,
        sha256: map.sha256,
        bmapPath: `${output}.bmap`,
        sha256Path: `${output}.sha256`,
        compressed,
        timings,
      };
    } finally {
      await file.close();
    }
  } catch (error) {
    throw explained(error, output);
  } finally {
    await begun.discard();
  }
}

function memberOf(entry: SiteEntry): TarMember {
  const types = { file: 'f', directory: 'd', symlink: 'l' } as const;
  const size = entry.content?.length ?? 0;
  return { path: entry.path.replace(/\/$/, ''), type: types[entry.type], size };
}

function checkRoom(members: readonly TarMember[]): void {
  const { bytes, inodes } = ext4Content(members);
  if (bytes <= SITE_ROOM.bytes && inodes <= SITE_ROOM.inodes) return;
  const mebibytes = (count: number): string => `${Math.ceil(count / 2 ** 20)} MiB`;
  const largest = members.reduce((most, one) => (one.size > most.size ? one : most));
  throw new WorkError(
    `the site's own files take ${mebibytes(bytes)} in ${members.length} files; a site has ${mebibytes(SITE_ROOM.bytes)} ` +
      `and ${SITE_ROOM.inodes} files besides the packages`,
    {
      hint: `the largest is /${largest.path} (${mebibytes(largest.size)}); look into the folder "overrides"`,
    },
  );
}

/** The disk's full size, and the first sector: boot code of the blank disk, disk id and all partitions. */
async function writeTable(
  file: FileHandle,
  blank: Blank,
  diskId: number,
  partitions: BuiltImage['partitions'],
  size: number,
): Promise<void> {
  const sector = Buffer.alloc(SECTOR);
  await file.read(sector, 0, SECTOR, 0);
  const table = encodeMbr(diskId, tableEntries(blank.board, partitions), sector.subarray(0, BOOT_CODE));
  await file.truncate(size);
  await file.write(table, 0, SECTOR, 0);
}

async function publish(
  file: FileHandle,
  image: string,
  output: string,
  map: { readonly xml: string; readonly sha256: string },
): Promise<void> {
  await file.chmod(0o600);
  await file.sync();
  // An old map beside a new image would be believed.
  await rm(`${output}.bmap`, { force: true });
  await rm(`${output}.sha256`, { force: true });
  await rename(image, output);
  await syncFolder(dirname(output));
  await writeAtomic(`${output}.bmap`, map.xml);
  await writeAtomic(`${output}.sha256`, `${map.sha256}  ${basename(output)}\n`);
}
