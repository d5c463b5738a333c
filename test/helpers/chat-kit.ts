import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { existsSync, readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecResult, Host } from '../../src/host/host.js';
import { packageRoot } from '../../src/host/paths.js';
import { assemblePlan } from '../../src/plan/assemble.js';
import type { Plan } from '../../src/plan/types.js';
import {
  TLS_ROOT,
  type Capabilities,
  type Service,
  type Site,
  type SrvWish,
} from '../../src/services/contract.js';
import { renderFile, type ReadFile } from '../../src/templates/load.js';
import { baseTree, ownIds } from './base-tree.js';
import { createTestCa } from './site-ca.js';

/** The kit's own namespaces: its network is a cable whose other end is a phone. Arguments: tree, work folder. */
const STAGE = `
tree=$1 work=$2
mount -t tmpfs tmpfs "$work/mount"
mkdir "$work/mount/upper" "$work/mount/work" "$work/mount/root"
root="$work/mount/root"
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$work/mount/upper,workdir=$work/mount/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
cp -a "$work/files/." "$root/"
sh -eu "$work/owners" "$root"
mkdir -p /run/netns 2>/dev/null || { mount -t tmpfs tmpfs /run; mkdir /run/netns; }
mount -t tmpfs tmpfs /run/netns
hostname kit
ip link set lo up
ip link add kit0 type veth peer name phone0
ip netns add phone
ip link set phone0 netns phone
ip addr add "$3" dev kit0
ip link set kit0 up
ip netns exec phone ip link set lo up
ip netns exec phone ip addr add "$4" dev phone0
ip netns exec phone ip link set phone0 up
mount --bind "$work/hosts" /etc/hosts
rm -f "$root/etc/resolv.conf"
echo nameserver 127.0.0.1 > "$root/etc/resolv.conf"
chroot "$root" dnsmasq --conf-file=/etc/test-dns.conf
. "$work/programs"
echo ready
wait
`;

/** How each service's programs are started in the stage ($root, $work as there), as its unit would. */
const PROGRAMS: Readonly<Record<string, string>> = {
  prosody: `
mkdir -p "$root/run/prosody"
chroot "$root" chown prosody:prosody /run/prosody
chroot "$root" setpriv --reuid prosody --regid prosody --clear-groups prosody -F > "$work/prosody.log" 2>&1 &
`,
  coturn: `
mkdir -p "$root/run/turnserver"
chroot "$root" chown turnserver:turnserver /run/turnserver
chroot "$root" setpriv --reuid turnserver --regid turnserver --clear-groups turnserver -c /etc/turnserver.conf --pidfile= > "$work/turn.log" 2>&1 &
`,
  web: `
mkdir -p "$root/run/nginx"
chroot "$root" nginx -e stderr -g 'daemon off;' > "$work/nginx.log" 2>&1 &
`,
  // With the command and the environment its unit says.
  synapse: `
as() { who=$1; shift; chroot "$root" setpriv --reuid "$who" --regid "$who" --clear-groups env -C / $*; }
line() { sed -n "s/^$2=//p" "$root/etc/systemd/system/$1.service"; }
if [ -e "$root/etc/systemd/system/postgresql.service" ]; then
  mkdir -p "$root/run/postgresql"
  chroot "$root" chown postgres:postgres /run/postgresql
  as postgres "$(line commesh-postgresql-cluster ExecStart)" > "$work/postgres.log" 2>&1
  as postgres "$(line postgresql ExecStart)" >> "$work/postgres.log" 2>&1 &
  until as postgres pg_isready --quiet; do sleep 0.2; done
fi
as matrix-synapse "$(line synapse Environment)" "$(line synapse ExecStart)" > "$work/synapse.log" 2>&1 &
`,
};

export interface ChatKit {
  readonly plan: Plan;
  readonly caPem: string;
  /** A folder both the kit (as /srv/test) and the phone (as itself) can use. */
  readonly work: string;
  /** A program of the kit. */
  kit(...argv: string[]): Promise<ExecResult>;
  /** The argv that runs a program of the kit from this machine; the program and its arguments follow. */
  readonly enterKit: readonly string[];
  /** A program of this machine, on the phone's end of the cable. */
  phone(...argv: string[]): Promise<ExecResult>;
  /** The argv that runs a program of this machine on the phone's end; the program and its arguments follow. */
  readonly enterPhone: readonly string[];
  /** A program of this machine in the kit's namespaces, outside its tree; `{root}` stands for the tree's folder. */
  onStage(...argv: string[]): Promise<ExecResult>;
  /** @returns the port on loopback of this machine that leads to a TCP port of the kit, as the phone reaches it. */
  reach(port: number): Promise<number>;
  log(program: 'prosody' | 'turn' | 'nginx' | 'postgres' | 'synapse'): Promise<string>;
  stop(): Promise<void>;
}

/** Leads a socket of the file system, which all networks of a machine share, to a port. Arguments: address, port, socket. */
const RELAY = `
const net = require('node:net');
const [address, port, socket] = process.argv.slice(1);
net.createServer((near) => {
  const far = net.connect(Number(port), address);
  for (const [from, to] of [[near, far], [far, near]]) from.pipe(to).on('error', () => from.destroy());
}).listen(socket);
`;

function tie(near: Socket, far: Socket): void {
  for (const [from, to] of [
    [near, far],
    [far, near],
  ] as const)
    from.pipe(to).on('error', () => from.destroy());
}

const ROOT = packageRoot();
const read: ReadFile = (path) => {
  try {
    return readFileSync(path);
  } catch {
    return null;
  }
};

/** A certificate fingerprint to look at; the real one comes from the site's CA. */
export const FINGERPRINT = Array.from({ length: 32 }, (_none, index) =>
  ((index * 37 + 11) % 256).toString(16).padStart(2, '0').toUpperCase(),
).join(':');
export const secretOf = (id: string): string =>
  id === 'ca-fingerprint'
    ? FINGERPRINT
    : id === 'synapse-signing'
      ? `ed25519 a_test ${'A'.repeat(43)}`
      : `value-of-${id}`;

/** Renders the plan's own files below `folder`; directories are made, public-key material is not there. */
export async function renderInto(folder: string, plan: Plan): Promise<void> {
  for (const file of plan.files) {
    const path = join(folder, file.path);
    if (file.kind === 'directory') {
      await mkdir(path, { recursive: true });
    } else {
      await mkdir(dirname(path), { recursive: true });
      const content =
        file.kind === 'template' || file.kind === 'copy'
          ? renderFile(file, { templates: join(ROOT, 'templates'), overrides: null }, read, secretOf)
          : file.kind === 'secret'
            ? `${secretOf((file.data?.['value'] as { secret: string }).secret)}\n`
            : `stands for ${file.path}\n`;
      await writeFile(path, content);
      await chmod(path, Number.parseInt(file.mode, 8));
    }
  }
}

/** The plan of a site with just these services. */
export function planOf(site: Site, services: readonly Service[]): Plan {
  const settings = Object.fromEntries(
    services.filter((one) => !one.always).map((one) => [one.id, one.settings(site, {})]),
  );
  return assemblePlan({ ...site, services: settings }, services).plan;
}

/** The SRV records the services ask for. */
function srvOf(site: Site, services: readonly Service[]): readonly SrvWish[] {
  const offered = Object.assign(
    {},
    ...services.map((one) => one.provides?.(site, one.settings(site, {}))),
  ) as Partial<Capabilities>;
  return services.flatMap(
    (one) => one.declare({ site, settings: one.settings(site, {}), use: (name) => offered[name] }).srv ?? [],
  );
}

/** Chat, calls and web started from their rendered files, in namespaces of their own: no systemd, no other network. */
export async function startChatKit(host: Host, site: Site, services: readonly Service[]): Promise<ChatKit> {
  const plan = planOf(site, services);
  const work = await host.temporary('chat-kit');
  await chmod(work, 0o755);
  await mkdir(join(work, 'mount'));
  const files = join(work, 'files');
  await renderInto(files, plan);
  const ca = await createTestCa(host);
  await mkdir(join(files, TLS_ROOT), { recursive: true });
  const owners: string[] = [];
  for (const { id, labels, address, owner, group } of plan.certificates) {
    const names = labels.map((label) => (label === '' ? site.domain : `${label}.${site.domain}`));
    await ca.issue(join(files, TLS_ROOT), id, [...names, ...(address ? [site.network.address] : [])]);
    await chmod(join(files, TLS_ROOT, `${id}.key`), 0o640);
    owners.push(`chroot "$1" chown ${owner}:${group} ${TLS_ROOT}/${id}.key`);
  }
  for (const { path, owner, group } of plan.files)
    owners.push(`chroot "$1" chown ${owner}:${group} '${path}'`);
  await writeFile(join(files, TLS_ROOT, 'site-ca.crt'), ca.caPem);
  await writeFile(join(work, 'owners'), owners.join('\n'));
  const name = (label: string): string => (label === '' ? site.domain : `${label}.${site.domain}`);
  const labels = [...new Set(plan.names.map(({ label }) => label))];
  await writeFile(
    join(work, 'hosts'),
    `127.0.0.1 localhost\n${site.network.address} ${labels.map(name).join(' ')}\n`,
  );
  await writeFile(
    join(files, 'etc/test-dns.conf'),
    [
      'user=root',
      'no-resolv',
      'no-hosts',
      'local=/#/',
      'log-queries',
      'log-facility=/tmp/dns.log',
      'bind-interfaces',
      `listen-address=127.0.0.1,${site.network.address}`,
      'pid-file=/run/dns.pid',
      ...labels.map((label) => `host-record=${name(label)},${site.network.address}`),
      ...srvOf(site, services).map(
        ({ symbol, protocol, label, targetLabel, port, priority, weight }) =>
          `srv-host=_${symbol}._${protocol}.${name(label)},${name(targetLabel)},${port},${priority},${weight}`,
      ),
      '',
    ].join('\n'),
  );
  await writeFile(join(work, 'programs'), services.map(({ id }) => PROGRAMS[id] ?? '').join(''));
  const { address, prefix } = site.network;
  const phoneAddress = `${address.replace(/\.\d+$/, '')}.2/${prefix}`;
  const running = host.start(
    [
      'unshare',
      ...ownIds(host),
      ...['--mount', '--net', '--pid', '--uts', '--ipc', '--fork', '--kill-child'],
      ...['sh', '-eu', '-c', STAGE, 'sh', await baseTree(host), work, `${address}/${prefix}`, phoneAddress],
    ],
    { title: 'the kit in its namespaces' },
  );
  let said = '';
  running.stdout.on('data', (chunk) => (said += String(chunk)));
  running.stderr.on('data', (chunk) => (said += String(chunk)));
  for (let tries = 0; !said.includes('ready'); tries += 1) {
    if (tries > 600) throw new Error(`the kit does not start:\n${said}`);
    await sleep(100);
  }
  const inner = (await readFile(`/proc/${running.pid}/task/${running.pid}/children`, 'utf8'))
    .trim()
    .split(' ')[0];
  const enter = [
    'nsenter',
    '--target',
    inner ?? '',
    ...(host.uid === 0 ? [] : ['--user', '--preserve-credentials']),
  ];
  const all = [...enter, '--mount', '--net', '--pid', '--uts', '--ipc'];
  const enterKit = [...all, 'chroot', join(work, 'mount/root')];
  const enterPhone = [...all, 'ip', 'netns', 'exec', 'phone'];
  const quiet = { allowFailure: true, timeoutMs: 120_000 };
  const kit: ChatKit = {
    plan,
    caPem: ca.caPem,
    work,
    enterKit,
    enterPhone,
    kit: (...argv) => host.exec([...enterKit, ...argv], quiet),
    phone: (...argv) =>
      host.exec([...enterPhone, ...argv], {
        ...quiet,
        env: { NODE_EXTRA_CA_CERTS: join(work, 'ca.pem') },
      }),
    onStage: (...argv) =>
      host.exec([...all, ...argv.map((word) => word.replaceAll('{root}', join(work, 'mount/root')))], quiet),
    async reach(port) {
      const socket = join(work, `${port}.sock`);
      const relay = [process.execPath, '-e', RELAY, address, String(port), socket];
      host.start([...all, 'ip', 'netns', 'exec', 'phone', ...relay]);
      const server = createServer((near) => tie(near, connect(socket)));
      host.onClose(() => void server.close());
      for (let tries = 0; !existsSync(socket); tries += 1) {
        if (tries > 300) throw new Error(`nothing leads to port ${port} of the kit`);
        await sleep(100);
      }
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      return (server.address() as AddressInfo).port;
    },
    log: (program) => readFile(join(work, `${program}.log`), 'utf8'),
    stop: () => running.stop(),
  };
  await writeFile(join(work, 'ca.pem'), ca.caPem);
  for (let tries = 0; ; tries += 1) {
    const { stdout } = await kit.kit('ss', '-Hltn');
    const ports = plan.ports.filter(({ protocol, listening }) => protocol === 'tcp' && listening);
    if (ports.every(({ port }) => stdout.includes(`:${port} `))) break;
    if (tries > 300) {
      const logs = (await readdir(work)).filter((name) => name.endsWith('.log'));
      const texts = await Promise.all(logs.map((log) => readFile(join(work, log), 'utf8')));
      throw new Error(`not everything listens:\n${stdout}\n${texts.join('')}`);
    }
    await sleep(200);
  }
  return kit;
}
