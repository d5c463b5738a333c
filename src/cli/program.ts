import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { commands } from './commands.js';
import type { Flags } from './context.js';
import type { CommandSpec } from './spec.js';

export { commands };

/** A command line, understood. */
export interface Invocation {
  readonly spec: CommandSpec;
  readonly args: readonly (string | readonly string[] | undefined)[];
  readonly options: Readonly<Record<string, unknown>>;
  readonly flags: Flags;
}

export interface ProgramOptions {
  readonly version: string;
  /** Help goes here. */
  readonly writeOut: (text: string) => void;
  readonly helpWidth: number;
  /** Called when a command line names a command and is right. */
  readonly onCommand: (invocation: Invocation) => void;
}

/** Where packages and indexes are kept unless `--cache` says otherwise. */
export const DEFAULT_CACHE = 'offline-cache';

const FLAGS: readonly (readonly [flags: string, text: string])[] = [
  ['--json', 'data as JSON on stdout, progress and errors as JSON lines on stderr'],
  ['--plain', 'no colours and no moving lines'],
  ['--quiet', 'say only what went wrong'],
  ['--verbose', 'say everything that happens'],
  ['--cache <dir>', `folder of the offline cache (default: ${DEFAULT_CACHE})`],
];

/** The commander tree, made from the table of commands. Nothing of a command is loaded before it is called. */
export function createProgram(options: ProgramOptions): Command {
  const program = new Command('commeshctl');
  const settle = (command: Command): Command =>
    command
      .exitOverride()
      .showHelpAfterError(false)
      .configureOutput({
        writeOut: options.writeOut,
        writeErr: () => {},
        // Errors are thrown, and told by main in one way for all.
        outputError: () => {},
        getOutHelpWidth: () => options.helpWidth,
        getErrHelpWidth: () => options.helpWidth,
        getOutHasColors: () => false,
      })
      .configureHelp({ showGlobalOptions: command !== program })
      .helpOption('-h, --help', 'show this help');
  settle(program)
    .description(
      'Turns one site profile (a YAML file) into an offline communication kit for a Raspberry Pi or a PC:\n' +
        'chat, calls, file sharing and an own certificate authority, with no internet.',
    )
    .version(options.version, '-V, --version', 'show the version')
    .helpCommand('help [command]', 'show the help of a command')
    .addHelpText(
      'after',
      '\nThe usual way:\n' +
        '  $ commeshctl init profiles/clinic.yaml\n' +
        '  $ commeshctl check profiles/clinic.yaml\n' +
        '  $ commeshctl fetch profiles/clinic.yaml\n' +
        '  $ commeshctl build-image profiles/clinic.yaml\n' +
        '  $ commeshctl flash images/clinic.img /dev/sdX\n' +
        '  $ commeshctl verify --profile profiles/clinic.yaml\n\n' +
        '"commeshctl <command> --help" shows an example of each.',
    );
  for (const [flags, text] of FLAGS) program.option(flags, text);
  for (const spec of commands) {
    const command = settle(program.command(spec.name)).summary(spec.summary).description(spec.description);
    for (const argument of spec.arguments ?? []) command.addArgument(makeArgument(argument));
    for (const option of spec.options ?? []) command.addOption(makeOption(option));
    command.addHelpText('after', `\nExample:\n${spec.example.map((line) => `  ${line}`).join('\n')}`);
    command.action((...given: unknown[]) => {
      const args = given.slice(0, spec.arguments?.length ?? 0) as Invocation['args'];
      options.onCommand({ spec, args, options: command.opts(), flags: flagsOf(program.opts()) });
    });
  }
  return program;
}

function flagsOf(given: Readonly<Record<string, unknown>>): Flags {
  return {
    json: given['json'] === true,
    plain: given['plain'] === true,
    quiet: given['quiet'] === true,
    verbose: given['verbose'] === true,
    cache: typeof given['cache'] === 'string' ? given['cache'] : DEFAULT_CACHE,
  };
}

function makeArgument(spec: NonNullable<CommandSpec['arguments']>[number]): Argument {
  const argument = new Argument(spec.name, spec.text);
  return spec.choices ? argument.choices([...spec.choices]) : argument;
}

function makeOption(spec: NonNullable<CommandSpec['options']>[number]): Option {
  const option = new Option(spec.flags, spec.text);
  if (spec.choices) option.choices([...spec.choices]);
  if (spec.hidden) option.hideHelp();
  if (spec.repeat)
    option.argParser((text: string, before: readonly string[] | undefined) => [...(before ?? []), text]);
  if (spec.number) {
    const { least, most } = spec.number;
    option.argParser((text: string): number => {
      const value = Number(text);
      if (!/^\d+$/.test(text) || value < least || value > most)
        throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
      return value;
    });
  }
  return option;
}
