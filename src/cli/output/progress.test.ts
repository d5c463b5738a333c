import { describe, expect, it } from 'vitest';
import type { HostEvent } from '../../host/events.js';
import { createProgress, Meter, progressText, type ProgressMode } from './progress.js';
import { createTheme } from './theme.js';

type Timed = readonly [at: number, event: HostEvent];

/** A fetch of 300 MB in 30 s, a stage from the cache, a failed one, logs: as the core says them. */
const recorded: readonly Timed[] = [
  [0, { type: 'begin', id: 'fetch', title: 'Getting packages' }],
  ...Array.from({ length: 300 }, (_, index): Timed => [
    (index + 1) * 100,
    { type: 'progress', id: 'fetch', done: (index + 1) * 1e6, total: 300e6, unit: 'bytes' },
  ]),
  [30_000, { type: 'log', level: 'warn', text: 'one mirror was slow' }],
  [30_000, { type: 'log', level: 'debug', text: 'tried twice' }],
  [30_050, { type: 'end', id: 'fetch', state: 'done', milliseconds: 30_050, note: '165 packages' }],
  [30_060, { type: 'begin', id: 'base', title: 'Base layer' }],
  [30_061, { type: 'end', id: 'base', state: 'cached', milliseconds: 1 }],
  [30_070, { type: 'begin', id: 'site', title: 'Site layer' }],
  [30_080, { type: 'begin', id: 'site/files', title: 'Writing files', parent: 'site' }],
  [31_080, { type: 'end', id: 'site/files', state: 'failed', milliseconds: 1000 }],
  [31_090, { type: 'end', id: 'site', state: 'failed', milliseconds: 1020 }],
];

async function draw(mode: ProgressMode, verbose = false): Promise<string[]> {
  let clock = 0;
  let text = '';
  const progress = createProgress({
    mode,
    stream: { write: (chunk: string) => (text += chunk) },
    theme: createTheme(false),
    verbose,
    now: () => clock,
  });
  for (const [at, event] of recorded) {
    clock = at;
    progress.handle(event);
  }
  await progress.close();
  return text.split('\n').slice(0, -1);
}

describe('plain lines', () => {
  it('has one line per begin and end and a progress line each five seconds, with rate and time left', async () => {
    expect(await draw('plain')).toEqual([
      'Getting packages ...',
      '  Getting packages: 16 %, 50.0 MB of 300 MB, 10.0 MB/s, 25 s left',
      '  Getting packages: 33 %, 100 MB of 300 MB, 10.0 MB/s, 20 s left',
      '  Getting packages: 50 %, 150 MB of 300 MB, 10.0 MB/s, 15 s left',
      '  Getting packages: 66 %, 200 MB of 300 MB, 10.0 MB/s, 10 s left',
      '  Getting packages: 83 %, 250 MB of 300 MB, 10.0 MB/s, 5.0 s left',
      '  Getting packages: 100 %, 300 MB of 300 MB, 10.0 MB/s',
      'warning: one mirror was slow',
      'Getting packages: done (30 s, 165 packages)',
      'Base layer ...',
      'Base layer: done (already there)',
      'Site layer ...',
      '  Writing files ...',
      '  Writing files: FAILED (1.0 s)',
      'Site layer: FAILED (1.0 s)',
    ]);
  });

  it('shows debug lines only when asked', async () => {
    expect((await draw('plain', true)).filter((line) => line === 'tried twice')).toHaveLength(1);
  });
});

it('says only warnings when quiet', async () => {
  expect(await draw('quiet')).toEqual(['warning: one mirror was slow']);
});

it('writes one JSON object a line, progress at most once a second', async () => {
  const events = (await draw('json')).map((line) => JSON.parse(line) as HostEvent);
  const shown = events.filter((event) => event.type === 'progress');
  expect(shown).toHaveLength(30);
  expect(events.filter((event) => event.type !== 'progress')).toEqual(
    recorded
      .map(([, event]) => event)
      .filter((event) => event.type !== 'progress' && !(event.type === 'log' && event.level === 'debug')),
  );
});

describe('the live list', () => {
  it('ends with every piece of work on its line, in order, marked', async () => {
    const lines = (await draw('live'))
      // eslint-disable-next-line no-control-regex -- terminal codes begin with the escape character.
      .map((line) => line.replace(/\u001b\[[?0-9;]*[A-Za-z]/g, '').trim())
      .filter(Boolean);
    const last = (start: string): number =>
      lines.findLastIndex((line) => line.includes(start) && !/^[⠀-⣿-]/u.test(line));
    const order = [
      last('Getting packages  30 s, 165 packages'),
      last('Base layer  already there'),
      last('Site layer  1.0 s'),
    ];
    expect(order.every((index) => index >= 0)).toBe(true);
    expect([...order].sort((a, b) => a - b)).toEqual(order);
    expect(lines[order[0] as number]).toMatch(/^[✔√]/u);
    expect(lines[order[2] as number]).toMatch(/^[✖×]/u);
  });

  it('marks what was still open when it is closed', async () => {
    let text = '';
    const progress = createProgress({
      mode: 'live',
      stream: { write: (chunk: string) => (text += chunk) },
      theme: createTheme(false),
      verbose: false,
      now: () => 0,
    });
    progress.handle({ type: 'begin', id: 'a', title: 'Long work' });
    await progress.close();
    expect(text).toContain('Long work  not finished');
  });
});

describe('rate', () => {
  it('follows the last seconds, not the whole time', () => {
    const meter = new Meter();
    for (let second = 0; second <= 60; second += 1) meter.add(second * 1000, second * 100);
    for (let second = 61; second <= 90; second += 1) meter.add(second * 1000, 6000 + (second - 60) * 10);
    expect(meter.rate()).toBeCloseTo(10);
  });

  it('stays silent when nothing can be known', () => {
    const meter = new Meter();
    meter.add(0, 0);
    expect(progressText({ type: 'progress', id: 'x', done: 0, total: 0, unit: 'bytes' }, meter)).toBe('');
    meter.add(5000, 0);
    expect(progressText({ type: 'progress', id: 'x', done: 0, total: 10, unit: 'items' }, meter)).toBe(
      '0 %, 0 of 10',
    );
  });
});
