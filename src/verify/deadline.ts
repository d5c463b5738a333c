import { setMaxListeners } from 'node:events';

export interface Deadline {
  readonly signal: AbortSignal;
  /** Forgets the time and the other signal; must be called. */
  done(): void;
}

/**
 * A signal that is aborted after a time (null: never), or with another signal, whichever is first. Not made with
 * `AbortSignal.any` and `AbortSignal.timeout`: Node 20 may collect those as garbage before they fire.
 */
export function deadline(milliseconds: number | null, other?: AbortSignal): Deadline {
  const controller = new AbortController();
  // Many wait for the same end; Node takes more than ten for a leak.
  setMaxListeners(0, controller.signal);
  const abort = (): void => controller.abort();
  const timer = milliseconds === null ? undefined : setTimeout(abort, milliseconds);
  if (other?.aborted) abort();
  other?.addEventListener('abort', abort, { once: true });
  return {
    signal: controller.signal,
    done() {
      clearTimeout(timer);
      other?.removeEventListener('abort', abort);
    },
  };
}
