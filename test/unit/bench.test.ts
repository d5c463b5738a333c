import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Results, timeRun } from '../bench/measure.js';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'commesh-bench-'))));
afterEach(() => rmSync(folder, { recursive: true }));

describe('timeRun', () => {
  it('takes wall and processor time of children, and gives them no descriptor of its own', () => {
    const log = join(folder, 'logs/one.log');
    const times = timeRun(
      ['sh', '-c', 'sleep 0.2; (i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done); ls -l /proc/self/fd'],
      { log },
    );
    expect(times.wall).toBeGreaterThan(0.2);
    expect(times.user + times.system).toBeGreaterThan(0.01);
    expect(times.user + times.system).toBeLessThan(times.wall);
    // Standard output and error lead to the log, and nothing else does: mmdebstrap's shell cannot name descriptors beyond 9.
    expect(readFileSync(log, 'utf8').split(folder)).toHaveLength(3);
  });

  it('tells the end of the output of a program that fails', () => {
    expect(() => timeRun(['sh', '-c', 'echo because; exit 3'], { log: join(folder, 'log') })).toThrow(
      /failed \(3\)[^]*because/,
    );
  });
});

describe('Results', () => {
  const times = (wall: number): { wall: number; user: number; system: number } => ({
    wall,
    user: 0,
    system: 0,
  });

  it('gives medians, of told figures too', () => {
    const results = new Results(join(folder, 'r.jsonl'), false);
    [9, 1, 4, 2].forEach((wall, round) => results.add('a', round, times(wall), { base: wall * 2 }));
    expect(results.median('a')).toBe(3);
    expect(results.median('a', (one) => one.told?.['base'])).toBe(6);
    expect(results.median('b')).toBeNull();
  });

  it('continues a run, whose last line may be cut off', () => {
    const file = join(folder, 'r.jsonl');
    new Results(file, true).add('a', 0, times(1));
    appendFileSync(file, '{"measure":"a","rou');
    const again = new Results(file, true);
    expect(again.has('a', 0)).toBe(true);
    expect(again.has('a', 1)).toBe(false);
    again.add('a', 1, times(3));
    expect(new Results(file, true).median('a')).toBe(2);
    expect(new Results(file, false).measures).toEqual([]);
  });
});
