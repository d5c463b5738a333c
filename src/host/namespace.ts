import type { ExecResult, Host } from './host.js';
import type { Tools, ToolsOptions } from './tools.js';

/**
 * Prepares the mounts of a tools tree and enters it. $1 tree, $2 interpreter of arm64 programs (`none`, or a file of the host),
 * $3 its flags, then triples `from to ro|rw` up to `--`, the working folder, and the program.
 * The mount namespace is private, so nothing has to be undone. The network namespace has only a loopback device that is down.
 */
const ENTER = `
tree=$1 interpreter=$2 flags=$3; shift 3
mount --bind "$tree" "$tree"
mount -t proc proc "$tree/proc"
mount --rbind /dev "$tree/dev"
mount -t tmpfs -o mode=1777 tmpfs "$tree/tmp"
mount -t tmpfs -o mode=755 tmpfs "$tree/run"
mount -t tmpfs -o mode=755 tmpfs "$tree/mnt"
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mkdir -p "$tree$2"; else mkdir -p "$tree\${2%/*}"; : > "$tree$2"; fi
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
exec chroot "$tree" /usr/bin/env -C "$folder" "$@"
`;

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
 * Programs of the tools tree at `path`, run in their own user, mount, pid, ipc, uts and network namespaces (unshare(1)).
 * Binds must lie below /mnt. `interpreter`: runs arm64 programs; it is registered in a binfmt_misc of the
 * namespace's own (Linux >= 6.7), seen by nobody else. Null: no emulation, or the host's own registration.
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
    run(argv, options: ToolsOptions = {}): Promise<ExecResult> {
      const { binds = [], cwd = '/', ids = 'single', env = {}, ...rest } = options;
      const mounts = binds.flatMap((bind) => {
        if (!bind.to.startsWith('/mnt/')) throw new Error(`bind outside /mnt: ${bind.to}`);
        return [bind.from, bind.to, bind.readOnly ? 'ro' : 'rw'];
      });
      const inside = {
        PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
        HOME: '/root',
        LC_ALL: 'C.UTF-8',
        TMPDIR: '/tmp',
        ...env,
      };
      return host.exec(
        [
          'unshare',
          '--user',
          '--map-root-user',
          ...(ids === 'range' ? ['--map-auto'] : []),
          '--mount',
          '--pid',
          '--net',
          '--ipc',
          '--uts',
          '--fork',
          '--kill-child',
          'sh',
          '-eu',
          '-c',
          ENTER,
          'sh',
          path,
          ...(ids === 'range' && interpreter !== null ? [interpreter.file, interpreter.flags] : ['none', '']),
          ...mounts,
          '--',
          cwd,
          '-i',
          ...Object.entries(inside).map(([name, value]) => `${name}=${value}`),
          ...argv,
        ],
        { title: argv[0] ?? '', ...rest },
      );
    },
  };
}
