/** One signed index of an apt archive, as upstream signed it. */
export interface LockIndex {
  readonly archive: string;
  readonly suite: string;
  readonly components: readonly string[];
  /** Key fingerprints that signed InRelease. */
  readonly signedBy: readonly string[];
  /** `Date:` of InRelease, seconds since 1970. */
  readonly date: number;
  /** Files relative to the archive's root: `dists/trixie/InRelease`, `dists/trixie/main/binary-arm64/Packages.xz` … */
  readonly files: readonly LockFile[];
}

export interface LockFile {
  readonly path: string;
  readonly size: number;
  readonly sha256: string;
}

export interface LockPackage extends LockFile {
  readonly name: string;
  readonly version: string;
  /** Architecture of the .deb: `all`, `arm64`, `amd64`. */
  readonly arch: string;
  /** Source package and version, for the bill of materials. */
  readonly source: string;
  readonly sourceVersion: string;
  readonly archive: string;
  readonly suite: string;
  /** `Installed-Size`, KiB. */
  readonly installedKiB: number;
  /** The package of the plan that asked for this one; absent for what every Debian system holds. */
  readonly for?: string;
}

/** A file of another source than an apt archive: a wheel, an npm package. */
export interface LockArtifact {
  /** Project or package; of Python projects the normalised name. */
  readonly name: string;
  readonly version: string;
  /** File name. */
  readonly file: string;
  readonly size: number;
  readonly sha256: string;
}

/** package → version, size, sha256, source; index digests. No host name, no path of the host. */
export interface Lock {
  readonly format: 1;
  /** Digest of what was asked for (sources and sets): a changed plan is noticed. */
  readonly request: string;
  /** Date of the newest index, seconds since 1970: every time stamp of the image. */
  readonly epoch: number;
  readonly indexes: readonly LockIndex[];
  /** Per package set id (`system`, `boot`, `tools-amd64`), sorted by name. */
  readonly sets: Readonly<Record<string, readonly LockPackage[]>>;
  /** Files of other sources per set (`wheels-<id>`, `npm`), sorted by name; absent when there are none. */
  readonly artifacts?: Readonly<Record<string, readonly LockArtifact[]>>;
}
