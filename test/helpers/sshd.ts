import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { Host } from '../../src/host/host.js';
import type { SshTarget } from '../../src/host/ssh.js';
import { freePort, untilOpen } from './ports.js';

export interface TestSshd {
  readonly target: SshTarget;
  readonly folder: string;
  stop(): Promise<void>;
}

/**
 * An OpenSSH server of its own on loopback: own keys, own configuration, nothing of the machine's.
 * @param path folders that commands find programs in before all others.
 * @param identity the keys of a site instead of fresh ones.
 * @param prepare shell lines run first in a mount namespace of its own, so that commands see other files.
 */
export async function startSshd(
  host: Host,
  path: readonly string[] = [],
  prepare: string | null = null,
  identity: { readonly hostKey: string; readonly authorized: string } | null = null,
): Promise<TestSshd> {
  const folder = await host.temporary('sshd');
  const port = await freePort();
  for (const name of ['host', 'user'])
    await host.exec(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', join(folder, name)]);
  await writeFile(join(folder, 'authorized'), await readFile(join(folder, 'user.pub')));
  if (identity !== null) {
    await writeFile(join(folder, 'host'), identity.hostKey.trimEnd() + '\n', { mode: 0o600 });
    await writeFile(join(folder, 'authorized'), identity.authorized.trimEnd() + '\n');
  }
  await chmod(folder, 0o755);
  // Where sshd separates its privileges; the package's unit makes it otherwise.
  if (host.uid === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
  await writeFile(
    join(folder, 'config'),
    [
      `ListenAddress 127.0.0.1:${port}`,
      `HostKey ${folder}/host`,
      `AuthorizedKeysFile ${folder}/authorized`,
      'PidFile none',
      'UsePAM no',
      'StrictModes no',
      'PasswordAuthentication no',
      'PermitRootLogin prohibit-password',
      // With a level bash does not take itself for the shell of sshd, and leaves the account's own .bashrc unread.
      `SetEnv PATH=${[...path, '/usr/sbin', '/usr/bin', '/sbin', '/bin'].join(':')} SHLVL=1`,
      '',
    ].join('\n'),
  );
  const argv = ['/usr/sbin/sshd', '-D', '-e', '-f', join(folder, 'config')];
  const running = host.start(
    prepare === null
      ? argv
      : ['unshare', '--mount', '--propagation', 'private', 'sh', '-ec', `${prepare}\nexec ${argv.join(' ')}`],
  );
  await untilOpen(port);
  return {
    folder,
    target: {
      hostname: '127.0.0.1',
      port,
      user: userInfo().username,
      privateKey: await readFile(join(folder, 'user'), 'utf8'),
      hostKeyPublic: await readFile(join(folder, 'host.pub'), 'utf8'),
      timeoutMs: 10_000,
    },
    stop: () => running.stop(),
  };
}
