import type { ProfilePath } from '../diagnostics/diagnostic.js';
import type {
  Arch,
  ArchiveWish,
  BackupWish,
  CertificateWish,
  CheckWish,
  FileWish,
  JoinCard,
  NameWish,
  PackageWish,
  PortWish,
  SecretWish,
  Site,
  SrvWish,
  TarballWish,
  UnitWish,
  UserWish,
  WheelsWish,
} from '../services/contract.js';

/** An entry of the plan: who declared it and which setting asked for it. */
export type Planned<T> = Omit<T, 'because'> & { readonly service: string; readonly because: ProfilePath };

/** Packages resolved together for one purpose. */
export interface PackageSet {
  /** system: installed in the image. boot: unpacked for boot loader files only. tools-<arch>: programs of the build. twins-<arch>: src/twins. */
  readonly id: string;
  readonly arch: Arch;
  /** Only those wishes count that the set of this id holds in the end, too; `*` in a name stands for anything. */
  readonly within?: string;
  readonly packages: readonly Planned<PackageWish>[];
}

/** One apt source the kit takes packages from. No host name of a mirror: that comes from the profile or the host. */
export interface PlanSource {
  /** e.g. `debian`, `debian-security`, `raspberrypi`. */
  readonly archive: string;
  /** e.g. `trixie`, `trixie-security`, `forky`; a folder with a slash at its end (`stable/`, `./`) is a flat repository. */
  readonly suite: string;
  readonly components: readonly string[];
  /** Fingerprints (40 hex digits) one of which must have signed it; empty: any key of the archive's keyring. */
  readonly fingerprints: readonly string[];
  /** only: nothing comes from here unless a package wish names the suite, or the archive of another publisher. */
  readonly use: 'all' | 'only';
  /** Address of another publisher's archive, which no mirror of Debian carries. */
  readonly uri?: string;
  /** The setting that asked for another publisher's archive. */
  readonly because?: ProfilePath;
}

export interface Budget {
  readonly idleMiB: number;
  readonly withPeopleMiB: number;
  readonly availableMiB: number;
  readonly parts: readonly {
    readonly service: string;
    readonly idleMiB: number;
    readonly perPersonKiB: number;
  }[];
}

export interface DiskBudget {
  /** Data partition after growing to the card, MB (10^6). */
  readonly dataMB: number;
  readonly plannedMB: number;
  readonly parts: readonly {
    readonly service: string;
    readonly fixedMB: number;
    readonly perPersonMB: number;
  }[];
}

/** What the image shall be. No secret value, no checksum, no clock, no host path. */
export interface Plan {
  readonly format: 1;
  readonly site: Site;
  readonly sources: readonly PlanSource[];
  readonly sets: readonly PackageSet[];
  readonly wheels: readonly Planned<WheelsWish>[];
  readonly tarballs: readonly Planned<TarballWish>[];
  readonly archives: readonly Planned<ArchiveWish>[];
  readonly files: readonly Planned<FileWish>[];
  readonly users: readonly Planned<UserWish>[];
  readonly units: readonly Planned<UnitWish>[];
  readonly ports: readonly Planned<PortWish>[];
  readonly names: readonly Planned<NameWish>[];
  readonly srv: readonly Planned<SrvWish>[];
  readonly certificates: readonly Planned<CertificateWish>[];
  readonly secrets: readonly Planned<SecretWish>[];
  readonly join: readonly Planned<JoinCard>[];
  readonly backups: readonly Planned<BackupWish>[];
  /** Services with nothing to back up, each with its reason. */
  readonly noBackup: readonly { readonly service: string; readonly reason: string }[];
  readonly checks: readonly Planned<CheckWish>[];
  readonly memory: Budget;
  readonly disk: DiskBudget;
}
