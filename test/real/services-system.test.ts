import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHost, type Host } from '../../src/host/host.js';
import { packageRoot } from '../../src/host/paths.js';
import { kitTree, systemPlan, systemSecrets, SYSTEM_SERVICES, type KitTree } from '../helpers/kit-tree.js';

const LAN = `
site: { name: quickstart, title: "Tomás's clinic \\\\\\\\ Привет", timezone: Africa/Nairobi }
board: pc
network: { mode: lan, address: 10.77.0.1/24 }
`;
const ACCESS_POINT = `
site: { name: zero, title: Zero }
board: zero2w
people: 4
network: { mode: access-point, address: 192.168.50.1/24, wifi: { country: KE, ssid: "café 🌍" } }
backup: false
`;

const host: Host = createHost();
let lan: KitTree;
let accessPoint: KitTree;

beforeAll(async () => {
  const secrets = await systemSecrets(host);
  lan = await kitTree(host, await systemPlan(LAN), secrets, SYSTEM_SERVICES);
  accessPoint = await kitTree(host, await systemPlan(ACCESS_POINT), secrets, SYSTEM_SERVICES);
});
afterAll(() => host.close());

describe.each([
  ['a PC on a LAN', () => lan, '10.77.0.1/24'],
  ['a Zero 2 W with its own Wi-Fi', () => accessPoint, '192.168.50.1/24'],
] as const)('%s: each file is accepted by its own program', (_name, kit, address) => {
  it('nftables', async () => {
    await kit().sh('nft --check --file /etc/nftables.conf');
  });
  it('dnsmasq', async () => {
    await kit().sh('dnsmasq --test --conf-file=/etc/commesh/dnsmasq.conf');
  });
  it('sshd, with the settings that come of it', async () => {
    const { stdout } = await kit().sh('sshd -t; sshd -T -C user=kit,host=x,addr=10.77.0.9');
    for (const line of [
      'passwordauthentication no',
      'kbdinteractiveauthentication no',
      'permitrootlogin no',
      'allowusers kit',
      'disableforwarding yes',
      'authenticationmethods publickey',
    ])
      expect(stdout.split('\n')).toContain(line);
    await kit().sh('ssh-keygen -l -f /etc/ssh/authorized_keys.d/kit');
  });
  it('chrony', async () => {
    await kit().sh('chronyd -p -f /etc/chrony/chrony.conf');
  });
  it('sudo', async () => {
    await kit().sh('visudo --check --strict --file /etc/sudoers.d/90-commesh');
  });
  it('systemd, every unit', async () => {
    const { stdout, stderr } = await kit().sh(
      `mount -t tmpfs tmpfs /sys
       systemd-analyze verify --man=no --recursive-errors=one --generators=yes \\
         $(find /etc/systemd/system -maxdepth 1 -type f -name 'commesh-*.*' -not -name '*access-point*') \\
         chrony.service nftables.service ssh.service systemd-networkd.service systemd-networkd-wait-online.service 2>&1 ||
         true`,
    );
    expect(stdout + stderr).toBe('');
  });
  it('systemd, the time of the daily backup', async () => {
    const { stdout } = await kit().sh(
      'systemd-analyze calendar "$(sed -n \'s/^OnCalendar=//p\' /etc/systemd/system/commesh-backup.timer)"',
    );
    expect(stdout).toMatch(/Normalized form: \*-\*-\* 02:30:00/);
  });
  it('systemd, the file systems: services wait for the data partition, the boot does not depend on it', async () => {
    const { stdout } = await kit().sh(
      // A device is waited for only where /sys can be written to: this one is the test's own.
      `mount -t tmpfs tmpfs /sys
       generator=/usr/lib/systemd/system-generators/systemd-fstab-generator
       mkdir -p /run/g; $generator /run/g /run/g /run/g
       cat /run/g/srv-commesh.mount; ls /run/g /run/g/local-fs.target.wants /run/g/local-fs.target.requires 2>&1 || true`,
    );
    expect(stdout).toMatch(/^Before=.*local-fs\.target/m);
    expect(stdout).toMatch(/local-fs\.target\.wants:[^:]*srv-commesh\.mount/);
    expect(stdout).not.toMatch(/local-fs\.target\.requires:[^:]*srv-commesh\.mount/);
    await kit().sh(
      'mkdir -p /boot/firmware /srv/commesh; findmnt --verify --tab-file /etc/fstab 2>&1 | grep -v -i label || true',
    );
  });
  it('systemd-tmpfiles', async () => {
    await kit().sh('systemd-tmpfiles --dry-run --create /etc/tmpfiles.d/commesh-log.conf');
  });
  it('the kernel knows every setting', async () => {
    // Inside the network namespace of the test; read only.
    await kit().sh(
      `sed -n 's/^\\([a-z0-9_.]*\\) *=.*/\\1/p' /etc/sysctl.d/90-commesh.conf | while read -r key; do sysctl --values "$key"; done`,
    );
  });
  it('an empty machine-id, so that no start is a "first" one that enables things', async () => {
    await kit().sh('test -e /etc/machine-id; test ! -s /etc/machine-id');
  });
  it('systemd-networkd brings up the bridge with its address, without a cable', async () => {
    const { stdout } = await kit().sh(
      `ip link set lo up
       mkdir -p /run/systemd/netif /run/udev /run/dbus
       touch /run/udev/control
       chown systemd-network: /run/systemd/netif
       printf '%032d\\n' 7 > /etc/machine-id
       /usr/lib/systemd/systemd-networkd > /tmp/log 2>&1 &
       for i in $(seq 100); do ip -4 address show dev kit0 2> /dev/null | grep -q inet && break; sleep 0.1; done
       ip -4 -oneline address show dev kit0 || cat /tmp/log
       ip -oneline link show dev kit0
       : > /etc/machine-id`,
    );
    expect(stdout).toContain(`inet ${address} `);
    expect(stdout).toMatch(/link\/ether 02:c0:/);
  });
});

describe('scripts', () => {
  it('pass shellcheck', async () => {
    const folder = join(packageRoot(), 'templates');
    const { stdout } = await host.exec([
      'find',
      ...SYSTEM_SERVICES.map((id) => join(folder, id)),
      '-path',
      '*/libexec/*',
      '-type',
      'f',
    ]);
    const scripts = stdout.trim().split('\n');
    expect(scripts.length).toBeGreaterThan(6);
    await host.exec(['shellcheck', '-x', ...scripts], { cwd: packageRoot() });
  });
});
