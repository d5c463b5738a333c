import { fault, warning, type Diagnostic } from '../../diagnostics/diagnostic.js';
import type { JsonSchema, Site } from '../contract.js';
import { clamp, days, filesMB, megabytes, period, rounded, size } from '../quantities.js';

export interface ProsodySettings {
  /** Days messages are kept; 0: for ever. */
  readonly historyDays: number;
  readonly upload: {
    /** Largest single file, MB (10^6 bytes). */
    readonly maximumMB: number;
    /** What one person may send in a day, MB. */
    readonly dailyMB: number;
    /** All files together, MB. */
    readonly totalMB: number;
    /** Days a file is kept; 0: for ever. */
    readonly keepDays: number;
  };
  /** members: new groups are closed and can be end-to-end encrypted. open: listed, anybody on the kit may join. */
  readonly groups: 'members' | 'open';
  readonly invites: {
    readonly from: 'admin' | 'everyone';
    readonly validDays: number;
  };
}

export const SCHEMA: JsonSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    history: period('how long messages are kept: "30d", "6 months", "1y" or "forever" (default 30d)'),
    upload: {
      type: 'object',
      additionalProperties: false,
      description: 'files people send one another',
      properties: {
        maximum: size('the largest single file: "100 MB" (default: by the size of the card, at most 100 MB)'),
        daily: size(
          'what one person may send in a day: "500 MB" (default: by the card and the number of people)',
        ),
        total: size('all files together: "8 GB" (default: a quarter of the data partition)'),
        keep: period('how long files are kept: "30d" (default: as long as messages, at most a year)'),
      },
    },
    groups: {
      type: 'string',
      enum: ['members', 'open'],
      description:
        'what a new group is like: "members" (only invited people, can be end-to-end encrypted) or "open" (listed, anybody on the kit may join)',
    },
    invites: {
      type: 'object',
      additionalProperties: false,
      description: 'how people get an account',
      properties: {
        from: {
          type: 'string',
          enum: ['admin', 'everyone'],
          description: 'who may invite new people: "admin" (default) or "everyone" with an account',
        },
        valid: {
          type: 'string',
          pattern: '^[1-9][0-9]{0,2} ?(d|days?|w|weeks?)$',
          description: 'how long an invitation can be used: "7d" (default)',
        },
      },
    },
  },
};

interface Written {
  readonly history?: string;
  readonly upload?: {
    readonly maximum?: string;
    readonly daily?: string;
    readonly total?: string;
    readonly keep?: string;
  };
  readonly groups?: 'members' | 'open';
  readonly invites?: { readonly from?: 'admin' | 'everyone'; readonly valid?: string };
}

/** Complete settings; the limits for files follow from the card and the number of people. */
export function settingsOf(site: Site, raw: Readonly<Record<string, unknown>>): ProsodySettings {
  const written = raw as Written;
  const historyDays = days(written.history ?? '30d');
  const totalMB = written.upload?.total ? megabytes(written.upload.total) : filesMB(site);
  const maximumMB = written.upload?.maximum
    ? megabytes(written.upload.maximum)
    : rounded(clamp(totalMB / 40, Math.min(10, totalMB), 100));
  // Everybody sending all they may: the files of four days fit.
  const dailyMB = written.upload?.daily
    ? megabytes(written.upload.daily)
    : rounded(clamp(totalMB / (4 * Math.max(site.people, 1)), maximumMB, Math.max(totalMB / 2, maximumMB)));
  return {
    historyDays,
    upload: {
      maximumMB,
      dailyMB,
      totalMB,
      keepDays: written.upload?.keep
        ? days(written.upload.keep)
        : historyDays === 0
          ? 365
          : Math.min(historyDays, 365),
    },
    groups: written.groups ?? 'members',
    invites: { from: written.invites?.from ?? 'admin', validDays: days(written.invites?.valid ?? '7d') },
  };
}

/** Limits that contradict one another. */
export function rulesOf(_site: Site, settings: ProsodySettings): readonly Diagnostic[] {
  const { upload, historyDays } = settings;
  const at = (key: string): readonly string[] => ['services', 'prosody', 'upload', key];
  const found: Diagnostic[] = [];
  if (upload.maximumMB > upload.dailyMB)
    found.push(
      fault(
        'prosody/upload-above-daily',
        `one file may have ${upload.maximumMB} MB, but nobody may send more than ${upload.dailyMB} MB in a day`,
        at('maximum'),
        'make "daily" at least as large as "maximum"',
      ),
    );
  if (upload.dailyMB > upload.totalMB)
    found.push(
      fault(
        'prosody/upload-above-total',
        `one person may send ${upload.dailyMB} MB in a day, but all files together may take only ${upload.totalMB} MB`,
        at('daily'),
        'make "total" larger than "daily"',
      ),
    );
  if (historyDays > 0 && (upload.keepDays === 0 || upload.keepDays > historyDays))
    found.push(
      warning(
        'prosody/files-outlive-messages',
        'files are kept longer than the messages that lead to them, so nobody will find them',
        at('keep'),
        'make "keep" no longer than "history"',
      ),
    );
  return found;
}
