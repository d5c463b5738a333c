import { constants } from 'node:os';
import { Readable, type Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import ssh2, { type ClientChannel } from 'ssh2';
import { InterruptedError, WorkError } from '../diagnostics/errors.js';
import type { Host } from './host.js';

export interface SshTarget {
  readonly hostname: string;
  readonly port: number;
  readonly user: string;
  /** OpenSSH or PEM text of the private key. */
  readonly privateKey: string;
  /** The only host key accepted, as in a `.pub` file: `ssh-ed25519 AAAA…`. */
  readonly hostKeyPublic: string;
  /** Until the connection stands, milliseconds. Default 20,000. */
  readonly timeoutMs?: number;
  /** What ends it early; by default the host's own signal. Undoing after Ctrl-C needs another one. */
  readonly signal?: AbortSignal;
}

export interface SshExecOptions {
  readonly stdin?: Readable | string | Buffer;
  /** Gets standard output instead of `stdout` of the result, and is ended. */
  readonly stdout?: Writable;
  readonly timeoutMs?: number;
}

export interface SshResult {
  /** Exit code of the command; 128 + signal number when a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One connection to a kit; commands may run side by side. */
export interface Ssh {
  /** Runs a shell command line. A failing command is a result, not an error; a lost connection is a `SshError`. */
  exec(command: string, options?: SshExecOptions): Promise<SshResult>;
  /** Ends the connection; commands still running fail. May be called twice. */
  close(): void;
}

/** Why there is no connection; `lost` and `refused` may pass while a kit is still starting. */
export type SshFailure = 'refused' | 'unreachable' | 'timeout' | 'other-kit' | 'login' | 'lost' | 'key';

/** The kit could not be reached or spoken to over SSH. */
export class SshError extends WorkError {
  constructor(
    readonly failure: SshFailure,
    message: string,
    extra: { hint?: string; cause?: unknown } = {},
  ) {
    super(message, extra);
  }
}

// OpenSSH's MaxSessions is 10 unless set (sshd_config(5)); two are left for whoever shares the connection.
const SESSIONS = 8;
const REFUSED_TIMES = 40;
const REFUSED_MS = 100;

/**
 * Connects with a pinned host key and a private key, nothing else: no password, no agent, no known_hosts.
 * @throws SshError with words for a tired person; InterruptedError when the signal is aborted.
 */
export async function connectSsh(host: Host, target: SshTarget): Promise<Ssh> {
  const signal = target.signal ?? host.signal;
  if (signal.aborted) throw new InterruptedError();
  const where = `${target.hostname}, port ${target.port}`;
  const [keyType = '', keyText = ''] = target.hostKeyPublic.trim().split(/\s+/);
  const pinned = Buffer.from(keyText, 'base64');
  const parsed = ssh2.utils.parseKey(target.privateKey);
  if (parsed instanceof Error)
    throw new SshError('key', `the operator's SSH key cannot be read: ${parsed.message}`, {
      hint: "the site's secrets folder beside the profile may be damaged; take it from its backup",
    });
  if (pinned.length === 0)
    throw new SshError('key', "the kit's SSH host key in the site's secrets cannot be read", {
      hint: "the site's secrets folder beside the profile may be damaged; take it from its backup",
    });

  const client = new ssh2.Client();
  const timeoutMs = target.timeoutMs ?? 20_000;
  let otherKey = false;
  await new Promise<void>((resolve, reject) => {
    const settle = (action: () => void): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      client.removeListener('close', onClose);
      action();
    };
    const fail = (error: Error): void =>
      settle(() => {
        // A late error of a connection given up must not end the process.
        client.on('error', () => {});
        client.destroy();
        reject(error);
      });
    const onAbort = (): void => fail(new InterruptedError());
    const onClose = (): void =>
      fail(
        new SshError('lost', `the connection to ${where} was closed before the log-in`, {
          hint: 'the kit may still be starting; wait a minute and try again',
        }),
      );
    const timer = setTimeout(
      () =>
        fail(
          new SshError('timeout', `${where} did not answer within ${Math.round(timeoutMs / 1000)} seconds`, {
            hint: "is the kit switched on, and is this computer on the kit's network?",
          }),
        ),
      timeoutMs,
    );
    signal.addEventListener('abort', onAbort, { once: true });
    client.once('ready', () => settle(resolve));
    client.once('close', onClose);
    client.once('error', (error: Error & { level?: string; code?: string }) =>
      fail(explain(error, otherKey, where, target.user)),
    );
    client.connect({
      host: target.hostname,
      port: target.port,
      username: target.user,
      privateKey: target.privateKey,
      // Our own timer speaks; this one only must not come first.
      readyTimeout: timeoutMs + 5000,
      keepaliveInterval: 10_000,
      keepaliveCountMax: 6,
      algorithms: { serverHostKey: [keyType as ssh2.ServerHostKeyAlgorithm] },
      hostVerifier: (key: Buffer) => {
        otherKey = !key.equals(pinned);
        return !otherKey;
      },
    });
  });
  return overClient(client, where, signal);
}

function explain(
  error: Error & { level?: string; code?: string },
  otherKey: boolean,
  where: string,
  user: string,
): SshError {
  if (otherKey || /no matching host key/i.test(error.message))
    return new SshError(
      'other-kit',
      `this is not the kit this profile describes: the device at ${where} has another host key`,
      {
        hint: "check that you joined the right kit's network and named the right profile; a card built from this profile and its secrets always has the same key",
        cause: error,
      },
    );
  if (error.level === 'client-authentication')
    return new SshError('login', `the kit at ${where} did not accept the operator's key for "${user}"`, {
      hint: 'the card was built with other secrets than those beside this profile; build and flash it again, or use the profile it was built from',
      cause: error,
    });
  switch (error.code) {
    case 'ECONNREFUSED':
      return new SshError('refused', `nothing listens for SSH at ${where}`, {
        hint: 'the kit may still be starting, or this is another device; wait a minute and try again',
        cause: error,
      });
    case 'ENETUNREACH':
    case 'EHOSTUNREACH':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new SshError('unreachable', `there is no way from this computer to ${where}`, {
        hint: "join the kit's Wi-Fi or plug in its cable first",
        cause: error,
      });
    case 'ETIMEDOUT':
      return new SshError('timeout', `${where} did not answer`, {
        hint: "is the kit switched on, and is this computer on the kit's network?",
        cause: error,
      });
    default:
      if (error.level === 'client-timeout')
        return new SshError('timeout', `${where} did not answer`, {
          hint: 'the kit may still be starting; wait a minute and try again',
          cause: error,
        });
      return new SshError('lost', `the SSH connection to ${where} broke off: ${error.message}`, {
        hint: 'the kit may still be starting; wait a minute and try again',
        cause: error,
      });
  }
}

function overClient(client: ssh2.Client, where: string, signal: AbortSignal): Ssh {
  const waiting: (() => void)[] = [];
  const running = new Set<(error: Error) => void>();
  let free = SESSIONS;
  let closed: Error | null = null;

  const end = (error: Error): void => {
    if (closed) return;
    closed = error;
    signal.removeEventListener('abort', onAbort);
    for (const wake of waiting.splice(0)) wake();
    for (const reject of [...running]) reject(error);
  };
  const onAbort = (): void => {
    end(new InterruptedError());
    client.destroy();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  const lost = (cause?: unknown): SshError =>
    new SshError('lost', `the SSH connection to ${where} was lost`, {
      hint: "is the kit still switched on, and is this computer still on the kit's network?",
      ...(cause === undefined ? {} : { cause }),
    });
  client.on('error', (error) => end(lost(error)));
  client.on('close', () => end(lost()));

  async function run(command: string, options: SshExecOptions): Promise<SshResult> {
    let channel: ClientChannel | undefined;
    let timer: NodeJS.Timeout | undefined;
    let rejectRun: (error: Error) => void = () => {};
    try {
      return await new Promise<SshResult>((resolve, reject) => {
        rejectRun = reject;
        running.add(reject);
        if (options.timeoutMs !== undefined)
          timer = setTimeout(
            () =>
              reject(
                new SshError(
                  'timeout',
                  `a command on the kit did not end within ${Math.round((options.timeoutMs ?? 0) / 1000)} seconds`,
                ),
              ),
            options.timeoutMs,
          );
        const begin = (left: number): void => {
          client.exec(command, (error, opened) => {
            // The server counts a session until it has cleared up after its command, a moment after we saw it end.
            if (error && left > 0 && running.has(reject) && error.message.includes('Channel open failure')) {
              setTimeout(() => begin(left - 1), REFUSED_MS);
              return;
            }
            if (error) {
              reject(lost(error));
              return;
            }
            channel = opened;
            collect(opened, options).then(resolve, reject);
          });
        };
        begin(REFUSED_TIMES);
      });
    } finally {
      running.delete(rejectRun);
      clearTimeout(timer);
      channel?.destroy();
    }
  }

  return {
    async exec(command, options = {}) {
      if (free === 0) await new Promise<void>((wake) => waiting.push(wake));
      else free -= 1;
      try {
        if (closed) throw closed;
        return await run(command, options);
      } finally {
        const next = waiting.shift();
        if (next) next();
        else free += 1;
      }
    },
    close() {
      end(new SshError('lost', `the SSH connection to ${where} has been closed`));
      client.end();
    },
  };
}

async function collect(channel: ClientChannel, options: SshExecOptions): Promise<SshResult> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  let code = 255;
  channel.on('exit', (status: number | null, name?: string) => {
    code =
      status ??
      128 + (constants.signals[(name ?? 'SIGKILL').replace(/^(SIG)?/, 'SIG') as NodeJS.Signals] ?? 0);
  });
  // The command may end without reading all of its input; that is its business.
  channel.stdin.on('error', () => {});
  const closed = new Promise<void>((resolve, reject) => {
    channel.on('close', () => resolve());
    channel.on('error', reject);
  });
  channel.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  let written: Promise<void> | undefined;
  if (options.stdout) {
    written = finished(options.stdout, { readable: false });
    written.catch(() => {});
    channel.pipe(options.stdout);
  } else channel.on('data', (chunk: Buffer) => stdout.push(chunk));
  if (options.stdin instanceof Readable) {
    const source = options.stdin;
    await Promise.race([
      new Promise<void>((resolve, reject) => {
        source.once('error', reject);
        source.once('end', resolve);
        source.pipe(channel.stdin);
      }),
      closed,
    ]);
  } else channel.end(options.stdin ?? '');
  if (written) await Promise.all([closed, written]);
  else await closed;
  return {
    code,
    stdout: Buffer.concat(stdout).toString('utf8'),
    stderr: Buffer.concat(stderr).toString('utf8'),
  };
}
