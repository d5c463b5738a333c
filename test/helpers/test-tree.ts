import { access, mkdir, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { sha256 } from '../../src/host/files.js';
import type { Host } from '../../src/host/host.js';

/** What the kit's services need, and what the tests look with. */
const PACKAGES = [
  // prettier-ignore
  'prosody',
  'prosody-modules',
  'lua-lsqlite3',
  'lua-unbound',
  'libjs-jquery',
  'libjs-bootstrap4',
  'sqlite3',
  'nginx',
  'dnsmasq-base',
  'nftables',
  'iproute2',
  'systemd',
  'lua5.4',
];
const FROM_FORKY = ['coturn'];
const RECIPE = sha256(JSON.stringify(['1', PACKAGES, FROM_FORKY])).slice(0, 12);

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Base addresses of the Debian archives this machine's own apt uses. */
async function archives(host: Host): Promise<{ main: string; security: string | undefined }> {
  const { stdout } = await host.exec([
    'apt-get',
    'indextargets',
    '--format',
    '$(LABEL)|$(REPO_URI)',
    'Created-By: Packages',
  ]);
  const of = (label: string): string | undefined =>
    stdout
      .split('\n')
      .find((line) => line.startsWith(`${label}|`))
      ?.split('|')[1];
  const main = of('Debian');
  if (main === undefined)
    throw new Error(
      'apt on this machine knows no Debian archive; set COMMESH_TREE to a Debian 13 tree instead',
    );
  return { main, security: of('Debian-Security') };
}

/**
 * A Debian 13 tree with the kit's chat, call and web programs: COMMESH_TREE, or one made once with mmdebstrap below
 * `$XDG_CACHE_HOME/commeshctl/test-trees/` (some minutes, needs the Debian mirror of this machine).
 */
export async function tree(host: Host): Promise<string> {
  const given = host.env['COMMESH_TREE'];
  if (given !== undefined && given !== '') {
    if (!(await exists(join(given, 'usr/bin/prosody'))))
      throw new Error(`COMMESH_TREE: no Prosody in ${given}`);
    return given;
  }
  const folder = join(host.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'commeshctl/test-trees');
  const path = join(folder, `chat-${RECIPE}`);
  if (await exists(path)) return path;
  await mkdir(folder, { recursive: true });
  const part = `${path}.${process.pid}.part`;
  const { main, security } = await archives(host);
  const sources = [
    `deb ${main} trixie main`,
    ...(security === undefined ? [] : [`deb ${security} trixie-security main`]),
    // A mirror's copy of testing may be older than its week; its signature is still checked.
    `deb [check-valid-until=no] ${main} forky main`,
    '',
  ].join('\n');
  try {
    await host.exec(
      [
        'mmdebstrap',
        '--variant=apt',
        '--aptopt=APT::Default-Release "trixie"',
        '--aptopt=APT::Install-Recommends "false"',
        `--include=${PACKAGES.join(',')}`,
        `--customize-hook=chroot "$1" apt-get install --yes ${FROM_FORKY.map((name) => `${name}/forky`).join(' ')}`,
        'trixie',
        part,
        '-',
      ],
      {
        input: sources,
        title: 'making a Debian 13 tree for the tests',
        env: { DEBIAN_FRONTEND: 'noninteractive' },
      },
    );
    await rename(part, path);
  } catch (error) {
    await rm(part, { recursive: true, force: true });
    throw error;
  }
  return path;
}
