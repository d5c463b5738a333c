import { UsageError } from '../diagnostics/errors.js';
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

/** A text option, if it was given. */
export function string(options: Options, name: string): string | undefined {
  const value = options[name];
  return typeof value === 'string' ? value : undefined;
}

/** A number option. */
export function number(options: Options, name: string): number | undefined {
  const value = options[name];
  return typeof value === 'number' ? value : undefined;
}

/** A repeated option. */
export function strings(options: Options, name: string): readonly string[] | undefined {
  const value = options[name];
  return Array.isArray(value) ? value.map(String) : undefined;
}

/** An argument that must be there. */
export function word(args: Args, index: number): string {
  const value = args[index];
  if (typeof value !== 'string') throw new Error(`argument ${index} is missing`);
  return value;
}

/** An argument that may be there. */
export function maybe(args: Args, index: number): string | undefined {
  const value = args[index];
  return typeof value === 'string' ? value : undefined;
}

/** The profile of a running kit; nothing can be done without it. */
export function profileOption(options: Options): string {
  const profile = string(options, 'profile');
  if (profile === undefined)
    throw new UsageError('the profile the kit was built from is missing', {
      hint: 'add --profile <file>; its secrets lie beside it',
    });
  return profile;
}

/** The given settings only: a key without a value is left out, as `exactOptionalPropertyTypes` wants it. */
export function given<T extends object>(values: { [K in keyof T]: T[K] | undefined }): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>;
}
