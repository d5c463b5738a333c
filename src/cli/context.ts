import type { Host } from '../host/host.js';
import type { Theme } from './output/theme.js';

/** Flags every command has. */
export interface Flags {
  /** Data as JSON on stdout, talk as JSON lines on stderr. */
  readonly json: boolean;
  /** No colour, no moving lines. */
  readonly plain: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  /** Folder of the offline cache. */
  readonly cache: string;
}

/** What a command gets from the shell around it. */
export interface Cli {
  readonly host: Host;
  readonly flags: Flags;
  /** Colours for stdout. */
  readonly theme: Theme;
  /** Data, to stdout. */
  out(text: string): void;
  /** Talk, to stderr, one line or more. Not shown with --quiet; a `log` event with --json. */
  say(text: string): void;
  /** Names the profile the command works on, so that an error without a file can be told at its line. */
  concerns(profile: string): void;
  /** Both ends are a terminal and nobody asked for --json or --plain: questions may be asked on a screen. */
  readonly interactive: boolean;
}
