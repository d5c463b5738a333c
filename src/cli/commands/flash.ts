import { realpath } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { UsageError } from '../../diagnostics/errors.js';
import {
  describeDevice,
  listDevices,
  refusal,
  removableDevices,
  sizeText,
  type BlockDevice,
} from '../../image/devices.js';
import { flash } from '../../image/flash.js';
import type { Cli } from '../context.js';
import { table } from '../output/table.js';
import { bytesText } from '../output/theme.js';

export interface FlashOptions {
  readonly image: string;
  /** None: list the devices. */
  readonly device?: string;
  /** Confirms without a question; must name the device. */
  readonly yesIMean?: string;
  /** Hidden: loop devices count as cards (tests). */
  readonly allowLoop?: boolean;
}

/** Lists the devices an image can be written to, or writes it. Gives the exit code. */
export async function runFlash(cli: Cli, options: FlashOptions): Promise<number> {
  const device = options.device ?? options.yesIMean;
  if (device === undefined) return list(cli, options);
  const result = await flash(cli.host, {
    image: options.image,
    device,
    allowLoop: options.allowLoop ?? false,
    confirm: async (chosen, bytes) => {
      if (options.yesIMean === undefined) return ask(cli, chosen, bytes);
      // A script may name the device by its serial number: /dev/disk/by-id/….
      return realpath(options.yesIMean).catch(() => options.yesIMean ?? '');
    },
  });
  if (cli.flags.json) {
    const { imageBytes, writtenBytes } = result;
    cli.out(
      `${JSON.stringify({ ok: true, device: plain(result.device), imageBytes, writtenBytes }, null, 2)}\n`,
    );
  } else {
    cli.out(
      `${result.device.path} is ready: ${bytesText(result.writtenBytes)} written and read back without a difference. ` +
        'You can pull it out.\n',
    );
  }
  return 0;
}

async function list(cli: Cli, options: FlashOptions): Promise<number> {
  const allowLoop = options.allowLoop ?? false;
  const found = removableDevices(await listDevices(cli.host), allowLoop).map((device) => ({
    device,
    refused: refusal(device, 0, allowLoop),
  }));
  if (cli.flags.json) {
    const devices = found.map(({ device, refused }) => ({
      ...plain(device),
      refused: refused?.reason ?? null,
    }));
    cli.out(`${JSON.stringify({ devices }, null, 2)}\n`);
    return 0;
  }
  if (found.length === 0) {
    cli.say('No card, stick or removable disk is plugged in. Plug one in and run the same command again.');
    return 0;
  }
  const rows = found.map(({ device, refused }) => [
    device.path,
    sizeText(device.size),
    [device.model || 'no name', device.transport, device.serial && `serial ${device.serial}`]
      .filter(Boolean)
      .join(', '),
    refused ? cli.theme.yellow(`not now: ${refused.reason}`) : '',
  ]);
  cli.out(`${table(rows)}\n`);
  const usable = found.find(({ refused }) => refused === null);
  if (usable) cli.say(`To write to one: sudo commeshctl flash ${options.image} ${usable.device.path}`);
  return 0;
}

async function ask(cli: Cli, device: BlockDevice, bytes: number): Promise<string> {
  if (!cli.interactive) {
    throw new UsageError(`nobody is here to confirm that ${device.path} may be overwritten`, {
      hint: `if you mean ${describeDevice(device)}: commeshctl flash IMAGE --yes-i-mean ${device.path}`,
    });
  }
  cli.say(
    `${cli.theme.bold(device.path)}: ${describeDevice(device)}\n` +
      `Everything on it will be lost${bytes > 0 ? `; the image takes ${sizeText(bytes)}` : ''}.`,
  );
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await lines.question(`Type the name of the device to go on (${device.name}): `, {
      signal: cli.host.signal,
    });
  } finally {
    lines.close();
  }
}

function plain(device: BlockDevice): Record<string, string | number | readonly string[]> {
  const { path, size, model, serial, transport, label, mounts } = device;
  return { path, size, model, serial, transport, label, mounts };
}
