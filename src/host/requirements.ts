/** A program of the host that the product runs, and the Debian package that brings it. */
export interface Requirement {
  /** Found in PATH or in the system's sbin folders; or an absolute path of a file. */
  readonly program: string;
  /** Any of these will do. */
  readonly alternatives?: readonly string[];
  readonly package: string;
  /** What it is for, in words. */
  readonly purpose: string;
  /** Commands that cannot work without it. */
  readonly commands: readonly string[];
  /** build: fetch and build-image. backup: a kit's backups. try: booting an image on this machine. flash: writing cards. */
  readonly group: 'build' | 'backup' | 'try' | 'flash';
  /** Arguments that print its version. */
  readonly version?: readonly string[];
}

/** Everything commeshctl runs on the host, besides Node. The programs that fetch and build come from the tools tree. */
export const requirements: readonly Requirement[] = [
  {
    program: 'newuidmap',
    package: 'uidmap',
    purpose: 'lets files of the image have owners, without root',
    commands: ['build-image'],
    group: 'build',
  },
  {
    program: 'tar',
    package: 'tar',
    purpose: 'packs and unpacks backups',
    commands: ['backup', 'restore'],
    group: 'backup',
    version: ['--version'],
  },
  {
    program: 'lsblk',
    package: 'util-linux',
    purpose: 'lists cards and disks',
    commands: ['flash'],
    group: 'flash',
    version: ['--version'],
  },
  {
    program: 'qemu-system-x86_64',
    package: 'qemu-system-x86',
    purpose: 'boots a PC image on this machine',
    commands: ['try'],
    group: 'try',
    version: ['--version'],
  },
  {
    program: 'qemu-system-aarch64',
    package: 'qemu-system-arm',
    purpose: 'boots a Raspberry Pi image on this machine',
    commands: ['try'],
    group: 'try',
    version: ['--version'],
  },
  {
    program: 'mcopy',
    package: 'mtools',
    purpose: "takes a Raspberry Pi image's kernel out of its boot partition",
    commands: ['try'],
    group: 'try',
    version: ['--version'],
  },
  {
    program: 'qemu-img',
    package: 'qemu-utils',
    purpose: 'makes the throw-away copy that is booted',
    commands: ['try'],
    group: 'try',
    version: ['--version'],
  },
  {
    program: '/usr/share/OVMF/OVMF_CODE_4M.fd',
    alternatives: ['/usr/share/OVMF/OVMF_CODE.fd'],
    package: 'ovmf',
    purpose: 'UEFI firmware for PC images',
    commands: ['try'],
    group: 'try',
  },
  {
    program: '/usr/share/AAVMF/AAVMF_CODE.fd',
    package: 'qemu-efi-aarch64',
    purpose: 'UEFI firmware for arm64 machines',
    commands: ['try'],
    group: 'try',
  },
];

/** Debian packages for `groups`, sorted, each once. */
export function packagesFor(groups: readonly Requirement['group'][]): readonly string[] {
  const found = requirements.filter((entry) => groups.includes(entry.group)).map((entry) => entry.package);
  return [...new Set(found)].sort();
}
