import { CommanderError } from 'commander';
import { UsageError } from '../diagnostics/errors.js';
import { createHost } from '../host/host.js';
import type { HostEvent } from '../host/events.js';
import type { Cli, Flags } from './context.js';
import { errorExitCode, errorJson, errorText } from './output/errors.js';
import { createProgress, type ProgressMode } from './output/progress.js';
import { createTheme, wantsColour } from './output/theme.js';
import { createProgram, type Invocation } from './program.js';
import { version } from './version.js';

interface Terminal {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** What the program is given by whoever started it. */
export interface Surroundings {
  readonly stdout: Terminal;
  readonly stderr: Terminal;
  readonly stdin: { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Runs one command line.
 * @param argv what follows the program's name.
 * @returns the exit code. 0: done. 1: the work failed. 2: the profile or the usage is wrong.
 */
export async function main(argv: readonly string[], around: Surroundings = process): Promise<number> {
  const { stdout, stderr, env } = around;
  let invocation: Invocation | undefined;
  const program = createProgram({
    version: version(),
    writeOut: (text) => stdout.write(text),
    helpWidth: stdout.isTTY === true ? Math.min(Math.max(stdout.columns ?? 100, 60), 100) : 100,
    onCommand: (given) => {
      invocation = given;
    },
  });
  try {
    program.parse([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return 0;
    const flags = guessFlags(argv);
    if (error.code === 'commander.help') {
      stderr.write(program.helpInformation());
      return 2;
    }
    return tell(usageError(error), flags, around, undefined);
  }
  if (!invocation) {
    stderr.write(program.helpInformation());
    return 2;
  }
  return perform(invocation, around, env);
}

async function perform(
  { spec, args, options, flags }: Invocation,
  around: Surroundings,
  env: Surroundings['env'],
): Promise<number> {
  const { stdout, stderr } = around;
  let profile: string | undefined;
  const progress = createProgress({
    mode: progressMode(flags, stderr, env),
    stream: stderr,
    theme: createTheme(wantsColour(stderr, env, flags.plain || flags.json)),
    verbose: flags.verbose,
    now: () => performance.now(),
  });
  const emit = (event: HostEvent): void => progress.handle(event);
  const host = createHost(emit);
  const cli: Cli = {
    host,
    flags,
    theme: createTheme(wantsColour(stdout, env, flags.plain || flags.json)),
    interactive:
      stdout.isTTY === true &&
      stderr.isTTY === true &&
      around.stdin.isTTY === true &&
      !flags.json &&
      !flags.plain,
    out: (text) => stdout.write(text.endsWith('\n') ? text : `${text}\n`),
    say: (text) => {
      emit({ type: 'log', level: 'info', text: text.replace(/\n$/, '') });
    },
    concerns: (file) => {
      profile = file;
    },
  };
  let pressed = 0;
  const stop = (): void => {
    pressed += 1;
    // Whoever asks twice does not want to wait for the tidying.
    if (pressed > 1) process.exit(1);
    if (!flags.json)
      stderr.write('\nStopping and removing what is half done. Press Ctrl-C again to stop at once.\n');
    host.interrupt();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  let code: number;
  let failure: { error: unknown } | undefined;
  try {
    code = await spec.run(cli, args, options);
  } catch (error) {
    failure = { error };
    code = errorExitCode(error);
  }
  await host.close();
  await progress.close();
  process.off('SIGINT', stop);
  process.off('SIGTERM', stop);
  return failure ? tell(failure.error, flags, around, profile) : code;
}

function progressMode(flags: Flags, stderr: Terminal, env: Surroundings['env']): ProgressMode {
  if (flags.json) return 'json';
  if (flags.quiet) return 'quiet';
  // A CI's log and a dumb terminal cannot go back up a line.
  return stderr.isTTY === true && !flags.plain && env['TERM'] !== 'dumb' && !env['CI'] ? 'live' : 'plain';
}

async function tell(
  error: unknown,
  flags: Flags,
  { stderr, env }: Surroundings,
  profile: string | undefined,
): Promise<number> {
  if (flags.json) stderr.write(`${JSON.stringify(await errorJson(error, flags, profile))}\n`);
  else
    stderr.write(
      `${await errorText(error, flags, profile, createTheme(wantsColour(stderr, env, flags.plain)))}\n`,
    );
  return errorExitCode(error);
}

/** Commander's complaint in the words of the family; its "Did you mean" becomes the hint. */
function usageError(error: CommanderError): UsageError {
  const text = error.message.replace(/^error: /, '');
  const suggestion = /\n?\((Did you mean [^)]*)\)/s.exec(text);
  const message = text.replace(/\n?\(Did you mean [^)]*\)/s, '');
  const hint = suggestion?.[1]
    ? suggestion[1]
        .replace(/^Did you mean one of /, 'did you mean one of ')
        .replace(/^Did you mean /, 'did you mean ')
    : '"commeshctl --help" lists the commands, "commeshctl <command> --help" explains one';
  return new UsageError(message, { hint });
}

/** Flags of a command line that could not be understood as a whole. */
function guessFlags(argv: readonly string[]): Flags {
  const end = argv.indexOf('--');
  const words = new Set(end < 0 ? argv : argv.slice(0, end));
  return {
    json: words.has('--json'),
    plain: words.has('--plain'),
    quiet: false,
    verbose: words.has('--verbose'),
    cache: '',
  };
}
