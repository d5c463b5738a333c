import { createServer } from 'node:net';
import { bootKit, type TryOptions } from '../../src/cli/commands/try.js';
import { loadProject, type Project } from '../../src/cli/commands/project.js';
import { connectKit } from '../../src/cli/commands/verify.js';
import type { Host } from '../../src/host/host.js';
import type { Ssh } from '../../src/host/ssh.js';
import type { Kit } from '../../src/image/qemu/kit.js';
import { readIdentity } from '../../src/pki/identity.js';
import { createDialer, type Dialer } from '../../src/verify/dialer.js';

/** A kit booted from a profile's image. */
export interface RunningKit {
  readonly project: Project;
  readonly kit: Kit;
  readonly dialer: Dialer;
  /** As the operator, with the pinned host key. */
  connect(): Promise<Ssh>;
  /** Runs one command and gives its standard output without the last newline. @throws Error when it fails. */
  run(command: string, timeoutMs?: number): Promise<string>;
}

/** Boots the image of a profile and waits until it answers. `host.close()` ends it. */
export async function bootProfile(
  host: Host,
  profilePath: string,
  options: TryOptions = {},
): Promise<RunningKit> {
  const project = await loadProject(profilePath);
  const { kit } = await bootKit({ host, say: () => {} }, project.plan, options);
  const { secrets } = await readIdentity(host, profilePath);
  const dialer = createDialer(project.plan.site.network.address, kit.forwards);
  const connect = (): Promise<Ssh> => connectKit(host, dialer, secrets);
  return {
    project,
    kit,
    dialer,
    connect,
    async run(command, timeoutMs = 120_000) {
      const ssh = await connect();
      try {
        const { code, stdout, stderr } = await ssh.exec(command, { timeoutMs });
        if (code !== 0) throw new Error(`"${command}" ended with ${code}: ${stderr}${stdout}`);
        return stdout.replace(/\n$/, '');
      } finally {
        ssh.close();
      }
    },
  };
}

/**
 * Switches a kit off properly and starts its card again, as after a night without power.
 * The disk must be a file of the caller's (`options.disk`), else it is gone with the first start.
 */
export async function restart(
  host: Host,
  running: RunningKit,
  profilePath: string,
  options: TryOptions & { readonly disk: string },
): Promise<RunningKit> {
  // The connection is lost on the way.
  await running.run('sudo systemctl poweroff --no-block', 20_000).catch(() => '');
  await running.kit.exited;
  return bootProfile(host, profilePath, options);
}

/**
 * Tries, from inside the kit, to reach a server that really listens on this machine, by every address it could have there,
 * and addresses far away (RFC 5737, nobody's). Gives what got through: has to be empty.
 */
export async function escapes(running: RunningKit): Promise<readonly string[]> {
  const seen: string[] = [];
  const server = createServer((socket) => {
    seen.push('this machine');
    socket.end();
  });
  await new Promise<void>((ready) => server.listen(0, '0.0.0.0', ready));
  try {
    const address = server.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const { network, address: own } = running.project.plan.site.network;
    const near = network.split('.').slice(0, 3).join('.');
    const targets = [
      ...[2, 3, 252, 253, 254].map((last) => `${near}.${last}`).filter((one) => one !== own),
      '10.0.2.2',
      '127.0.0.1',
    ].map((one) => `${one}/${port}`);
    const results = await running.run(
      [...targets, '192.0.2.1/53', '198.51.100.1/443']
        .map((to) => `timeout 3 bash -c 'echo > /dev/tcp/${to}' 2>/dev/null && echo ${to}`)
        .map((one) => `${one}; true`)
        .join('; '),
    );
    return [...results.split('\n').filter(Boolean), ...seen];
  } finally {
    server.close();
  }
}
