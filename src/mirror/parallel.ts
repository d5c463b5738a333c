import { InterruptedError } from '../diagnostics/errors.js';

/**
 * Runs `work` for every item, at most `limit` at a time, in order of the list. The first failure stops new work, is
 * thrown once all running work has ended, and is the one that is reported.
 */
export async function each<T>(
  items: readonly T[],
  limit: number,
  signal: AbortSignal,
  work: (item: T, index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  let failed = false;
  let failure: unknown;
  const worker = async (): Promise<void> => {
    while (!failed && !signal.aborted && next < items.length) {
      const index = next++;
      try {
        await work(items[index] as T, index);
      } catch (error) {
        if (!failed) failure = error;
        failed = true;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  if (signal.aborted) throw new InterruptedError();
  if (failed) throw failure;
}
