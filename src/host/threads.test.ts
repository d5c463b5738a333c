import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createHost, hostFor } from './host.js';

let host: ReturnType<typeof createHost>;
let file: string;
beforeEach(async () => {
  host = createHost();
  file = join(await host.temporary('threads-test'), 'file');
});
afterEach(() => host.close());

describe('threads', () => {
  it('hash a part of a file and tell every byte', async () => {
    const data = Buffer.alloc(3_000_000, 'abc');
    await writeFile(file, data);
    let told = 0;
    const sum = await host.threads.run('sha256', { path: file, size: 2_999_999 }, (count) => (told += count));
    expect(sum).toBe(createHash('sha256').update(data.subarray(0, 2_999_999)).digest('hex'));
    expect(told).toBe(2_999_999);
  });

  it('give system errors with their code, and go on', async () => {
    await expect(host.threads.run('sha256', { path: `${file}.none`, size: 1 })).rejects.toMatchObject({
      code: 'ENOENT',
    });
    await writeFile(file, 'ab');
    await expect(host.threads.run('sha256', { path: file, size: 3 })).rejects.toThrow(/became shorter/);
    expect(await host.threads.run('rsaKey', { bits: 1024 })).toMatch(/^-----BEGIN PRIVATE KEY-----/);
  });

  it('end at once when the work is interrupted', async () => {
    const jobs = Array.from({ length: 20 }, () => host.threads.run('rsaKey', { bits: 4096 }));
    const ended = Promise.allSettled(jobs);
    host.interrupt();
    for (const one of await ended) expect(one).toMatchObject({ status: 'rejected', reason: { exitCode: 1 } });
    await expect(host.threads.run('rsaKey', { bits: 1024 })).rejects.toThrow(/interrupted/);
  });
});

describe('a host for one of several pieces of work', () => {
  it('undoes its own at its close, or when the host it came from closes', async () => {
    const undone: string[] = [];
    const [one, two] = [hostFor(host, () => {}), hostFor(host, () => {})];
    one.onClose(() => void undone.push('one'));
    two.onClose(() => void undone.push('two'));
    host.onClose(() => void undone.push('host'));
    await one.close();
    expect(undone).toEqual(['one']);
    await host.close();
    expect(undone).toEqual(['one', 'host', 'two']);
  });
});
