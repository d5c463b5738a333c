import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ToolError, WorkError } from '../diagnostics/errors.js';
import type { ExecResult, Host } from './host.js';
import type { Tools, ToolsOptions } from './tools.js';

/** Dynamic loaders by Node's name of an architecture, and the folder of its libraries (multiarch). */
const LOADERS = [
  { arch: 'x64', loader: 'usr/lib64/ld-linux-x86-64.so.2', libraries: 'usr/lib/x86_64-linux-gnu' },
  { arch: 'arm64', loader: 'usr/lib/ld-linux-aarch64.so.1', libraries: 'usr/lib/aarch64-linux-gnu' },
] as const;

/** Whether the programs of a tree are made for this machine. */
export function runsHere(tree: string): boolean {
  return LOADERS.some(({ arch, loader }) => arch === process.arch && existsSync(join(tree, loader)));
}

/** What starts a program of a tree that is not the root yet: its own loader, told where its libraries are. */
export function loaderOf(tree: string): readonly string[] {
  const found = LOADERS.find(({ loader }) => existsSync(join(tree, loader)));
  if (found === undefined) throw new Error(`no loader in ${tree}`);
  return [join(tree, found.loader), '--library-path', join(tree, found.libraries)];
}

/** argv that runs a program of a tree (`usr/bin/unshare`) from outside of it. */
export function outside(tree: string, program: string, args: readonly string[]): readonly string[] {
  return [...loaderOf(tree), join(tree, program), ...args];
}

/**
 * Prepares the mounts of a tools tree and enters it. No program of the host is run: until the tree is the root, its own loader
 * starts its own programs. $1 loader, $2 libraries, $3 tree, $4 interpreter of arm64 programs (`none`, or a file of the host),
 * $5 its flags, then triples `from to ro|rw` up to `--`, the working folder, and the program.
 * The mount namespace is private, so nothing has to be undone. The network namespace has only a loopback device that is down.
 */
const ENTER = `
loader=$1 libraries=$2 tree=$3 interpreter=$4 flags=$5; shift 5
mount() { "$loader" --library-path "$libraries" "$tree/usr/bin/mount" "$@"; }
mkdir() { "$loader" --library-path "$libraries" "$tree/usr/bin/mkdir" "$@"; }
mount --bind "$tree" "$tree"
mount -t proc proc "$tree/proc"
mount --rbind /dev "$tree/dev"
mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
mount -t tmpfs -o mode=755 tmpfs "$tree/run"
mount -t tmpfs -o mode=755 tmpfs "$tree/mnt"
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir -p "$tree$2"; else mkdir -p "$tree\${2%/*}"; : >> "$tree$2"; fi
  mount --rbind "$1" "$tree$2"
  [ "$3" = rw ] || mount -o remount,bind,ro "$tree$2"
  shift 3
done
shift
if [ "$interpreter" != none ]; then
  mount -t binfmt_misc binfmt_misc "$tree/proc/sys/fs/binfmt_misc"
  printf '%s' ':qemu-aarch64:M::\\x7fELF\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00:\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff:'"$interpreter:$flags" > "$tree/proc/sys/fs/binfmt_misc/register"
fi
folder=$1; shift
exec "$loader" --library-path "$libraries" "$tree/usr/sbin/chroot" "$tree" /usr/bin/env -C "$folder" "$@"
`;

/** What glibc's resolver reads (resolver(5)). The tree has files of these names. */
const RESOLVER = ['/etc/resolv.conf', '/etc/hosts', '/etc/nsswitch.conf'];

/** What the kernel hands programs of another architecture to (Documentation/admin-guide/binfmt-misc.rst). */
export interface Interpreter {
  /** A static program, as a file of the host. */
  readonly file: string;
  /** OCPF: qemu-user, which reads the program from a descriptor it is given. PF: the twins' dispatcher. */
  readonly flags: 'OCPF' | 'PF';
}

export interface NamespaceTools extends Tools {
  /** Folder of the tree on the host. */
  readonly path: string;
}

/**
 * Programs of the tools tree at `path`, run in their own user, mount, pid, ipc, uts and network namespaces (unshare(1)). Of the
 * host only newuidmap and newgidmap are used, for `ids: 'range'`: they need the right to map ids.
 * Binds must lie below /mnt. `network` alone gives a run the host's network namespace. `interpreter`: runs arm64 programs; it is registered in a binfmt_misc of the namespace's own
 * (Linux >= 6.7), seen by nobody else. Null: no emulation, or the host's own registration.
 */
export function namespaceTools(
  host: Host,
  path: string,
  id: string,
  interpreter: Interpreter | null = null,
): NamespaceTools {
  return {
    id,
    path,
    async run(argv, options: ToolsOptions = {}): Promise<ExecResult> {
      const { binds = [], cwd = '/', ids = 'single', network = false, env = {}, ...rest } = options;
      const mounts = binds.flatMap((bind) => {
        if (!bind.to.startsWith('/mnt/')) throw new Error(`bind outside /mnt: ${bind.to}`);
        return [bind.from, bind.to, bind.readOnly ? 'ro' : 'rw'];
      });
      // Names are looked up as on the host.
      if (network) for (const file of RESOLVER) if (existsSync(file)) mounts.push(file, file, 'ro');
      const inside = {
        PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
        HOME: '/root',
        LC_ALL: 'C.UTF-8',
        TMPDIR: '/tmp',
        ...env,
      };
      const [loader = '', , libraries = ''] = loaderOf(path);
      const running = host.exec(
        // unshare(1) of the tree: the host's may be old, or another program of that name.
        outside(path, 'usr/bin/unshare', [
          '--user',
          '--map-root-user',
          ...(ids === 'range' ? ['--map-auto'] : []),
          '--mount',
          '--pid',
          ...(network ? [] : ['--net']),
          '--ipc',
          '--uts',
          '--fork',
          '--kill-child',
          ...outside(path, 'usr/bin/sh', ['-eu', '-c', ENTER, 'sh', loader, libraries]),
          path,
          ...(ids === 'range' && interpreter !== null ? [interpreter.file, interpreter.flags] : ['none', '']),
          ...mounts,
          '--',
          cwd,
          '-i',
          ...Object.entries(inside).map(([name, value]) => `${name}=${value}`),
          ...argv,
        ]),
        { title: argv[0] ?? '', ...rest },
      );
      return await running.catch((error: unknown) => {
        throw explainRefusal(error) ?? error;
      });
    },
  };
}

/** A failure before the program was reached, because this machine forbids namespaces; null for any other. */
function explainRefusal(error: unknown): WorkError | null {
  if (!(error instanceof ToolError)) return null;
  const line = error.stderrTail.split('\n').find((one) => /(?:^|\/)(?:unshare|new[ug]idmap): /.test(one));
  if (line === undefined) return null;
  return new WorkError(`this machine does not let a build have its own namespaces (${line.trim()})`, {
    hint: '"commeshctl doctor" says what forbids it, and the command that helps',
    cause: error,
  });
}
