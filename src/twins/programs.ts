import type { PackageSet } from '../plan/types.js';
import type { Arch } from '../services/contract.js';

/**
 * Packages whose programs may run as native twins, each with the reason: it runs often, or long, while packages are
 * installed, and what it writes does not depend on the processor it runs on. What is not named here is emulated.
 */
export const TWIN_PACKAGES: Readonly<Record<string, string>> = {
  bash: 'runs maintainer scripts',
  bsdutils: 'logger, script: called by scripts',
  bzip2: 'unpacks packages and documents',
  coreutils: 'half of all processes of an installation',
  cpio: 'packs the initramfs',
  dash: 'runs maintainer scripts',
  'dbus-bin': 'asks for a bus that is not there',
  'dbus-daemon': 'makes the machine-id, which is removed again',
  debianutils: 'run-parts, which, update-shells',
  diffutils: 'ucf and dpkg compare configuration files',
  dpkg: 'unpacks and registers every package; its built-in architecture is set to that of the tree',
  'dracut-install': 'copies each kernel module into the initramfs',
  findutils: 'called by most scripts',
  gawk: 'called by scripts',
  grep: 'called by most scripts',
  gzip: 'unpacks packages and documents',
  hostname: 'called by scripts',
  kmod: 'depmod reads every kernel module',
  'libcap2-bin': 'setcap writes file capabilities',
  'libpam-modules-bin': 'called by pam-auth-update',
  login: 'called by scripts',
  mawk: 'called by most scripts',
  mount: 'called by scripts',
  openssl: 'hashes the names of certificates',
  'openssh-client': 'ssh-keygen looks at keys',
  passwd: 'makes users and groups',
  perl: 'runs the larger maintainer scripts (postgresql-common, ca-certificates-java)',
  'perl-base': 'runs debconf and many maintainer scripts',
  procps: 'called by scripts',
  'python3.13-minimal': 'compiles modules to byte code (the dispatcher lets no other work of Python pass)',
  sed: 'called by most scripts',
  'shared-mime-info': 'makes a database from 900 small files',
  sqlite3: 'called by scripts',
  systemd: 'systemd-sysusers, systemd-tmpfiles, systemctl',
  tar: 'unpacks packages',
  udev: 'systemd-hwdb makes a database of 10 MB',
  'util-linux': 'called by scripts',
  'xz-utils': 'unpacks packages',
  zstd: 'packs the initramfs',
};

/** Programs of those packages that are emulated all the same: what they say depends on the machine they run on. */
export const EMULATED_PROGRAMS: Readonly<Record<string, string>> = {
  arch: 'says the machine',
  bootctl: 'its boot loader files are named after the machine',
  hostnamectl: 'says the machine',
  'kernel-install': 'chooses by the machine',
  localectl: 'asks a running system',
  lscpu: 'says the processor',
  setarch: 'is told a machine',
  'systemd-detect-virt': 'looks at the processor',
  'systemd-id128': 'may read the identity of the machine it runs on',
  'systemd-machine-id-setup': 'may read the identity of the machine it runs on',
  timedatectl: 'asks a running system',
  uname: 'says the machine',
};

/** Perl modules that are compiled; a native perl can load only native ones (Debian Perl Policy 3.2.1 and 4.1: lib*-perl). */
export const PERL_MODULE = /^lib.+-perl$/;

/**
 * The packages of this host's architecture from which the twins for a tree of another one are taken. Only those count that
 * the tree holds, too, and with them the compiled Perl modules of the tree.
 */
export function twinsSet(host: Arch): PackageSet {
  return {
    id: `twins-${host}`,
    arch: host,
    within: 'system',
    packages: [...Object.keys(TWIN_PACKAGES), 'lib*-perl'].map((name) => ({
      name,
      service: 'build',
      because: ['board'],
    })),
  };
}
