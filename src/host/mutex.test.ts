import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, it } from 'vitest';
import { InterruptedError } from '../diagnostics/errors.js';
import { withFolder } from './mutex.js';

const folder = mkdtempSync(join(tmpdir(), 'mutex-test-'));
afterAll(() => rmSync(folder, { recursive: true }));
const never = new AbortController().signal;

it('lets one after the other in', async () => {
  const order: string[] = [];
  const one = (name: string): Promise<unknown> =>
    withFolder(folder, never, 5000, async () => {
      order.push(`${name} in`);
      await sleep(30);
      order.push(`${name} out`);
    });
  await Promise.all([one('a'), one('b'), one('c')]);
  expect(order.map((line) => line.slice(2))).toEqual(['in', 'out', 'in', 'out', 'in', 'out']);
});

it('waits only so long, stops when it is told to, and takes over from a killed process', async () => {
  const { dev, ino } = statSync(folder);
  const code = `require('net').createServer().listen('\\0commeshctl-${dev}-${ino}', () => console.log('held'))`;
  const other = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => other.stdout.once('data', resolve));
  expect(await withFolder(folder, never, 50, () => Promise.resolve(1))).toBeNull();
  const stop = new AbortController();
  const waiting = withFolder(folder, stop.signal, 60_000, () => Promise.resolve(2));
  stop.abort();
  await expect(waiting).rejects.toThrow(InterruptedError);
  const heir = withFolder(folder, never, 60_000, () => Promise.resolve(3));
  other.kill('SIGKILL');
  expect(await heir).toEqual({ result: 3 });
});
