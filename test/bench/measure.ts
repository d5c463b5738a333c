/** Timing of programs, and a file of results that grows by one line with every result. */
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Seconds: by the clock, and of the processor in user and system mode, children included. */
export interface Times {
  readonly wall: number;
  readonly user: number;
  readonly system: number;
}

export interface Result extends Times {
  readonly measure: string;
  /** Counted from 0. */
  readonly round: number;
  /** When it was known, ISO 8601. */
  readonly at: string;
  /** Figures the program told itself, seconds. */
  readonly told?: Readonly<Record<string, number>>;
}

/** bash's own `time` counts the programs that were waited for; its figures go to descriptor 3. */
const TIMED = 'TIMEFORMAT="%3R %3U %3S"; { time "$@" 2>&4 3>&- 4>&-; } 4>&2 2>&3';

export interface RunOptions {
  readonly cwd?: string;
  /** A file that takes what the program says; its end is shown when it fails. */
  readonly log: string;
}

/**
 * Runs a program and takes its times.
 * @throws Error with the end of its output when it fails.
 */
export function timeRun(argv: readonly string[], options: RunOptions): Times {
  mkdirSync(dirname(options.log), { recursive: true });
  const figures = `${options.log}.times`;
  const run = spawnSync(
    'bash',
    ['-c', `exec 3>"$1" >"$2" 2>&1; shift 2; ${TIMED}`, 'bash', figures, options.log, ...argv],
    { stdio: 'ignore', ...(options.cwd === undefined ? {} : { cwd: options.cwd }) },
  );
  if (run.status !== 0) {
    const end = readFileSync(options.log, 'utf8').trimEnd().split('\n').slice(-15).join('\n');
    throw new Error(
      `${argv.slice(0, 2).join(' ')} … failed (${run.signal ?? run.status}), see ${options.log}:\n${end}`,
    );
  }
  const [wall, user, system] = readFileSync(figures, 'utf8').trim().split(' ').map(Number);
  rmSync(figures);
  if (wall === undefined || user === undefined || system === undefined) throw new Error('bash told no times');
  return { wall, user, system };
}

/** Results of a run, one JSON object a line; a run that is resumed reads what is there. */
export class Results {
  readonly #known: Result[] = [];

  constructor(
    readonly file: string,
    resume: boolean,
  ) {
    mkdirSync(dirname(file), { recursive: true });
    if (!resume || !existsSync(file)) writeFileSync(file, '');
    // A last line that was cut off by a power failure has no newline.
    const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
    for (const line of lines) this.#known.push(JSON.parse(line) as Result);
    writeFileSync(file, lines.map((line) => `${line}\n`).join(''));
  }

  has(measure: string, round: number): boolean {
    return this.#known.some((one) => one.measure === measure && one.round === round);
  }

  add(measure: string, round: number, times: Times, told?: Readonly<Record<string, number>>): void {
    const result: Result = {
      measure,
      round,
      ...times,
      at: new Date().toISOString(),
      ...(told === undefined ? {} : { told }),
    };
    this.#known.push(result);
    appendFileSync(this.file, `${JSON.stringify(result)}\n`);
  }

  of(measure: string): readonly Result[] {
    return this.#known.filter((one) => one.measure === measure);
  }

  get measures(): readonly string[] {
    return [...new Set(this.#known.map((one) => one.measure))];
  }

  /** Median of a figure of a measure over its rounds; null when there is none. */
  median(measure: string, figure: (one: Result) => number | undefined = (one) => one.wall): number | null {
    const values = this.of(measure)
      .map(figure)
      .filter((value) => value !== undefined)
      .toSorted((a, b) => a - b);
    const middle = values.length >> 1;
    const high = values[middle];
    if (high === undefined) return null;
    return values.length % 2 === 1 ? high : ((values[middle - 1] ?? high) + high) / 2;
  }
}

/** A file of the run's folder that takes the output of one measure. */
export function logFile(work: string, measure: string, round: number): string {
  return join(work, 'logs', `${measure.replaceAll(/[^a-z0-9]+/gi, '-')}-${round}.log`);
}
