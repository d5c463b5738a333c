import type { ExecOptions, ExecResult } from './host.js';

/** A folder of the host shown inside the tools tree. */
export interface Bind {
  readonly from: string;
  readonly to: string;
  readonly readOnly?: boolean;
}

export interface ToolsOptions extends Omit<ExecOptions, 'cwd'> {
  readonly binds?: readonly Bind[];
  /** Working folder inside the tools tree. */
  readonly cwd?: string;
  /** single: only root (mapped to the caller). range: 65,536 ids through newuidmap, for trees with owners. */
  readonly ids?: 'single' | 'range';
  /** With the network of this computer. Only for fetch. */
  readonly network?: boolean;
}

/**
 * Programs of the build (mke2fs, mtools, sfdisk, mmdebstrap …) run from one pinned Debian 13 tree, in their own
 * user, mount, process and network namespaces: no root, and nothing but loopback.
 */
export interface Tools {
  run(argv: readonly string[], options?: ToolsOptions): Promise<ExecResult>;
  /** Content id of the tree. */
  readonly id: string;
}
