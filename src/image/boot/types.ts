/** A file of the boot partition: copied from the base layer's boot folder, or written by us. */
export type BootFile =
  | { readonly path: string; readonly from: string; readonly size: number }
  | { readonly path: string; readonly text: string };

/** A file in the base layer's boot folder, path relative to it. */
export interface BootInput {
  readonly path: string;
  readonly size: number;
}

export interface BootPlan {
  /** Sorted by path; paths on the FAT begin with `/`. */
  readonly files: readonly BootFile[];
  /** Boot code for a PC's BIOS; null on boards that have none. */
  readonly bios: {
    /** GRUB's modules for the core image. */
    readonly modules: readonly string[];
    /** Where it finds its configuration. */
    readonly prefix: string;
  } | null;
}

/** Gives a text of `templates/boot/` filled in. */
export type RenderBootText = (template: string, data: Readonly<Record<string, string | boolean>>) => string;

/** Total content of the boot partition, bytes. */
export function bootBytes(plan: BootPlan): number {
  return plan.files.reduce(
    (sum, file) => sum + ('text' in file ? Buffer.byteLength(file.text) : file.size),
    0,
  );
}

export function sortedFiles(files: readonly BootFile[]): readonly BootFile[] {
  return [...files].sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}
