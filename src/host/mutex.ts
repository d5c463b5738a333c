import { stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { InterruptedError } from '../diagnostics/errors.js';

const RETRY_MILLISECONDS = 100;

/** Holds the name until it is closed; null when another process holds it. */
async function take(name: string): Promise<Server | null> {
  const server = createServer((socket) => socket.destroy());
  return await new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(null);
      else reject(error);
    });
    server.listen(name, () => resolve(server));
  });
}

/**
 * Runs `work` while no other process of this machine does the same for this folder. The lock is a name in Linux's abstract
 * socket space (unix(7)): the kernel frees it when we end, however we end, so nothing stale is left behind.
 * @param waitMilliseconds how long to wait for the other one.
 * @returns what `work` gives, or null when the other one took too long.
 * @throws InterruptedError.
 */
export async function withFolder<T>(
  folder: string,
  signal: AbortSignal,
  waitMilliseconds: number,
  work: () => Promise<T>,
): Promise<{ readonly result: T } | null> {
  const { dev, ino } = await stat(folder);
  const name = `\0commeshctl-${dev}-${ino}`;
  const until = Date.now() + waitMilliseconds;
  let held = await take(name);
  while (held === null) {
    if (Date.now() > until) return null;
    await sleep(RETRY_MILLISECONDS, undefined, { signal }).catch(() => {
      throw new InterruptedError();
    });
    held = await take(name);
  }
  const server = held;
  try {
    return { result: await work() };
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}
