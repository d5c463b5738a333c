import { rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { UsageError, WorkError } from '../../diagnostics/errors.js';
import { writeAtomic } from '../../host/files.js';
import { timed } from '../../host/host.js';
import { startKit, type Kit, type KitOptions } from '../../image/qemu/kit.js';
import { kitPorts } from '../../image/qemu/network.js';
import type { Plan } from '../../plan/types.js';
import type { Forwards } from '../../verify/types.js';
import type { Cli } from '../context.js';
import { table } from '../output/table.js';
import { defaultImage, loadProject } from './project.js';

export interface TryOptions extends Pick<
  KitOptions,
  'bios' | 'machine' | 'bus' | 'accelerator' | 'clock' | 'diskGiB' | 'disk' | 'serialLog' | 'neighbours'
> {
  /** Default `images/<name>.img`. */
  readonly image?: string;
  /** Give up when the kit does not answer within this many seconds. Default 900. */
  readonly seconds?: number;
}

/** Where a running kit's forwards are written down, for `verify` and other programs. */
export function forwardsFile(image: string): string {
  return image.replace(/\.img$/, '') + '.forwards.json';
}

/**
 * Boots the image of a profile under QEMU and waits until the kit answers.
 * The caller stops it; `host.close()` does at the latest.
 * @throws UsageError, ProfileError, WorkError, ToolError.
 */
export async function bootKit(
  cli: Pick<Cli, 'host' | 'say'>,
  plan: Plan,
  options: TryOptions,
): Promise<{ kit: Kit; image: string }> {
  const { image: given, seconds = 900, ...machine } = options;
  const image = resolve(given ?? defaultImage(plan));
  const { arch } = plan.site;
  if (arch === 'amd64' && options.machine !== undefined) {
    throw new UsageError(`--machine is for Raspberry Pi images; this kit's board is ${plan.site.board}`);
  }
  if (arch === 'arm64' && options.bios !== undefined) {
    throw new UsageError(`--bios is for PC images; this kit's board is ${plan.site.board}`);
  }
  const kit = await startKit(cli.host, {
    // A card of the size the profile names; a file that holds only what was written to it.
    diskGiB: Math.floor((plan.site.storageGB * 1e9) / 2 ** 30),
    ...machine,
    image,
    site: plan.site,
    ports: kitPorts(plan.ports),
    usualPorts: true,
    onLine: (text) => cli.host.emit({ type: 'log', level: 'debug', text }),
  });
  const speed = kit.accelerator === 'kvm' ? '' : '; emulated, so it takes a minute or more';
  await timed(cli.host, 'boot', `boot the kit (${kit.machine}${speed})`, () =>
    kit.waitReady(seconds * 1000, (note) =>
      cli.host.emit({ type: 'progress', id: 'boot', done: 0, total: 0, unit: 'items', note }),
    ),
  );
  return { kit, image };
}

/**
 * `commeshctl try`: boots a copy of the image and stays until Ctrl-C or until the kit is switched off.
 * Ports go to stdout and, as JSON, into a file beside the image while the kit runs.
 */
export async function runTry(cli: Cli, profilePath: string, options: TryOptions): Promise<number> {
  cli.concerns(profilePath);
  const { plan } = await loadProject(profilePath);
  const { kit, image } = await bootKit(cli, plan, options);
  const file = forwardsFile(image);
  const forget = cli.host.onClose(() => rm(file, { force: true }));
  await writeAtomic(file, `${JSON.stringify(kit.forwards, null, 2)}\n`, 0o600);
  cli.out(
    cli.flags.json
      ? JSON.stringify({ image, forwardsFile: file, serialLog: kit.serialLog, forwards: kit.forwards })
      : forwardsText(plan, kit.forwards),
  );
  cli.say(`The kit runs. Its console is logged in ${kit.serialLog}. Ctrl-C switches it off.`);
  try {
    const { exitCode } = await Promise.race([kit.exited, aborted(cli.host.signal)]);
    if (exitCode !== 0) throw new WorkError(`QEMU has ended with exit code ${exitCode}`);
    await kit.kill();
  } finally {
    await rm(file, { force: true });
    forget();
  }
  return 0;
}

function aborted(signal: AbortSignal): Promise<{ exitCode: number }> {
  return new Promise((done) => {
    if (signal.aborted) done({ exitCode: 0 });
    signal.addEventListener('abort', () => done({ exitCode: 0 }), { once: true });
  });
}

/** What can be reached where, as a person reads it. Pure. */
export function forwardsText(plan: Pick<Plan, 'ports'>, forwards: Forwards): string {
  const rows = plan.ports
    .filter(({ protocol, port, scope }) => scope === 'kit' && forwards[protocol][String(port)] !== undefined)
    .map(({ protocol, port, purpose }) => [
      purpose,
      `${protocol} ${port}`,
      `${forwards.address}:${forwards[protocol][String(port)]}`,
    ]);
  return table([['what', 'on the kit', 'here'], ...rows]);
}
