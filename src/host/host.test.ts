import { expect, it } from 'vitest';
import { InterruptedError } from '../diagnostics/errors.js';
import { createHost } from './host.js';

it('starts nothing more after Ctrl-C but what cleans up', async () => {
  const host = createHost();
  host.interrupt();
  await expect(host.exec(['echo', 'on'])).rejects.toBeInstanceOf(InterruptedError);
  expect((await host.exec(['echo', 'gone'], { tidies: true })).stdout).toBe('gone\n');
  await host.close();
});

it('ends at Ctrl-C what runs, but not what cleans up', async () => {
  const host = createHost();
  const ended = expect(host.exec(['sleep', '30'])).rejects.toBeInstanceOf(InterruptedError);
  const tidied = host.exec(['sh', '-c', 'sleep 0.3; echo gone'], { tidies: true });
  host.interrupt();
  await ended;
  expect((await tidied).stdout).toBe('gone\n');
  await host.close();
});
