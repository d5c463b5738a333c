import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecResult, Host } from '../../src/host/host.js';
import { openAuthority } from '../../src/pki/authority.js';
import { ensureLeaves } from '../../src/pki/certificate.js';
import type { Plan } from '../../src/plan/types.js';
import { TLS_ROOT, type Service, type Site } from '../../src/services/contract.js';
import { baseTree, ownIds } from './base-tree.js';
import { planOf, renderInto } from './chat-kit.js';

/** One switch, and each kit a network namespace plugged into it. Arguments: tree, work folder, the laptop's address. */
const STAGE = `
tree=$1 work=$2
mkdir -p /run/netns 2>/dev/null || { mount -t tmpfs tmpfs /run; mkdir /run/netns; }
mount -t tmpfs tmpfs /run/netns
ip link set lo up
ip link add switch type bridge
ip addr add "$3" dev switch
ip link set switch up
mount --bind "$work/hosts" /etc/hosts
for kit in "$work"/kits/*; do
  name=$(basename "$kit")
  mkdir "$kit/mount"
  mount -t tmpfs tmpfs "$kit/mount"
  root="$kit/mount/root"
  mkdir "$kit/mount/upper" "$kit/mount/work" "$root"
  mount -t overlay overlay -o "lowerdir=$tree,upperdir=$kit/mount/upper,workdir=$kit/mount/work" "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
  cp -a "$kit/files/." "$root/"
  sh -eu "$kit/owners" "$root"
  ip netns add "$name"
  ip link add kit0 netns "$name" type veth peer name "port$name"
  ip link set "port$name" master switch up
  ip -n "$name" link set lo up
  # As the kit's own network settings have it: no IPv6 address, so nothing is announced.
  ip -n "$name" link set kit0 addrgenmode none
  ip -n "$name" addr add "$(cat "$kit/address")" dev kit0
  ip -n "$name" link set kit0 up
  in="ip netns exec $name chroot $root"
  $in nft -f /etc/nftables.conf
  $in dnsmasq --conf-file=/etc/commesh/dnsmasq.conf --pid-file=/run/dns.pid
  mkdir "$root/run/prosody"
  chroot "$root" chown prosody:prosody /run/prosody
  $in setpriv --reuid prosody --regid prosody --clear-groups prosody -F > "$kit/prosody.log" 2>&1 &
done
echo ready
wait
`;

export interface SisterKits {
  readonly plans: ReadonlyMap<string, Plan>;
  /** A program of one of the kits. */
  kit(name: string, ...argv: string[]): Promise<ExecResult>;
  /** A program of this machine, on a laptop at the same switch. It trusts every site. */
  laptop(...argv: string[]): Promise<ExecResult>;
  log(name: string): Promise<string>;
  stop(): Promise<void>;
}

/** A site's CA, made by the product, in `folder`. @returns its certificate, PEM. */
export async function siteCa(host: Host, folder: string, site: Site): Promise<string> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return (await openAuthority(host, folder, site)).pem;
}

/**
 * Several kits' Prosody, dnsmasq and nftables started from their rendered files, at one switch.
 * @param kits sites by short name, each with the folder of the CA that signs its certificates and the site this CA was made for.
 */
export async function startSisterKits(
  host: Host,
  services: readonly Service[],
  kits: Readonly<Record<string, { readonly site: Site; readonly ca: string; readonly caSite: Site }>>,
  laptop: string,
): Promise<SisterKits> {
  const work = await host.temporary('sisters');
  await chmod(work, 0o755);
  const plans = new Map<string, Plan>();
  const hosts = ['127.0.0.1 localhost'];
  const cas: string[] = [];
  for (const [name, { site, ca, caSite }] of Object.entries(kits)) {
    const plan = planOf(site, services);
    plans.set(name, plan);
    const folder = join(work, 'kits', name);
    const files = join(folder, 'files');
    await renderInto(files, plan);
    await mkdir(join(files, TLS_ROOT), { recursive: true });
    const authority = await openAuthority(host, ca, caSite);
    cas.push(authority.pem);
    await writeFile(join(files, TLS_ROOT, 'site-ca.crt'), authority.pem);
    const secrets = join(work, `secrets-${name}`);
    await mkdir(join(secrets, 'tls'), { recursive: true });
    const leaves = await ensureLeaves(host, secrets, site, authority, plan.certificates);
    const owners = plan.files.map(
      ({ path, owner, group }) => `chroot "$1" chown ${owner}:${group} '${path}'`,
    );
    for (const { id, owner, group } of plan.certificates) {
      const leaf = leaves.get(id);
      if (leaf === undefined) throw new Error(`no certificate ${id}`);
      await writeFile(join(files, TLS_ROOT, `${id}.crt`), leaf.chainPem);
      await writeFile(join(files, TLS_ROOT, `${id}.key`), leaf.keyPem, { mode: 0o640 });
      owners.push(`chroot "$1" chown ${owner}:${group} ${TLS_ROOT}/${id}.key`);
    }
    await writeFile(join(folder, 'owners'), owners.join('\n'));
    await writeFile(join(folder, 'address'), `${site.network.address}/${site.network.prefix}`);
    hosts.push(`${site.network.address} ${site.domain} groups.${site.domain} share.${site.domain}`);
  }
  await writeFile(join(work, 'hosts'), `${hosts.join('\n')}\n`);
  await writeFile(join(work, 'ca.pem'), cas.join(''));
  const running = host.start(
    [
      'unshare',
      ...ownIds(host),
      ...['--mount', '--net', '--pid', '--uts', '--ipc', '--fork', '--kill-child'],
      ...['sh', '-eu', '-c', STAGE, 'sh', await baseTree(host), work, laptop],
    ],
    { title: 'kits at one switch' },
  );
  let said = '';
  running.stdout.on('data', (chunk) => (said += String(chunk)));
  running.stderr.on('data', (chunk) => (said += String(chunk)));
  for (let tries = 0; !said.includes('ready'); tries += 1) {
    if (tries > 600) throw new Error(`the kits do not start:\n${said}`);
    await sleep(100);
  }
  const inner = (await readFile(`/proc/${running.pid}/task/${running.pid}/children`, 'utf8')).trim();
  const enter = [
    ...['nsenter', '--target', inner.split(' ')[0] ?? ''],
    ...(host.uid === 0 ? [] : ['--user', '--preserve-credentials']),
    ...['--mount', '--net', '--pid', '--uts', '--ipc'],
  ];
  const quiet = { allowFailure: true, timeoutMs: 120_000 };
  const log = (name: string): Promise<string> => readFile(join(work, 'kits', name, 'prosody.log'), 'utf8');
  const kit: SisterKits['kit'] = (name, ...argv) =>
    host.exec(
      [...enter, ...['ip', 'netns', 'exec', name, 'chroot', join(work, 'kits', name, 'mount/root'), ...argv]],
      quiet,
    );
  for (const name of Object.keys(kits)) {
    for (let tries = 0; ; tries += 1) {
      const { stdout } = await kit(name, 'ss', '-Hltn');
      if ([5223, 53].every((port) => stdout.includes(`:${port} `))) break;
      if (tries > 150) throw new Error(`${name} does not listen:\n${stdout}\n${await log(name)}\n${said}`);
      await sleep(200);
    }
  }
  return {
    plans,
    kit,
    laptop: (...argv) =>
      host.exec([...enter, ...argv], { ...quiet, env: { NODE_EXTRA_CA_CERTS: join(work, 'ca.pem') } }),
    log,
    stop: () => running.stop(),
  };
}
