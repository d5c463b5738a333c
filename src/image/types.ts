import type { TarEntry } from '../host/tarball.js';

/** A member of a tar: what is needed to know how much room it takes and what it covers. */
export interface TarMember {
  /** No leading `./` or `/`, no trailing `/`; '' is the root itself. */
  readonly path: string;
  /** f file, d directory, l symbolic link, h hard link, o anything else. */
  readonly type: 'f' | 'd' | 'l' | 'h' | 'o';
  /** Bytes of content. */
  readonly size: number;
}

/** A tar WITHOUT end blocks on the host, so that several can be read as one; later members replace earlier ones. */
export interface TarPart {
  readonly tar: string;
  readonly members: readonly TarMember[];
}

export type Compression = 'none' | 'zst' | 'xz';

/** A file, folder or link of a site, with its owner and time. */
export type SiteEntry = TarEntry;

/** What a site adds to a blank disk. The same values and the same disk give the same bytes. */
export interface ImageSpec {
  /** Lower-case hex SHA-256 that names the content: disk id, and UUID and hash seed of the data partition are derived from it. */
  readonly id: string;
  /** Seconds since 1970; every time stamp of the image. */
  readonly epoch: number;
  /** What the root file system of the blank disk holds. */
  readonly existing: readonly TarMember[];
  /** Laid over it, parents first. */
  readonly root: readonly SiteEntry[];
  /** First content of the data partition, parents first. */
  readonly data: readonly SiteEntry[];
  readonly compress: Compression;
}

export interface ImagePartition {
  /** 1, 2 or 3. */
  readonly number: number;
  readonly name: 'boot' | 'root' | 'data';
  readonly label: string;
  /** MBR type, e.g. 0x83. */
  readonly type: number;
  readonly filesystem: 'vfat' | 'ext4';
  /** Bytes from the beginning of the disk. */
  readonly start: number;
  /** Bytes. */
  readonly size: number;
  /** FAT volume id (`1A2B-3C4D`) or ext4 UUID. */
  readonly id: string;
}

export interface BuiltImage {
  readonly path: string;
  /** Bytes of the whole disk. */
  readonly size: number;
  /** Bytes that hold something and have to be written to a card. */
  readonly bytesUsed: number;
  /** MBR disk id, 8 hex digits. */
  readonly diskId: string;
  readonly partitions: readonly ImagePartition[];
  readonly sha256: string;
  readonly bmapPath: string;
  readonly sha256Path: string;
  readonly compressed: { readonly path: string; readonly size: number; readonly sha256: string } | null;
  /** Milliseconds per step. */
  readonly timings: Readonly<Record<string, number>>;
}
