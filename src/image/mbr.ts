/** One entry of a DOS partition table; positions in sectors of 512 bytes. */
export interface MbrEntry {
  readonly bootable: boolean;
  readonly type: number;
  readonly start: number;
  readonly sectors: number;
}

export const SECTOR = 512;
const TABLE = 446;
const ENTRY = 16;
const DISK_ID = 440;
// The geometry every partitioning program assumes for disks without one.
const HEADS = 255;
const SECTORS_PER_TRACK = 63;
const LAST_CYLINDER = 1023;

/** Cylinder, head and sector as a BIOS of 1983 wants them; past 8 GiB the largest value there is. */
function chs(lba: number): readonly [number, number, number] {
  const cylinder = Math.floor(lba / (HEADS * SECTORS_PER_TRACK));
  if (cylinder > LAST_CYLINDER) return [0xfe, 0xff, 0xff];
  const head = Math.floor(lba / SECTORS_PER_TRACK) % HEADS;
  const sector = (lba % SECTORS_PER_TRACK) + 1;
  return [head, sector | ((cylinder >> 2) & 0xc0), cylinder & 0xff];
}

/**
 * The first sector of a disk (UEFI specification 2.10, section 5.2.1): boot code of up to 440 bytes, the disk id and up to
 * four primary partitions. The same bytes sfdisk writes.
 */
export function encodeMbr(
  diskId: number,
  entries: readonly MbrEntry[],
  bootCode: Buffer = Buffer.alloc(0),
): Buffer {
  if (entries.length > 4) throw new RangeError('an MBR holds four partitions');
  const sector = Buffer.alloc(SECTOR);
  bootCode.copy(sector, 0, 0, DISK_ID);
  sector.writeUInt32LE(diskId, DISK_ID);
  entries.forEach((entry, index) => {
    const at = TABLE + index * ENTRY;
    sector[at] = entry.bootable ? 0x80 : 0;
    sector.set(chs(entry.start), at + 1);
    sector[at + 4] = entry.type;
    sector.set(chs(entry.start + entry.sectors - 1), at + 5);
    sector.writeUInt32LE(entry.start, at + 8);
    sector.writeUInt32LE(entry.sectors, at + 12);
  });
  sector.writeUInt16LE(0xaa55, SECTOR - 2);
  return sector;
}

/** Reads what `encodeMbr` writes. Null: no partition table. */
export function decodeMbr(sector: Buffer): { diskId: number; entries: MbrEntry[] } | null {
  if (sector.length < SECTOR || sector.readUInt16LE(SECTOR - 2) !== 0xaa55) return null;
  const entries: MbrEntry[] = [];
  for (let at = TABLE; at < TABLE + 4 * ENTRY; at += ENTRY) {
    const type = sector[at + 4] ?? 0;
    if (type === 0) continue;
    entries.push({
      bootable: sector[at] === 0x80,
      type,
      start: sector.readUInt32LE(at + 8),
      sectors: sector.readUInt32LE(at + 12),
    });
  }
  return { diskId: sector.readUInt32LE(DISK_ID), entries };
}
