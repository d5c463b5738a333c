import type { HostEvent } from '../../host/events.js';
import { LiveScreen } from './live.js';
import { bytesText, durationText, type Theme } from './theme.js';

/** live: a moving list on a terminal. plain: lines. quiet: only warnings. json: one object a line. */
export type ProgressMode = 'live' | 'plain' | 'quiet' | 'json';

export interface ProgressStream {
  write(text: string): unknown;
}

export interface ProgressOptions {
  readonly mode: ProgressMode;
  /** Standard error. */
  readonly stream: ProgressStream;
  readonly theme: Theme;
  readonly verbose: boolean;
  /** Milliseconds; only differences count. */
  readonly now: () => number;
}

/** Draws what the core says. */
export interface Progress {
  handle(event: HostEvent): void;
  /** Ends the drawing; what was still open is shown as not finished. */
  close(): Promise<void>;
}

type ProgressEvent = Extract<HostEvent, { type: 'progress' }>;
type EndEvent = Extract<HostEvent, { type: 'end' }>;

/** Milliseconds between two progress lines of one piece of work. */
const PLAIN_EVERY = 5000;
const JSON_EVERY = 1000;
/** The rate is that of the last seconds. */
const RATE_WINDOW = 10_000;

/** Rate and time left from the progress of one piece of work. */
export class Meter {
  private samples: { at: number; done: number }[] = [];

  add(at: number, done: number): void {
    const last = this.samples.at(-1);
    if (last && done < last.done) this.samples = [];
    this.samples.push({ at, done });
    while (this.samples.length > 2 && at - (this.samples[0]?.at ?? at) > RATE_WINDOW) this.samples.shift();
  }

  /** Per second; undefined until it can be known. */
  rate(): number | undefined {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (!first || !last || last.at - first.at < 500) return undefined;
    const rate = ((last.done - first.done) * 1000) / (last.at - first.at);
    return rate > 0 ? rate : undefined;
  }
}

/** `40 %, 120 MB of 300 MB, 8.1 MB/s, 22 s left, note`. */
export function progressText(event: ProgressEvent, meter: Meter): string {
  const amount = (value: number): string => (event.unit === 'bytes' ? bytesText(value) : String(value));
  const parts: string[] = [];
  if (event.total > 0) {
    parts.push(`${Math.floor((Math.min(event.done, event.total) / event.total) * 100)} %`);
    parts.push(`${amount(event.done)} of ${amount(event.total)}`);
  } else if (event.done > 0) {
    parts.push(amount(event.done));
  }
  const rate = meter.rate();
  // Bytes come evenly; one package may take a hundred times as long as another.
  if (rate !== undefined && event.unit === 'bytes') {
    parts.push(`${bytesText(rate)}/s`);
    if (event.total > event.done)
      parts.push(`${durationText(((event.total - event.done) / rate) * 1000)} left`);
  }
  if (event.note) parts.push(event.note);
  return parts.join(', ');
}

/** How a piece of work ended: `1.2 s`, `already there`, with its note. */
export function endText(event: EndEvent): string {
  const parts: string[] = [];
  if (event.state === 'cached') parts.push('already there');
  if (event.state === 'skipped') parts.push('left out');
  if (event.state === 'done' || event.state === 'failed') parts.push(durationText(event.milliseconds));
  if (event.note) parts.push(event.note);
  return parts.join(', ');
}

/** The drawing that fits the flags and the terminal. */
export function createProgress(options: ProgressOptions): Progress {
  switch (options.mode) {
    case 'json':
      return jsonProgress(options);
    case 'quiet':
      return quietProgress(options);
    case 'plain':
      return plainProgress(options);
    case 'live':
      return new LiveScreen(options);
  }
}

function jsonProgress({ stream, now, verbose }: ProgressOptions): Progress {
  const lastAt = new Map<string, number>();
  return {
    handle(event) {
      if (event.type === 'log' && event.level === 'debug' && !verbose) return;
      if (event.type === 'progress') {
        const at = now();
        const last = lastAt.get(event.id);
        if (last !== undefined && at - last < JSON_EVERY) return;
        lastAt.set(event.id, at);
      }
      stream.write(`${JSON.stringify(event)}\n`);
    },
    close: () => Promise.resolve(),
  };
}

function quietProgress({ stream, theme }: ProgressOptions): Progress {
  return {
    handle(event) {
      if (event.type === 'log' && event.level === 'warn') stream.write(`${logText(event, theme)}\n`);
    },
    close: () => Promise.resolve(),
  };
}

/** A `log` event as a line. */
export function logText(event: Extract<HostEvent, { type: 'log' }>, theme: Theme): string {
  if (event.level === 'warn') return `${theme.yellow('warning:')} ${event.text}`;
  return event.level === 'debug' ? theme.dim(event.text) : event.text;
}

interface Work {
  readonly title: string;
  readonly depth: number;
  readonly meter: Meter;
  lastLine: number;
}

const WORDS = { done: 'done', cached: 'done', failed: 'FAILED', skipped: 'skipped' } as const;

function plainProgress({ stream, theme, now, verbose }: ProgressOptions): Progress {
  const works = new Map<string, Work>();
  return {
    handle(event) {
      switch (event.type) {
        case 'begin': {
          const depth = event.parent === undefined ? 0 : (works.get(event.parent)?.depth ?? 0) + 1;
          works.set(event.id, { title: event.title, depth, meter: new Meter(), lastLine: now() });
          stream.write(`${'  '.repeat(depth)}${event.title} ...\n`);
          return;
        }
        case 'progress': {
          const work = works.get(event.id);
          if (!work) return;
          const at = now();
          work.meter.add(at, event.done);
          if (at - work.lastLine < PLAIN_EVERY) return;
          work.lastLine = at;
          stream.write(`${'  '.repeat(work.depth + 1)}${work.title}: ${progressText(event, work.meter)}\n`);
          return;
        }
        case 'end': {
          const work = works.get(event.id);
          works.delete(event.id);
          const state = WORDS[event.state];
          const paint = event.state === 'failed' ? theme.red(state) : theme.green(state);
          const more = endText(event);
          stream.write(
            `${'  '.repeat(work?.depth ?? 0)}${work?.title ?? event.id}: ${paint}${more ? ` (${more})` : ''}\n`,
          );
          return;
        }
        case 'log':
          if (event.level !== 'debug' || verbose) stream.write(`${logText(event, theme)}\n`);
      }
    },
    close: () => Promise.resolve(),
  };
}
