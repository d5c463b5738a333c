/** What the core says while it works; `cli/output` draws it. Never holds a secret. */
export type HostEvent =
  /** A piece of work begins, e.g. a stage. `parent` groups. */
  | { readonly type: 'begin'; readonly id: string; readonly title: string; readonly parent?: string }
  /** `total` 0: unknown. `unit` bytes or items. */
  | {
      readonly type: 'progress';
      readonly id: string;
      readonly done: number;
      readonly total: number;
      readonly unit: 'bytes' | 'items';
      readonly note?: string;
    }
  | {
      readonly type: 'end';
      readonly id: string;
      readonly state: 'done' | 'cached' | 'failed' | 'skipped';
      readonly milliseconds: number;
      readonly note?: string;
    }
  | { readonly type: 'log'; readonly level: 'info' | 'warn' | 'debug'; readonly text: string };
