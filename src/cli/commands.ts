import { WorkError } from '../diagnostics/errors.js';
import type { Cli } from './context.js';

export interface ArgumentSpec {
  /** `<file>` must be given, `[file]` may be, `<files...>` one or more. */
  readonly name: string;
  readonly text: string;
  readonly choices?: readonly string[];
  /** What a shell completes here. */
  readonly completes?: 'profile' | 'image' | 'path' | 'none';
}

export interface OptionSpec {
  /** As commander reads it: `--output <file>`. */
  readonly flags: string;
  readonly text: string;
  readonly choices?: readonly string[];
  readonly number?: { readonly least: number; readonly most: number };
  /** May be given more than once. */
  readonly repeat?: boolean;
  /** Not shown in the help. */
  readonly hidden?: boolean;
  readonly completes?: 'profile' | 'image' | 'path' | 'none';
}

export type Options = Readonly<Record<string, unknown>>;
export type Args = readonly (string | readonly string[] | undefined)[];

/** One command: what it is called, what it takes, and the work, loaded when it is called. */
export interface CommandSpec {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  readonly description: string;
  readonly arguments?: readonly ArgumentSpec[];
  readonly options?: readonly OptionSpec[];
  readonly example: readonly string[];
  /** Returns the exit code. */
  run(cli: Cli, args: Args, options: Options): Promise<number>;
}

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

const PROFILE: ArgumentSpec = { name: '<file>', text: 'the site profile, a YAML file', completes: 'profile' };
const BOARDS = ['zero2w', 'pi3', 'pi4', 'pi5', 'pc'] as const;

function string(options: Options, name: string): string | undefined {
  const value = options[name];
  return typeof value === 'string' ? value : undefined;
}

function number(options: Options, name: string): number | undefined {
  const value = options[name];
  return typeof value === 'number' ? value : undefined;
}

function strings(options: Options, name: string): readonly string[] | undefined {
  const value = options[name];
  return Array.isArray(value) ? value.map(String) : undefined;
}

function word(args: Args, index: number): string {
  const value = args[index];
  if (typeof value !== 'string') throw new Error(`argument ${index} is missing`);
  return value;
}

function maybe(args: Args, index: number): string | undefined {
  const value = args[index];
  return typeof value === 'string' ? value : undefined;
}

/** The given settings only: a key without a value is left out, as `exactOptionalPropertyTypes` wants it. */
function given<T extends object>(values: { [K in keyof T]: T[K] | undefined }): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>;
}

/** The table of commands, in the order of the work. */
export const commands: readonly CommandSpec[] = [
  {
    name: 'init',
    summary: 'ask a few questions and write a site profile',
    description:
      'Asks about the place, its people and its equipment, and writes a commented site profile that "check"\n' +
      'accepts. Says no where a kit will not work. Never overwrites a file. With --yes it asks nothing and\n' +
      'takes flags and defaults.',
    arguments: [
      { name: '[file]', text: 'the profile to write (default: profiles/<name>.yaml)', completes: 'path' },
    ],
    options: [
      { flags: '--yes', text: 'ask nothing; take the flags below and defaults' },
      { flags: '--name <name>', text: 'short name: small letters, digits, hyphens' },
      { flags: '--title <title>', text: 'name of the place as people say it' },
      { flags: '--languages <tags>', text: 'languages of the place, the main one first: "fr,en"' },
      { flags: '--timezone <zone>', text: 'time zone of the place, "Africa/Nairobi"' },
      { flags: '--board <board>', text: 'what the kit runs on', choices: BOARDS },
      { flags: '--people <number>', text: 'people expected', number: { least: 1, most: 500 } },
      { flags: '--network <mode>', text: 'own Wi-Fi, or a cable to a router', choices: ['access-point', 'lan'] },
      { flags: '--address <address>', text: 'the kit\'s address, "10.77.0.1/24"' },
      { flags: '--dhcp <who>', text: 'on: the kit gives out addresses', choices: ['on', 'off'] },
      { flags: '--ssid <name>', text: 'name of the Wi-Fi' },
      { flags: '--country <code>', text: 'country for the Wi-Fi\'s radio rules, "KE"' },
      { flags: '--services <list>', text: 'optional services, "prosody,coturn", or "none"' },
      { flags: '--backup <when>', text: 'time of the daily backup, "03:00", or "off"' },
      { flags: '--ssh-key <which>', text: 'a .pub file, "found", "make" or "none"', completes: 'path' },
    ],
    example: [
      '$ commeshctl init profiles/clinic.yaml',
      '$ commeshctl init profiles/clinic.yaml --yes --title "Moyo clinic" --board pi4 --people 20 --network lan',
    ],
    run: async (cli, args, options) => {
      const { runInit } = await import('./commands/init.js');
      return runInit(
        cli,
        maybe(args, 0),
        given({
          yes: options['yes'] === true ? true : undefined,
          name: string(options, 'name'),
          title: string(options, 'title'),
          languages: string(options, 'languages'),
          timezone: string(options, 'timezone'),
          board: string(options, 'board') as (typeof BOARDS)[number] | undefined,
          people: number(options, 'people'),
          network: string(options, 'network') as 'access-point' | 'lan' | undefined,
          address: string(options, 'address'),
          dhcp: string(options, 'dhcp') as 'on' | 'off' | undefined,
          ssid: string(options, 'ssid'),
          country: string(options, 'country'),
          services: string(options, 'services'),
          backup: string(options, 'backup'),
          sshKey: string(options, 'sshKey'),
        }),
      );
    },
  },
  {
    name: 'check',
    summary: 'say what is wrong with a profile, and where',
    description:
      'Reads profiles and says everything that is wrong or doubtful, each with its line and what to do.\n' +
      'Changes nothing and uses no network.',
    arguments: [{ name: '<files...>', text: 'site profiles', completes: 'profile' }],
    options: [{ flags: '--strict', text: 'treat warnings as errors' }],
    example: ['$ commeshctl check profiles/clinic.yaml'],
    run: async (cli, args, options) => {
      const [{ runCheck }, { loadServices }, { assemblePlan }] = await Promise.all([
        import('./commands/check.js'),
        import('../services/registry.js'),
        import('../plan/assemble.js'),
      ]);
      const services = await loadServices();
      const { stdout, exitCode } = await runCheck(
        args[0] as readonly string[],
        { json: cli.flags.json, strict: options['strict'] === true, color: cli.theme.colour },
        services,
        (profile) => assemblePlan(profile.site, services).diagnostics,
      );
      cli.out(stdout);
      return exitCode;
    },
  },
  {
    name: 'plan',
    summary: 'show what the image will hold, and which line asked for it',
    description:
      'Shows packages, units, ports, names, certificates, memory, disk, backups and checks of the image, each\n' +
      'with the line of the profile that asked for it. Changes nothing and uses no network.',
    arguments: [PROFILE],
    example: ['$ commeshctl plan profiles/clinic.yaml', '$ commeshctl plan profiles/clinic.yaml --json'],
    run: async (cli, args) => {
      const { runPlan } = await import('./commands/plan.js');
      return runPlan(cli, word(args, 0));
    },
  },
  {
    name: 'fetch',
    summary: 'get the packages; the only command that uses the internet',
    description:
      'Gets every package and index the image needs into the offline cache, checks them against the archive\'s\n' +
      'signature, and writes <profile>.lock.json beside the profile. Stopped half-way it goes on where it was.',
    arguments: [PROFILE],
    options: [
      { flags: '--locked', text: 'get exactly what the lock names; never change the lock' },
      { flags: '--update', text: 'look for newer versions and write a new lock' },
      {
        flags: '--archive <name=url>',
        text: 'take one archive from elsewhere: "raspberrypi=file:/media/usb/raspberrypi"',
        repeat: true,
      },
      { flags: '--keyring <name=file>', text: 'the keys of one archive', repeat: true, completes: 'path' },
    ],
    example: ['$ commeshctl fetch profiles/clinic.yaml', '$ commeshctl fetch profiles/clinic.yaml --locked'],
    run: async (cli, args, options) => {
      const [{ runFetch }, { fetchText }] = await Promise.all([
        import('./commands/fetch.js'),
        import('./output/results.js'),
      ]);
      cli.concerns(word(args, 0));
      const summary = await runFetch(cli.host, word(args, 0), {
        cache: cli.flags.cache,
        locked: options['locked'] === true,
        update: options['update'] === true,
        ...given({ archives: strings(options, 'archive'), keyrings: strings(options, 'keyring') }),
      });
      cli.out(cli.flags.json ? JSON.stringify(summary, null, 2) : fetchText(summary));
      return 0;
    },
  },
  {
    name: 'build-image',
    summary: 'build the image from the offline cache, with no network',
    description:
      'Builds the image from profile, lock and offline cache. Needs neither root nor a network. Beside the image\n' +
      'it writes a block map (.bmap), a checksum (.sha256) and a report with all packages (.json).',
    arguments: [PROFILE],
    options: [
      { flags: '--output <file>', text: 'the image to write (default: images/<name>.img)', completes: 'path' },
      { flags: '--compress <how>', text: 'also write a compressed image', choices: ['none', 'zst', 'xz'] },
      { flags: '--print-manifest', text: 'print the stages as JSON and build nothing' },
    ],
    example: [
      '$ commeshctl build-image profiles/clinic.yaml',
      '$ commeshctl build-image profiles/clinic.yaml --compress zst --output /media/usb/clinic.img',
    ],
    run: async (cli, args, options) => {
      const [{ runBuildImage }, { buildText }] = await Promise.all([
        import('./commands/build-image.js'),
        import('./output/results.js'),
      ]);
      cli.concerns(word(args, 0));
      const { manifest, result } = await runBuildImage(cli.host, word(args, 0), {
        cache: cli.flags.cache,
        compress: (string(options, 'compress') ?? 'none') as 'none' | 'zst' | 'xz',
        printManifest: options['printManifest'] === true,
        ...given({ output: string(options, 'output') }),
      });
      if (result === null) cli.out(JSON.stringify(manifest, null, 2));
      else if (cli.flags.json) cli.out(JSON.stringify(result.report, null, 2));
      else cli.out(buildText(result));
      return 0;
    },
  },
  {
    name: 'try',
    summary: 'boot an image in a virtual machine, to look at it without a board',
    description:
      'Boots a copy of the image in QEMU, cut off from every network, with the kit\'s ports forwarded to this\n' +
      'machine. The image itself is not changed. Ctrl-C ends it.',
    arguments: [PROFILE],
    example: ['$ commeshctl try profiles/clinic.yaml'],
    run: () => later('try'),
  },
  {
    name: 'verify',
    summary: 'check a running kit from inside and as a user\'s device',
    description:
      'Checks a running kit over SSH and as a user\'s device: names, certificates, chat between two temporary\n' +
      'accounts, calls, backups, clock, disks. Removes what it made. Writes a report to hand over with the kit.',
    arguments: [{ name: '[host]', text: 'address of the kit (default: the address in the profile)' }],
    options: [{ flags: '--profile <file>', text: 'the profile the kit was built from', completes: 'profile' }],
    example: ['$ commeshctl verify --profile profiles/clinic.yaml'],
    run: () => later('verify'),
  },
  {
    name: 'flash',
    summary: 'write an image to a card or disk, and read it back',
    description:
      'Writes an image to a whole removable device, after you typed the device\'s name, and reads it back.\n' +
      'Refuses mounted, system and too small devices. Without a device it lists the ones there are.',
    arguments: [
      { name: '<image>', text: 'the image', completes: 'image' },
      { name: '[device]', text: 'the device, e.g. /dev/sdb', completes: 'path' },
    ],
    options: [
      {
        flags: '--yes-i-mean <device>',
        text: 'ask nothing; must name the device that is to be overwritten',
        completes: 'path',
      },
      // Loop devices count as cards: for the tests.
      { flags: '--allow-loop', text: 'take loop devices for cards', hidden: true },
    ],
    example: ['$ commeshctl flash images/clinic.img', '$ sudo commeshctl flash images/clinic.img /dev/sdb'],
    run: async (cli, args, options) => {
      const { runFlash } = await import('./commands/flash.js');
      return runFlash(cli, {
        image: word(args, 0),
        allowLoop: options['allowLoop'] === true,
        ...given({ device: maybe(args, 1), yesIMean: string(options, 'yesIMean') }),
      });
    },
  },
  {
    name: 'backup',
    summary: 'run a backup on the kit and pull a copy of it',
    description: 'Runs a backup on the kit over SSH and copies the encrypted snapshots to this machine.',
    arguments: [{ name: '[host]', text: 'address of the kit (default: the address in the profile)' }],
    options: [{ flags: '--profile <file>', text: 'the profile the kit was built from', completes: 'profile' }],
    example: ['$ commeshctl backup --profile profiles/clinic.yaml'],
    run: () => later('backup'),
  },
  {
    name: 'restore',
    summary: 'put a pulled backup onto a fresh kit',
    description: 'Puts a backup onto a fresh kit over SSH: the same accounts, rooms, history and files.',
    arguments: [{ name: '[host]', text: 'address of the kit (default: the address in the profile)' }],
    options: [{ flags: '--profile <file>', text: 'the profile the kit was built from', completes: 'profile' }],
    example: ['$ commeshctl restore --profile profiles/clinic.yaml'],
    run: () => later('restore'),
  },
  {
    name: 'doctor',
    summary: 'say what this machine lacks, and get it',
    description:
      'Looks at this machine: programs and their versions, user namespaces, emulation, disk space. With\n' +
      '--install it gets what is missing from this machine\'s own package sources, after saying what.',
    options: [{ flags: '--install', text: 'install what is missing (with sudo when not root)' }],
    example: ['$ commeshctl doctor', '$ commeshctl doctor --install'],
    run: async (cli, _args, options) => {
      const { runDoctor } = await import('./commands/doctor.js');
      return runDoctor(cli, { install: options['install'] === true });
    },
  },
  {
    name: 'services',
    summary: 'list what a kit can offer, with its settings',
    description: 'Lists the services a kit always has and those a profile may ask for, with their settings.',
    example: ['$ commeshctl services'],
    run: async (cli) => {
      const { runServices } = await import('./commands/services.js');
      return runServices(cli);
    },
  },
  {
    name: 'completion',
    summary: 'print a completion script for your shell',
    description: 'Prints a script that lets bash, zsh or fish complete commands, flags and profiles.',
    arguments: [{ name: '<shell>', text: 'your shell', choices: SHELLS }],
    example: [
      '$ commeshctl completion bash > ~/.local/share/bash-completion/completions/commeshctl',
      '$ commeshctl completion fish > ~/.config/fish/completions/commeshctl.fish',
    ],
    run: async (cli, args) => {
      const { completionScript } = await import('./commands/completion.js');
      cli.out(completionScript(word(args, 0) as Shell));
      return 0;
    },
  },
];

function later(name: string): Promise<never> {
  throw new WorkError(`${name} is not wired yet`);
}
