import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { InterruptedError } from '../diagnostics/errors.js';

/** Work that keeps a processor busy, done in threads of its own (`thread.js`). Positions and sizes in bytes. */
export interface Jobs {
  /** SHA-256 of the first `size` bytes of a file, lower-case hex. */
  readonly sha256: {
    readonly input: { readonly path: string; readonly size: number };
    readonly output: string;
  };
  /**
   * Reads a file from `from` to `to` (`from` a multiple of the chunk of 1 MiB) and tells the runs of blocks that are used or not
   * zero, each with the SHA-256 of its bytes. With `copyTo` what was read is written into that file at the same place, zeros left
   * out.
   */
  readonly map: {
    readonly input: {
      readonly path: string;
      readonly from: number;
      readonly to: number;
      readonly block: number;
      /** One byte for each block from `from` on. */
      readonly used: Uint8Array;
      readonly copyTo?: string;
    };
    /** Numbers of blocks, `last` inclusive. */
    readonly output: readonly { readonly first: number; readonly last: number; readonly sha256: string }[];
  };
  /** A new RSA key, PKCS#8 PEM. */
  readonly rsaKey: { readonly input: { readonly bits: number }; readonly output: string };
}

/** Threads of this process, as many as processors. */
export interface Threads {
  /**
   * Does a job when a thread is free. `onBytes` is told how many bytes were worked through since the last call.
   * @throws InterruptedError when the work was ended before its time; whatever the job throws.
   */
  run<Kind extends keyof Jobs>(
    kind: Kind,
    input: Jobs[Kind]['input'],
    onBytes?: (count: number) => void,
  ): Promise<Jobs[Kind]['output']>;
  /** Ends all threads; jobs not done yet fail. */
  stop(): Promise<void>;
}

interface Task {
  readonly message: { readonly kind: keyof Jobs; readonly input: unknown };
  readonly onBytes: (count: number) => void;
  resolve(output: unknown): void;
  reject(error: unknown): void;
}

type Answer =
  | { readonly bytes: number }
  | { readonly output: unknown; readonly bytes: number }
  | { readonly error: object; readonly code: string | undefined };

/** Makes threads when they are first needed. `signal` ends them. */
export function createThreads(signal: AbortSignal): Threads {
  const most = Math.max(2, availableParallelism());
  const queue: Task[] = [];
  const busy = new Map<Worker, Task>();
  const idle: Worker[] = [];

  const next = (): void => {
    while (queue.length > 0 && (idle.length > 0 || busy.size < most)) {
      const worker = idle.pop() ?? make();
      const task = queue.shift() as Task;
      busy.set(worker, task);
      worker.ref();
      worker.postMessage(task.message);
    }
  };
  const free = (worker: Worker): Task | undefined => {
    const task = busy.get(worker);
    busy.delete(worker);
    return task;
  };
  function make(): Worker {
    const worker = new Worker(new URL('./thread.js', import.meta.url));
    worker.on('message', (answer: Answer) => {
      if ('bytes' in answer) busy.get(worker)?.onBytes(answer.bytes);
      if (!('output' in answer || 'error' in answer)) return;
      const task = free(worker);
      // An idle thread is no reason to stay.
      worker.unref();
      idle.push(worker);
      if ('error' in answer) task?.reject(Object.assign(answer.error, { code: answer.code }));
      else task?.resolve(answer.output);
      next();
    });
    worker.on('error', (error) => {
      free(worker)?.reject(error);
      next();
    });
    return worker;
  }
  const stop = async (): Promise<void> => {
    for (const task of [...queue.splice(0), ...busy.values()]) task.reject(new InterruptedError());
    const all = [...busy.keys(), ...idle.splice(0)];
    busy.clear();
    await Promise.all(all.map((worker) => worker.terminate()));
  };
  signal.addEventListener('abort', () => void stop(), { once: true });
  return {
    run: (kind, input, onBytes = () => {}) =>
      new Promise((resolve, reject) => {
        if (signal.aborted) {
          reject(new InterruptedError());
          return;
        }
        const task: Task = {
          message: { kind, input },
          onBytes,
          resolve: (output) => resolve(output as never),
          reject,
        };
        // Much waits for a key, and for the newest most: a CA's.
        if (kind === 'rsaKey') queue.unshift(task);
        else queue.push(task);
        next();
      }),
    stop,
  };
}
