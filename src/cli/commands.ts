import type { BackupOptions } from './commands/backup.js';
import type { Action, PeopleOptions } from './commands/people.js';
import type { RestoreOptions } from './commands/restore.js';
import type { TryOptions } from './commands/try.js';
import type { VerifyOptions } from './commands/verify.js';
import {
  given,
  maybe,
  number,
  profileOption,
  SHELLS,
  string,
  strings,
  word,
  type ArgumentSpec,
  type CommandSpec,
  type OptionSpec,
  type Shell,
} from './spec.js';

const PROFILE: ArgumentSpec = { name: '<file>', text: 'the site profile, a YAML file', completes: 'profile' };
const PROFILES: ArgumentSpec = { name: '<files...>', text: 'site profiles', completes: 'profile' };
const KIT_PROFILE: OptionSpec = {
  flags: '--profile <file>',
  text: 'the profile the kit was built from (required)',
  completes: 'profile',
};
const FORWARDS: OptionSpec = {
  flags: '--forwards <file>',
  text: 'the kit runs under "try": the file of ports it has written',
  completes: 'path',
};
const PEOPLE_ACTIONS = ['add', 'list', 'invite', 'reset', 'remove'] as const satisfies readonly Action[];
const BOARDS = ['zero2w', 'pi3', 'pi4', 'pi5', 'pc'] as const;

/** The table of commands, in the order of the work. */
export const commands: readonly CommandSpec[] = [
  {
    name: 'init',
    summary: 'ask a few questions and write a site profile',
    description:
      'Asks about the place, its people and its equipment, and writes a commented site profile that "check" ' +
      'accepts. Says no where a kit will not work. Never overwrites a file. With --yes it asks nothing and ' +
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
      {
        flags: '--network <mode>',
        text: 'own Wi-Fi, or a cable to a router',
        choices: ['access-point', 'lan'],
      },
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
      'Reads profiles and says everything that is wrong or doubtful, each with its line and what to do. ' +
      'Changes nothing and uses no network.',
    arguments: [PROFILES],
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
      'Shows packages, units, ports, names, certificates, memory, disk, backups and checks of the image, each ' +
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
      "Gets every package and index the image needs into the offline cache, checks them against the archive's " +
      'signature, and writes <profile>.lock.json beside the profile. Stopped half-way it goes on where it was. ' +
      'Profiles that ask for the same packages get the same lock.',
    arguments: [PROFILES],
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
      const [{ runFetchAll }, { fetchText }] = await Promise.all([
        import('./commands/fetch.js'),
        import('./output/results.js'),
      ]);
      const files = args[0] as readonly string[];
      const summaries = await runFetchAll(
        cli.host,
        files,
        {
          cache: cli.flags.cache,
          locked: options['locked'] === true,
          update: options['update'] === true,
          ...given({ archives: strings(options, 'archive'), keyrings: strings(options, 'keyring') }),
        },
        (file) => cli.concerns(file),
      );
      const [only] = summaries;
      if (cli.flags.json) cli.out(JSON.stringify(files.length === 1 ? only : summaries, null, 2));
      else cli.out(summaries.map(fetchText).join('\n\n'));
      return 0;
    },
  },
  {
    name: 'build-image',
    summary: 'build the image from the offline cache, with no network',
    description:
      'Builds the image from profile, lock and offline cache. Needs neither root nor a network. Beside the image ' +
      'it writes a block map (.bmap), a checksum (.sha256) and a report with all packages (.json). Of several ' +
      'profiles, or of one with a table of sites, it builds all images; stopped half-way it goes on where it was.',
    arguments: [PROFILES],
    options: [
      {
        flags: '--output <path>',
        text: 'the image to write (default: images/<name>.img); with several sites, the folder of the images',
        completes: 'path',
      },
      {
        flags: '--sites <file>',
        text: 'a CSV table: the first line names settings ("site.name,site.title,people"), every other line is a site',
        completes: 'path',
      },
      { flags: '--rebuild', text: 'several sites: build also images that are there and still true' },
      { flags: '--compress <how>', text: 'also write a compressed image', choices: ['none', 'zst', 'xz'] },
      {
        flags: '--no-twins',
        text: 'Raspberry Pi on a PC: emulate every program (same image, ten times as long)',
      },
      { flags: '--print-manifest', text: 'print the stages as JSON and build nothing' },
      {
        flags: '--keyring <name=file>',
        text: 'the keys of one archive, as given to fetch',
        repeat: true,
        completes: 'path',
      },
    ],
    example: [
      '$ commeshctl build-image profiles/clinic.yaml',
      '$ commeshctl build-image profiles/clinic.yaml --compress zst --output /media/usb/clinic.img',
      '$ commeshctl build-image profiles/clinic.yaml --sites district.csv --output images/district',
    ],
    run: async (cli, args, options) => {
      const files = args[0] as readonly string[];
      const table = string(options, 'sites');
      const site = {
        cache: cli.flags.cache,
        compress: (string(options, 'compress') ?? 'none') as 'none' | 'zst' | 'xz',
        twins: options['twins'] !== false,
        ...given({ keyrings: strings(options, 'keyring') }),
      };
      if (files.length > 1 || table !== undefined) {
        const { buildFleet } = await import('./commands/build-fleet.js');
        return buildFleet(cli, files, {
          ...site,
          rebuild: options['rebuild'] === true,
          printManifest: options['printManifest'] === true,
          ...given({ folder: string(options, 'output'), table }),
        });
      }
      const [{ runBuildImage }, { buildText }] = await Promise.all([
        import('./commands/build-image.js'),
        import('./output/results.js'),
      ]);
      const profile = files[0] ?? '';
      cli.concerns(profile);
      const { manifest, result } = await runBuildImage(cli.host, profile, {
        ...site,
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
      "Boots a copy of the image in QEMU, cut off from every network, with the kit's ports forwarded to this " +
      'machine. The image itself is not changed. Ctrl-C ends it.',
    arguments: [PROFILE],
    options: [
      { flags: '--image <file>', text: 'the image (default: images/<name>.img)', completes: 'image' },
      {
        flags: '--bios <kind>',
        text: 'PC: how it starts (default: uefi)',
        choices: ['uefi', 'bios', 'secure-boot'],
      },
      {
        flags: '--machine <name>',
        text: 'Raspberry Pi: the machine QEMU plays (default: virt)',
        choices: ['virt', 'raspi3b', 'raspi4b'],
      },
      {
        flags: '--accelerator <kind>',
        text: 'kvm, or tcg (slow; default: what works)',
        choices: ['kvm', 'tcg'],
      },
      {
        flags: '--card <file>',
        text: 'keep what the kit writes in this file, and start from it again next time',
        completes: 'path',
      },
      {
        flags: '--card-size <GiB>',
        text: 'size of the card (default: as in the profile)',
        number: { least: 4, most: 2048 },
      },
      { flags: '--serial-log <file>', text: 'where the console is logged', completes: 'path' },
      {
        flags: '--seconds <number>',
        text: 'give up after this time (default: 900)',
        number: { least: 10, most: 7200 },
      },
    ],
    example: [
      '$ commeshctl try profiles/quickstart.yaml',
      '$ commeshctl try profiles/clinic.yaml --image clinic.img --machine raspi3b',
    ],
    run: async (cli, args, options) => {
      const { runTry } = await import('./commands/try.js');
      return runTry(
        cli,
        word(args, 0),
        given<TryOptions>({
          image: string(options, 'image'),
          bios: string(options, 'bios') as TryOptions['bios'],
          machine: string(options, 'machine') as TryOptions['machine'],
          accelerator: string(options, 'accelerator') as TryOptions['accelerator'],
          disk: string(options, 'card'),
          diskGiB: number(options, 'cardSize'),
          serialLog: string(options, 'serialLog'),
          seconds: number(options, 'seconds'),
        }),
      );
    },
  },
  {
    name: 'verify',
    summary: "check a running kit from inside and as a user's device",
    description:
      "Checks a running kit over SSH and as a user's device: names, certificates, chat between two temporary " +
      'accounts, calls, backups, clock, disks. Removes what it made. Writes a report to hand over with the kit.',
    arguments: [{ name: '[host]', text: 'address of the kit (default: the address in the profile)' }],
    options: [
      KIT_PROFILE,
      FORWARDS,
      {
        flags: '--report <file>',
        text: 'also write the report to <file>.txt and <file>.json',
        completes: 'path',
      },
      { flags: '--only <kind>', text: 'run only checks of this kind', repeat: true },
      { flags: '--vantage <where>', text: 'only one side', choices: ['inside', 'outside'] },
      { flags: '--set-time', text: "set the kit's clock to this machine's first" },
    ],
    example: [
      '$ commeshctl verify --profile profiles/clinic.yaml --report clinic-report',
      '$ commeshctl verify --profile profiles/quickstart.yaml --forwards images/quickstart.forwards.json',
      '$ commeshctl verify 192.168.1.250 --profile profiles/clinic.yaml --only xmpp-talk',
    ],
    run: async (cli, args, options) => {
      const { runVerify } = await import('./commands/verify.js');
      return runVerify(cli, {
        profile: profileOption(options),
        setTime: options['setTime'] === true,
        ...given<Omit<VerifyOptions, 'profile' | 'setTime'>>({
          hostname: maybe(args, 0),
          forwards: string(options, 'forwards'),
          report: string(options, 'report'),
          only: strings(options, 'only'),
          vantage: string(options, 'vantage') as VerifyOptions['vantage'],
        }),
      });
    },
  },
  {
    name: 'flash',
    summary: 'write an image to a card or disk, and read it back',
    description:
      "Writes an image to a whole removable device, after you typed the device's name, and reads it back. " +
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
    name: 'people',
    summary: 'accounts of the people of a running kit',
    description:
      "Makes, lists, invites and removes people on the kit's chat servers over SSH, and gives them new passphrases. " +
      'Passphrases are made here, reach the kit inside the SSH connection, and are shown once: on the terminal, or ' +
      'on a sheet of cards to print and cut.',
    arguments: [
      { name: '<action>', text: 'what to do', choices: PEOPLE_ACTIONS },
      { name: '[names...]', text: 'names, as they stand before the domain of an address' },
    ],
    options: [
      KIT_PROFILE,
      FORWARDS,
      { flags: '--host <address>', text: 'address of the kit (default: the address in the profile)' },
      {
        flags: '--service <name>',
        text: 'only this chat service (default: each one the kit has)',
      },
      {
        flags: '--from <file>',
        text: 'a list of names, one in each line, or CSV: "anna,Anna Moyo"',
        completes: 'path',
      },
      {
        flags: '--cards <file>',
        text: 'write a sheet of cards (HTML) instead of showing passphrases and invitations',
        completes: 'path',
      },
      { flags: '--admin', text: 'add: they may look after the chat server' },
      {
        flags: '--number <number>',
        text: 'invite: so many invitations, each for one person (default: 1)',
        number: { least: 1, most: 500 },
      },
    ],
    example: [
      '$ commeshctl people add anna ben --profile profiles/clinic.yaml',
      '$ commeshctl people add --from village.csv --cards cards.html --profile profiles/clinic.yaml',
      '$ commeshctl people invite --number 20 --cards cards.html --profile profiles/clinic.yaml',
      '$ commeshctl people reset anna --profile profiles/clinic.yaml',
    ],
    run: async (cli, args, options) => {
      const { runPeople } = await import('./commands/people.js');
      return runPeople(cli, {
        profile: profileOption(options),
        action: word(args, 0) as Action,
        names: (args[1] ?? []) as readonly string[],
        admin: options['admin'] === true,
        ...given<Omit<PeopleOptions, 'profile' | 'action' | 'names' | 'admin'>>({
          hostname: string(options, 'host'),
          forwards: string(options, 'forwards'),
          service: string(options, 'service'),
          from: string(options, 'from'),
          cards: string(options, 'cards'),
          number: number(options, 'number'),
        }),
      });
    },
  },
  {
    name: 'backup',
    summary: 'run a backup on the kit and pull a copy of it',
    description: 'Runs a backup on the kit over SSH and copies the encrypted snapshots to this machine.',
    arguments: [{ name: '[host]', text: 'address of the kit (default: the address in the profile)' }],
    options: [
      KIT_PROFILE,
      FORWARDS,
      {
        flags: '--to <folder>',
        text: 'folder of the copies (default: <profile>.backups)',
        completes: 'path',
      },
    ],
    example: ['$ commeshctl backup --profile profiles/clinic.yaml'],
    run: async (cli, args, options) => {
      const { runBackup } = await import('./commands/backup.js');
      return runBackup(cli, {
        profile: profileOption(options),
        ...given<Omit<BackupOptions, 'profile'>>({
          hostname: maybe(args, 0),
          forwards: string(options, 'forwards'),
          to: string(options, 'to'),
        }),
      });
    },
  },
  {
    name: 'restore',
    summary: 'put a pulled backup onto a fresh kit',
    description: 'Puts a backup onto a fresh kit over SSH: the same accounts, rooms, history and files.',
    arguments: [{ name: '[host]', text: 'address of the kit (default: the address in the profile)' }],
    options: [
      KIT_PROFILE,
      FORWARDS,
      {
        flags: '--from <folder>',
        text: 'a folder that "backup" wrote (default: the newest below <profile>.backups)',
        completes: 'path',
      },
      { flags: '--snapshot <id>', text: 'take this snapshot (default: the latest)' },
    ],
    example: ['$ commeshctl restore --profile profiles/clinic.yaml'],
    run: async (cli, args, options) => {
      const { runRestore } = await import('./commands/restore.js');
      return runRestore(cli, {
        profile: profileOption(options),
        ...given<Omit<RestoreOptions, 'profile'>>({
          hostname: maybe(args, 0),
          forwards: string(options, 'forwards'),
          from: string(options, 'from'),
          snapshot: string(options, 'snapshot'),
        }),
      });
    },
  },
  {
    name: 'doctor',
    summary: 'say what this machine lacks, and get it',
    description:
      'Looks at this machine: programs and their versions, user namespaces, emulation, disk space. With ' +
      "--install it gets what is missing from this machine's own package sources, after saying what.",
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
