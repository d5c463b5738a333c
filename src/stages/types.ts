import type { Arch, TarballWish, UserWish } from '../services/contract.js';

/** Identity of a package inside a stage: enough to notice any change, nothing about where it lies. */
export interface StagePackage {
  readonly name: string;
  readonly version: string;
  readonly arch: string;
  readonly sha256: string;
}

/** The same of a file from another source. */
export interface StageFile {
  readonly name: string;
  readonly version: string;
  readonly sha256: string;
}

/** A unit of work of the build: plain data. `id` chains: sha256 over the id before, type and options. */
export type Stage = { readonly id: string } & (
  | { readonly type: 'tools'; readonly options: { readonly packages: readonly StagePackage[] } }
  | {
      readonly type: 'base';
      readonly options: {
        readonly recipe: string;
        readonly arch: Arch;
        readonly epoch: number;
        readonly packages: readonly StagePackage[];
        readonly boot: readonly StagePackage[];
        readonly users: readonly Pick<UserWish, 'name' | 'home' | 'shell' | 'groups'>[];
        readonly initramfs: { readonly conf: string; readonly hook: string };
        readonly excludes: readonly string[];
        /** Virtual environments; absent when there are none. */
        readonly wheels?: readonly {
          readonly id: string;
          readonly system: boolean;
          readonly files: readonly StageFile[];
        }[];
        /** Files out of npm packages; absent when there are none. */
        readonly tarballs?: readonly (StageFile & Pick<TarballWish, 'files'>)[];
      };
    }
  | {
      readonly type: 'disk';
      readonly options: {
        readonly board: string;
        readonly base: string;
        readonly layout: string;
        /** sha256 over the texts of the boot partition and the kernel's command line. */
        readonly boot: string;
      };
    }
  | {
      readonly type: 'site';
      readonly options: {
        /** sha256 of the plan's canonical JSON. */
        readonly plan: string;
        /** sha256 over the templates the plan uses, overrides included. */
        readonly templates: string;
        readonly files: number;
      };
    }
  | {
      readonly type: 'image';
      readonly options: { readonly layout: string };
    }
);

/** Ordered stages, every byte named by digest. */
export interface Manifest {
  readonly format: 1;
  readonly site: string;
  readonly epoch: number;
  readonly stages: readonly Stage[];
  /** Id of the last stage: the source of the disk id and the data partition's ids. */
  readonly id: string;
}

/** What the base stage leaves in the cache. */
export interface BaseLayer {
  readonly id: string;
  /** Root file system as a tar without end blocks. */
  readonly tar: string;
  /** Kernel, initramfs, device trees, firmware, boot loader files. */
  readonly boot: string;
  readonly passwd: string;
  readonly group: string;
  /** Members of the tar (JSON lines of IndexEntry). */
  readonly index: string;
}
