import { PassThrough } from 'node:stream';
import type * as listr2 from 'listr2';
import type { ListrTaskWrapper, ListrRendererFactory } from 'listr2';
import type { HostEvent } from '../../host/events.js';
import { endText, logText, Meter, progressText, type Progress, type ProgressOptions } from './progress.js';

type Listr2 = typeof listr2;
type Wrapper = ListrTaskWrapper<unknown, ListrRendererFactory, ListrRendererFactory>;
type EndEvent = Extract<HostEvent, { type: 'end' }>;

interface Live {
  readonly title: string;
  readonly meter: Meter;
  task?: Wrapper;
  lastDraw: number;
  output: string;
  finish: (event: EndEvent | null) => void;
  readonly ended: Promise<EndEvent | null>;
}

/** Milliseconds between two redraws of a progress text. */
const DRAW_EVERY = 100;

/**
 * The moving list: one listr2 list for each piece of work at the top, shown one after the other; work below it
 * is the line underneath. Drawn on standard error.
 */
export class LiveScreen implements Progress {
  private readonly works = new Map<string, Live>();
  /** Work below another piece of work → the one at the top. */
  private readonly below = new Map<string, { top: string; title: string; meter: Meter }>();
  private queue: Promise<void> = Promise.resolve();
  private library: Promise<Listr2> | undefined;

  constructor(private readonly options: ProgressOptions) {}

  handle(event: HostEvent): void {
    switch (event.type) {
      case 'begin':
        this.begin(event);
        return;
      case 'progress':
        this.progress(event);
        return;
      case 'end': {
        this.below.delete(event.id);
        const work = this.works.get(event.id);
        this.works.delete(event.id);
        work?.finish(event);
        return;
      }
      case 'log': {
        if (event.level === 'debug' && !this.options.verbose) return;
        this.queue = this.queue.then(() => {
          this.options.stream.write(`${logText(event, this.options.theme)}\n`);
        });
      }
    }
  }

  async close(): Promise<void> {
    for (const work of this.works.values()) work.finish(null);
    this.works.clear();
    await this.queue;
  }

  private begin(event: Extract<HostEvent, { type: 'begin' }>): void {
    const above = event.parent;
    const top = above === undefined ? undefined : (this.below.get(above)?.top ?? above);
    const owner = top === undefined ? undefined : this.works.get(top);
    if (top !== undefined && owner) {
      this.below.set(event.id, { top, title: event.title, meter: new Meter() });
      this.draw(owner, event.title, true);
      return;
    }
    let finish: Live['finish'] = () => {};
    const ended = new Promise<EndEvent | null>((resolve) => {
      finish = resolve;
    });
    const work: Live = { title: event.title, meter: new Meter(), lastDraw: 0, output: '', finish, ended };
    this.works.set(event.id, work);
    this.queue = this.queue.then(() => this.show(work));
  }

  private progress(event: Extract<HostEvent, { type: 'progress' }>): void {
    const at = this.options.now();
    const own = this.works.get(event.id);
    if (own) {
      own.meter.add(at, event.done);
      this.draw(own, progressText(event, own.meter), event.done === event.total);
      return;
    }
    const below = this.below.get(event.id);
    const owner = below && this.works.get(below.top);
    if (!owner) return;
    below.meter.add(at, event.done);
    this.draw(owner, `${below.title}: ${progressText(event, below.meter)}`, false);
  }

  private draw(work: Live, text: string, always: boolean): void {
    const at = this.options.now();
    if (!always && at - work.lastDraw < DRAW_EVERY) return;
    work.lastDraw = at;
    work.output = text;
    if (work.task) work.task.output = text;
  }

  private async show(work: Live): Promise<void> {
    this.library ??= import('listr2');
    const { DefaultRenderer, Listr, ListrLogger, ProcessOutput } = await this.library;
    // listr2 looks at stdout to decide whether it may move the cursor; here the list is on stderr.
    class Renderer extends DefaultRenderer {
      static override nonTTY = true;
    }
    const { theme, stream } = this.options;
    const list = new Listr(
      [
        {
          title: work.title,
          rendererOptions: { outputBar: 1, persistentOutput: false },
          task: async (_context, task): Promise<void> => {
            work.task = task as unknown as Wrapper;
            if (work.output) task.output = work.output;
            const end = await work.ended;
            task.output = '';
            if (end === null) {
              task.title = `${work.title}  ${theme.dim('not finished')}`;
              throw new Error('not finished');
            }
            const more = endText(end);
            task.title = more ? `${work.title}  ${theme.dim(more)}` : work.title;
            if (end.state === 'failed') throw new Error('failed');
          },
        },
      ],
      {
        // Ctrl-C is the host's business: it ends the work in order.
        registerSignalListeners: false,
        exitOnError: false,
        collectErrors: false,
        renderer: Renderer,
        rendererOptions: {
          showErrorMessage: false,
          collapseErrors: false,
          logger: new ListrLogger({
            processOutput: new ProcessOutput(
              stream as unknown as NodeJS.WriteStream,
              new PassThrough() as unknown as NodeJS.WriteStream,
              { dump: ['stdout'], leaveEmptyLine: false },
            ),
          }),
        },
      } as never,
    );
    await list.run();
  }
}
