import { mkdir } from 'node:fs/promises';
import { WorkError } from '../../diagnostics/errors.js';
import type { Host } from '../../host/host.js';
import { withFolder } from '../../host/mutex.js';

const DAY = 86_400_000;

/**
 * Runs `work` while no other commeshctl of this machine writes to the same offline cache; waits for it, and says so. `work` must not
 * come here again.
 * @throws InterruptedError.
 */
export async function aloneIn<T>(host: Host, cache: string, work: () => Promise<T>): Promise<T> {
  await mkdir(cache, { recursive: true });
  const at = (wait: number): Promise<{ readonly result: T } | null> =>
    withFolder(cache, host.signal, wait, work);
  const quick = await at(0);
  if (quick !== null) return quick.result;
  host.emit({
    type: 'log',
    level: 'info',
    text: `another commeshctl is at work in ${cache}; waiting for it`,
  });
  const done = await at(DAY);
  if (done === null) throw new WorkError(`another commeshctl has been at work in ${cache} for a day`);
  return done.result;
}
