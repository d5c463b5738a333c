import { appendFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { followLog, isHopeless, milestone, plainLine } from './serial.js';

describe('plainLine', () => {
  it('takes terminal sequences away', () => {
    expect(
      plainLine('\u001b[0m\u001b[30m\u001b[2J\u001b[01;01H[ \u001b[0;32m  OK  \u001b[0m] Reached target\r'),
    ).toBe('[   OK  ] Reached target');
    expect(plainLine('\u001b[!p\u001b[?7h\u001b[6n')).toBe('');
  });
});

describe('milestone', () => {
  it.each([
    ['[    0.000000] Linux version 6.12.117+deb13-arm64', 'the kernel starts'],
    ['kit login: ', 'the login prompt is there'],
    ['anything else', null],
  ])('%s', (line, text) => expect(milestone(line)).toBe(text));
});

describe('isHopeless', () => {
  it('knows a panic from a service that fails', () => {
    expect(isHopeless('[ 3.1] Kernel panic - not syncing: VFS')).toBe(true);
    expect(isHopeless('ALERT!  LABEL=commesh-root does not exist.  Dropping to a shell!')).toBe(true);
    expect(isHopeless('[FAILED] Failed to start x.service')).toBe(false);
  });
});

describe('followLog', () => {
  it('gives whole lines as they come, and what stands at the end', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'serial-'));
    try {
      const path = join(folder, 'log');
      const seen: string[] = [];
      const log = followLog(path, (line) => seen.push(line));
      await log.poll();
      await writeFile(path, 'one\r\ntw');
      await log.poll();
      expect(seen).toEqual(['one']);
      await appendFile(path, 'o\r\r\n\nkit login: ');
      await log.poll();
      expect(seen).toEqual(['one', 'two']);
      expect(log.tail()).toEqual(['one', 'two', 'kit login:']);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
