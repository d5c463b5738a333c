import { copyFile, mkdir, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { existsSync } from 'node:fs';
import { InterruptedError, ToolError, WorkError } from '../../diagnostics/errors.js';
import { tail, type Host, type Running } from '../../host/host.js';
import type { Site } from '../../services/contract.js';
import type { Forwards } from '../../verify/types.js';
import { chooseAccelerator, type Accelerator } from './accelerator.js';
import { takeBootFiles } from './boot-files.js';
import { qemuArguments, type Bios, type DiskBus, type Machine, type MachineOptions } from './machine.js';
import { userNetwork, type KitPort, type Neighbours } from './network.js';
import { chooseForwards, freeUdpPorts } from './ports.js';
import { qmpCommand } from './qmp.js';
import { startUdpRelay } from './udp-relay.js';
import { followLog, isHopeless, milestone } from './serial.js';

const GIB = 2 ** 30;
const READY_PORT = 22;

export interface KitOptions {
  /** Raw image; it is not changed. */
  readonly image: string;
  readonly site: Pick<Site, 'arch' | 'memoryMiB'> & {
    readonly network: Pick<Site['network'], 'address' | 'network' | 'broadcast' | 'prefix'>;
  };
  /** From `kitPorts(plan.ports)`. */
  readonly ports: readonly KitPort[];
  /** Size of the card or disk, GiB; the data partition grows to it. Default 8. */
  readonly diskGiB?: number;
  /** pc: how it starts. Default uefi. */
  readonly bios?: Bios;
  /** arm64: the board QEMU plays. Default virt. */
  readonly machine?: Exclude<Machine, 'pc'>;
  readonly bus?: DiskBus;
  /** Default: kvm where it works. */
  readonly accelerator?: Accelerator;
  /** What the clock says at power-on, ISO 8601 without zone, UTC. */
  readonly clock?: string;
  /** The card (qcow2): made on top of the image when it is not there, else used as it was left. Default: a temporary one. */
  readonly disk?: string;
  /** Other kits on the same virtual network. Default: none. */
  readonly neighbours?: Neighbours;
  /** Raw disks on USB. */
  readonly usbDisks?: readonly string[];
  /** Where the console is logged. Default: a temporary file. */
  readonly serialLog?: string;
  /** Take easily remembered ports of this machine where they are free. */
  readonly usualPorts?: boolean;
  /** Called for each line of the console. */
  readonly onLine?: (line: string) => void;
}

/** A kit running under QEMU. */
export interface Kit {
  readonly forwards: Forwards;
  readonly accelerator: Accelerator;
  readonly machine: Machine;
  readonly serialLog: string;
  /** The card, for another start. */
  readonly disk: string;
  /** The console; what is written to it is typed. */
  readonly consoleSocket: string;
  /** Resolves with QEMU's exit code. */
  readonly exited: Promise<{ exitCode: number }>;
  /** Sends a QMP command. */
  control(command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown>;
  /**
   * Until the kit's SSH server answers.
   * @throws WorkError with the console's last lines when it does not in time, or never will.
   */
  waitReady(timeoutMs?: number, onMilestone?: (text: string) => void): Promise<void>;
  /** Presses the power button if the board has one, waits, and pulls the plug when that does not help. */
  stop(graceMs?: number): Promise<void>;
  /** Pulls the plug. */
  kill(): Promise<void>;
}

/**
 * Boots an image under QEMU with no root and cut off from every network: the kit's LAN holds only the forwarded ports
 * (`-netdev user,restrict=on`, qemu(1)). Any number can run at once. QEMU ends with `host.close()` at the latest.
 * @throws WorkError, ToolError.
 */
export async function startKit(host: Host, options: KitOptions): Promise<Kit> {
  const { site } = options;
  const machine: Machine = site.arch === 'amd64' ? 'pc' : (options.machine ?? 'virt');
  const image = resolve(options.image);
  if (!existsSync(image)) {
    throw new WorkError(`there is no image at ${image}`, { hint: 'make it with "commeshctl build-image"' });
  }
  const work = await host.temporary('commesh-try');
  const disk = resolve(options.disk ?? join(work, 'card.qcow2'));
  const serialLog = resolve(options.serialLog ?? join(work, 'serial.log'));
  await mkdir(dirname(serialLog), { recursive: true });
  await writeFile(serialLog, '');
  if (!existsSync(disk)) await makeCard(host, image, disk, machine, options.diskGiB ?? 8);

  const emulatedBoard = machine === 'raspi3b' || machine === 'raspi4b';
  const accelerator = emulatedBoard
    ? 'tcg'
    : (options.accelerator ?? (await chooseAccelerator(host, site.arch)));
  const fixed: Omit<MachineOptions, 'lan'> = {
    machine,
    accelerator,
    memoryMiB: site.memoryMiB,
    processors: 2,
    disk,
    bus: options.bus ?? 'virtio',
    serialLog,
    consoleSocket: join(work, 'console'),
    controlSocket: join(work, 'control'),
    firmware: machine === 'pc' ? await findFirmware(options.bios ?? 'uefi', work) : null,
    direct: machine === 'pc' ? null : await takeBootFiles(host, image, machine, work),
    clock: options.clock ?? null,
    usbDisks: options.usbDisks ?? [],
    neighbours: options.neighbours ?? null,
  };
  const { running, forwards, errors } = await launch(host, fixed, options);
  return kitOf({ host, running, forwards, errors, fixed, onLine: options.onLine ?? (() => {}) });
}

/** A copy-on-write card on top of the image. */
async function makeCard(
  host: Host,
  image: string,
  disk: string,
  machine: Machine,
  gib: number,
): Promise<void> {
  const { size } = await stat(image);
  let bytes = Math.max(gib * GIB, size);
  // QEMU's card slots take powers of two only.
  if (machine === 'raspi3b' || machine === 'raspi4b') bytes = 2 ** Math.ceil(Math.log2(bytes));
  await mkdir(dirname(disk), { recursive: true });
  await host.exec(
    ['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', image, '-F', 'raw', disk, String(bytes)],
    {
      title: 'making a copy-on-write card',
    },
  );
}

const FIRMWARE: Readonly<
  Record<Exclude<Bios, 'bios'>, readonly (readonly [code: string, variables: string])[]>
> = {
  uefi: [
    ['/usr/share/OVMF/OVMF_CODE_4M.fd', '/usr/share/OVMF/OVMF_VARS_4M.fd'],
    ['/usr/share/OVMF/OVMF_CODE.fd', '/usr/share/OVMF/OVMF_VARS.fd'],
  ],
  'secure-boot': [['/usr/share/OVMF/OVMF_CODE_4M.secboot.fd', '/usr/share/OVMF/OVMF_VARS_4M.ms.fd']],
};

async function findFirmware(bios: Bios, work: string): Promise<MachineOptions['firmware']> {
  if (bios === 'bios') return null;
  const found = FIRMWARE[bios].find(([code, variables]) => existsSync(code) && existsSync(variables));
  if (found === undefined) {
    throw new WorkError('the UEFI firmware for QEMU is not installed', {
      hint: '"commeshctl doctor --install" gets it (package ovmf); or try "--bios bios"',
    });
  }
  const variables = join(work, 'variables.fd');
  await copyFile(found[1], variables);
  return { code: found[0], variables, secure: bios === 'secure-boot' };
}

const ATTEMPTS = 4;

/** Starts QEMU; again with other ports when somebody took one of them in between. */
async function launch(
  host: Host,
  fixed: Omit<MachineOptions, 'lan'>,
  options: KitOptions,
): Promise<{ running: Running; forwards: Forwards; errors: () => string }> {
  for (let attempt = 1; ; attempt += 1) {
    const forwards = await chooseForwards(options.ports, options.usualPorts === true && attempt === 1);
    const { user, relay: relayAddress } = userNetwork(
      { ...options.site.network, ...options.neighbours?.laptops },
      options.ports,
      forwards,
    );
    const [relayPort, qemuPort] = await freeUdpPorts(2);
    const argv = qemuArguments({ ...fixed, lan: { user, relayPort, qemuPort } });
    const relay =
      relayAddress === null
        ? null
        : await startUdpRelay({
            here: relayPort,
            qemu: qemuPort,
            address: relayAddress,
            kit: options.site.network.address,
            forwards: forwards.udp,
          });
    let errors = '';
    const running = host.start(argv, {
      onStderrLine: (line) => {
        errors += `${line}\n`;
      },
    });
    const ended = running.exited.then(async ({ exitCode }) => {
      await relay?.close();
      return exitCode;
    });
    // It listens at its control socket once everything is set up.
    let over = false;
    void ended.then(() => {
      over = true;
    });
    const state = await Promise.race([ended, untilAnswers(fixed.controlSocket, () => over)]);
    if (state === 'up') return { running, forwards, errors: () => errors };
    if (attempt < ATTEMPTS && /host forwarding rule/.test(errors)) continue;
    await running.stop();
    throw new ToolError(argv, typeof state === 'number' ? state : 'no answer', tail(errors), {
      title: 'starting QEMU',
      hint: 'is QEMU installed? "commeshctl doctor" says what is missing',
    });
  }
}

async function untilAnswers(socket: string, over: () => boolean): Promise<'up' | 'silent'> {
  for (let tries = 0; tries < 300 && !over(); tries += 1) {
    try {
      await qmpCommand(socket, 'query-status');
      return 'up';
    } catch {
      await sleep(100);
    }
  }
  return 'silent';
}

interface Parts {
  readonly host: Host;
  readonly running: Running;
  readonly forwards: Forwards;
  readonly errors: () => string;
  readonly fixed: Omit<MachineOptions, 'lan'>;
  readonly onLine: (line: string) => void;
}

function kitOf({ host, running, forwards, errors, fixed, onLine }: Parts): Kit {
  let ended = false;
  let hopeless: string | null = null;
  let said: (text: string) => void = () => {};
  const exited = running.exited.then((result) => {
    ended = true;
    return result;
  });
  const log = followLog(fixed.serialLog, (line) => {
    onLine(line);
    if (isHopeless(line)) hopeless ??= line;
    const text = milestone(line);
    if (text !== null) said(text);
  });
  let polling = false;
  const timer = setInterval(() => {
    if (polling) return;
    polling = true;
    void log.poll().finally(() => {
      polling = false;
    });
  }, 300);
  timer.unref();
  const follow = exited.then(async (result) => {
    clearInterval(timer);
    await log.poll();
    return result;
  });
  const failure = (message: string): WorkError =>
    new WorkError(`${message}\n${[...log.tail().slice(-15), errors()].join('\n')}`.trimEnd(), {
      hint: `the whole console is in ${fixed.serialLog}`,
    });
  const control: Kit['control'] = (command, args) => qmpCommand(fixed.controlSocket, command, args);
  const kit: Kit = {
    forwards,
    accelerator: fixed.accelerator,
    machine: fixed.machine,
    serialLog: fixed.serialLog,
    disk: fixed.disk,
    consoleSocket: fixed.consoleSocket,
    exited: follow,
    control,
    async waitReady(timeoutMs = 900_000, onMilestone = () => {}) {
      const port = forwards.tcp[String(READY_PORT)];
      if (port === undefined) throw new Error('the plan has no SSH port');
      const seen = new Set<string>();
      said = (text) => {
        if (!seen.has(text)) onMilestone(text);
        seen.add(text);
      };
      const until = host.now() + timeoutMs;
      for (;;) {
        if (host.signal.aborted) throw new InterruptedError();
        if (await sshAnswers(forwards.address, port)) return;
        if (ended) throw failure('QEMU has ended before the kit was up');
        if (hopeless !== null) throw failure('the kit does not start');
        if (host.now() > until)
          throw failure(`the kit did not answer within ${Math.round(timeoutMs / 1000)} s`);
        await sleep(500);
      }
    },
    async stop(graceMs = 30_000) {
      if (ended) return;
      if (fixed.machine === 'pc') {
        await control('system_powerdown').catch(() => {});
        await Promise.race([exited, sleep(graceMs, undefined, { ref: false })]);
      }
      await kit.kill();
    },
    async kill() {
      if (ended) return;
      await control('quit').catch(() => {});
      await Promise.race([exited, sleep(2000, undefined, { ref: false })]);
      await running.stop();
    },
  };
  return kit;
}

/** QEMU accepts a connection by itself; only a server behind it sends the greeting (RFC 4253, section 4.2). */
function sshAnswers(address: string, port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(port, address);
    const end = (answer: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      done(answer);
    };
    const timer = setTimeout(() => end(false), 5000);
    socket.once('data', (chunk) => end(chunk.toString('latin1').startsWith('SSH-')));
    socket.once('error', () => end(false));
    socket.once('close', () => end(false));
  });
}
