import { ADMIN_USER, defineService, type FileWish } from '../contract.js';

const ROOT = { owner: 'root', group: 'root', mode: '0644' } as const;
const HOST_KEY = '/etc/ssh/ssh_host_ed25519_key';

const FILES: readonly FileWish[] = [
  {
    path: '/etc/ssh/sshd_config',
    kind: 'template',
    ...ROOT,
    data: { hostKey: HOST_KEY, user: ADMIN_USER },
  },
  {
    path: HOST_KEY,
    kind: 'secret',
    data: { value: { secret: 'ssh-host' } },
    ...ROOT,
    mode: '0600',
    sensitive: true,
  },
  { path: `${HOST_KEY}.pub`, kind: 'secret', data: { value: { secret: 'ssh-host.pub' } }, ...ROOT },
  { path: '/etc/ssh/authorized_keys.d', kind: 'directory', ...ROOT, mode: '0755' },
  // systemd's generator would offer log-ins over virtual machine sockets.
  {
    path: '/etc/systemd/system-generators/systemd-ssh-generator',
    kind: 'symlink',
    target: '/dev/null',
    ...ROOT,
  },
];

export const service = defineService<Record<string, never>>({
  id: 'ssh',
  title: 'Administration',
  summary: "OpenSSH for the administrator: keys only, from the kit's network only",
  always: true,
  schema: { type: 'object', additionalProperties: false, properties: {} },
  settings: () => ({}),
  declare: ({ site }) => ({
    packages: [{ name: 'openssh-server' }],
    files: [
      ...FILES,
      {
        path: `/etc/ssh/authorized_keys.d/${ADMIN_USER}`,
        kind: 'template',
        template: '/etc/ssh/authorized_keys.d/admin',
        ...ROOT,
        data: { keys: site.admin.keys, operator: { secret: 'ssh-operator.pub' } },
        because: ['admin', 'keys'],
      },
    ],
    units: [{ name: 'ssh.service', enabled: true, target: 'multi-user.target', active: true }],
    ports: [
      {
        protocol: 'tcp',
        port: 22,
        scope: 'kit',
        purpose: 'administration (SSH)',
        listening: true,
        process: 'sshd',
      },
    ],
    secrets: [
      { id: 'ssh-host', kind: 'ssh-ed25519', length: 0 },
      { id: 'ssh-operator', kind: 'ssh-ed25519', length: 0 },
    ],
    backup: { none: "its keys are in the site's secrets" },
    memory: { idleMiB: 4, perPersonKiB: 0 },
  }),
});
