import { randomBytes } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { execa, type ResultPromise } from 'execa';
import { InterruptedError, ToolError } from '../diagnostics/errors.js';
import type { HostEvent } from './events.js';
import { createThreads, type Threads } from './threads.js';

export interface ExecOptions {
  readonly cwd?: string;
  /** Added to a clean environment (PATH, HOME, LANG=C.UTF-8) unless `inheritEnv`. */
  readonly env?: Readonly<Record<string, string>>;
  readonly inheritEnv?: boolean;
  readonly input?: string | Buffer;
  /** Streamed to standard input; wins over `input`. */
  readonly stdin?: Readable;
  /** Gets standard output instead of `stdout` of the result. */
  readonly stdout?: Writable;
  /** Called for each line of standard error. */
  readonly onStderrLine?: (line: string) => void;
  /** Called for each line of standard output (which is still returned). */
  readonly onStdoutLine?: (line: string) => void;
  /** Cleans up: runs after Ctrl-C, too, and is not ended by it. */
  readonly tidies?: boolean;
  /** Return the result instead of throwing ToolError when the program fails. */
  readonly allowFailure?: boolean;
  readonly timeoutMs?: number;
  /** What the program does, in words, for the error message. */
  readonly title?: string;
  readonly hint?: string;
}

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A program left running; `stop` ends it (SIGTERM, then SIGKILL after `graceMs`). */
export interface Running {
  readonly pid: number;
  readonly stdin: Writable | null;
  readonly stdout: Readable;
  readonly stderr: Readable;
  readonly exited: Promise<{ exitCode: number }>;
  stop(graceMs?: number): Promise<void>;
}

/** All effects of the core go through here. */
export interface Host {
  /** Runs a program to its end. argv[0] is found in PATH. Throws ToolError on failure. */
  exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Starts a program and returns at once; it is ended by `close` at the latest. */
  start(argv: readonly string[], options?: ExecOptions): Running;
  /** Threads for what keeps a processor busy. */
  readonly threads: Threads;
  emit(event: HostEvent): void;
  /** Milliseconds since 1970. */
  now(): number;
  random(bytes: number): Buffer;
  /** A fresh folder (mode 0700) that `close` removes. `near`: make it inside that folder. */
  temporary(prefix: string, near?: string): Promise<string>;
  /** Runs at `close`, last registered first. Returns a function that takes it back. */
  onClose(action: () => Promise<void> | void): () => void;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number;
  /** Undo everything still open: programs, temporary folders, registered actions. */
  close(): Promise<void>;
}

const TAIL_LINES = 20;

/** The last lines of a program's standard error. */
export function tail(text: string, lines = TAIL_LINES): string {
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}

/**
 * The real host.
 * @param emit receives every event.
 */
export function createHost(emit: (event: HostEvent) => void = () => {}): Host & { interrupt(): void } {
  const aborter = new AbortController();
  // Everything that runs listens here; many at once are no leak.
  setMaxListeners(0, aborter.signal);
  const closers = new Closers();
  const threads = createThreads(aborter.signal);
  const cleanEnv = (): Record<string, string> => ({
    PATH: [process.env['PATH'] ?? '', '/usr/local/sbin', '/usr/sbin', '/sbin'].filter(Boolean).join(':'),
    HOME: process.env['HOME'] ?? '/',
    TERM: 'dumb',
    LANG: 'C.UTF-8',
    LC_ALL: 'C.UTF-8',
  });
  const launch = (argv: readonly string[], options: ExecOptions): ResultPromise => {
    const [program, ...args] = argv;
    if (program === undefined) throw new Error('exec of nothing');
    return execa(program, args, {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      env: { ...(options.inheritEnv ? {} : cleanEnv()), ...options.env },
      extendEnv: options.inheritEnv ?? false,
      reject: false,
      stripFinalNewline: false,
      cleanup: true,
      // Its own group, so that Ctrl-C at the terminal reaches only us and we end it in order.
      detached: true,
      ...(options.timeoutMs === undefined ? {} : { timeout: options.timeoutMs }),
      maxBuffer: 256 * 1024 * 1024,
      ...(options.stdin
        ? { stdin: 'pipe' as const }
        : options.input === undefined
          ? { stdin: 'ignore' as const }
          : { input: options.input }),
      ...(options.stdout ? { buffer: { stdout: false } } : {}),
    }) as unknown as ResultPromise;
  };
  const endGroup = (pid: number, signal: NodeJS.Signals): void => {
    try {
      process.kill(-pid, signal);
    } catch {
      // It has ended already.
    }
  };
  const lines = (stream: Readable | null | undefined, onLine: ((line: string) => void) | undefined): void => {
    if (!stream || !onLine) return;
    let rest = '';
    stream.on('data', (chunk: Buffer | string) => {
      const parts = (rest + chunk.toString()).split(/\r?\n|\r/);
      rest = parts.pop() ?? '';
      for (const part of parts) onLine(part);
    });
    stream.on('end', () => {
      if (rest) onLine(rest);
    });
  };

  const host: Host & { interrupt(): void } = {
    signal: aborter.signal,
    env: process.env,
    uid: process.getuid?.() ?? 0,
    threads,
    emit,
    now: () => Date.now(),
    random: (bytes) => randomBytes(bytes),
    async exec(argv, options = {}) {
      const interrupted = (): boolean => aborter.signal.aborted && options.tidies !== true;
      if (interrupted()) throw new InterruptedError();
      const child = launch(argv, options);
      const onAbort = (): void => {
        if (child.pid !== undefined) {
          endGroup(child.pid, 'SIGTERM');
          const pid = child.pid;
          setTimeout(() => endGroup(pid, 'SIGKILL'), 5000).unref();
        }
      };
      if (options.tidies !== true) aborter.signal.addEventListener('abort', onAbort, { once: true });
      lines(child.stderr, options.onStderrLine);
      lines(child.stdout, options.onStdoutLine);
      if (options.stdin && child.stdin) {
        const sink = child.stdin;
        sink.on('error', () => {});
        options.stdin.on('error', (error) => sink.destroy(error));
        options.stdin.pipe(sink);
      }
      if (options.stdout && child.stdout) child.stdout.pipe(options.stdout, { end: true });
      try {
        const result = await child;
        if (interrupted()) throw new InterruptedError();
        const stdout = typeof result.stdout === 'string' ? result.stdout : '';
        const stderr = typeof result.stderr === 'string' ? result.stderr : '';
        if (result.failed && !(options.allowFailure && result.exitCode !== undefined)) {
          const missing = result.code === 'ENOENT';
          throw new ToolError(
            argv,
            result.timedOut
              ? 'timeout'
              : (result.exitCode ?? result.signal ?? (missing ? 'not found' : 'not started')),
            tail(stderr || result.shortMessage || ''),
            {
              ...(options.title === undefined ? {} : { title: options.title }),
              ...(options.hint !== undefined
                ? { hint: options.hint }
                : missing
                  ? {
                      hint: `${argv[0]} is not installed; "commeshctl doctor --install" gets what is missing`,
                    }
                  : {}),
            },
          );
        }
        return { exitCode: result.exitCode ?? 1, stdout, stderr };
      } finally {
        aborter.signal.removeEventListener('abort', onAbort);
      }
    },
    start(argv, options = {}) {
      const child = launch(argv, options);
      lines(child.stderr, options.onStderrLine);
      lines(child.stdout, options.onStdoutLine);
      const exited = child.then((result) => ({ exitCode: result.exitCode ?? 1 }));
      let ended = false;
      void exited.then(() => {
        ended = true;
      });
      const stop = async (graceMs = 5000): Promise<void> => {
        if (ended || child.pid === undefined) return;
        endGroup(child.pid, 'SIGTERM');
        const pid = child.pid;
        const timer = setTimeout(() => endGroup(pid, 'SIGKILL'), graceMs);
        await exited;
        clearTimeout(timer);
      };
      const forget = host.onClose(() => stop());
      void exited.then(forget);
      return {
        pid: child.pid ?? -1,
        stdin: child.stdin ?? null,
        stdout: child.stdout as Readable,
        stderr: child.stderr as Readable,
        exited,
        stop,
      };
    },
    temporary: (prefix, near) => closers.temporary(prefix, near),
    onClose: (action) => closers.add(action),
    interrupt() {
      aborter.abort();
    },
    async close() {
      await threads.stop();
      await closers.run();
    },
  };
  return host;
}

/** What has to be undone in the end, last registered first. */
class Closers {
  readonly #actions = new Set<() => Promise<void> | void>();

  /** Returns a function that takes it back. */
  add(action: () => Promise<void> | void): () => void {
    // A function of its own, so that the same action may be registered twice.
    const once = (): Promise<void> | void => action();
    this.#actions.add(once);
    return () => {
      this.#actions.delete(once);
    };
  }

  async temporary(prefix: string, near: string | undefined): Promise<string> {
    const folder = await mkdtemp(join(near ?? tmpdir(), `${prefix}-`));
    this.add(() => rm(folder, { recursive: true, force: true }));
    return folder;
  }

  async run(): Promise<void> {
    for (const action of [...this.#actions].reverse()) {
      this.#actions.delete(action);
      try {
        await action();
      } catch {
        // The rest still has to be undone.
      }
    }
  }
}

/**
 * A host for one of several pieces of work that run side by side: what it leaves open is undone at its own `close`, or when the
 * host it came from closes. Everything else is that host's.
 * @param emit receives the events of this piece alone.
 */
export function hostFor(host: Host, emit: (event: HostEvent) => void): Host {
  const closers = new Closers();
  const forget = host.onClose(() => closers.run());
  return {
    ...host,
    emit,
    temporary: (prefix, near) => closers.temporary(prefix, near),
    onClose: (action) => closers.add(action),
    async close() {
      forget();
      await closers.run();
    },
  };
}

/** Runs `work` between a begin and an end event. The result's `cached` note is the caller's to emit. */
export async function timed<T>(
  host: Host,
  id: string,
  title: string,
  work: () => Promise<T>,
  describe?: (result: T) => { state?: 'done' | 'cached' | 'skipped'; note?: string },
): Promise<T> {
  const begin = host.now();
  host.emit({ type: 'begin', id, title });
  try {
    const result = await work();
    const { state = 'done', note } = describe?.(result) ?? {};
    host.emit({
      type: 'end',
      id,
      state,
      milliseconds: host.now() - begin,
      ...(note === undefined ? {} : { note }),
    });
    return result;
  } catch (error) {
    host.emit({ type: 'end', id, state: 'failed', milliseconds: host.now() - begin });
    throw error;
  }
}
