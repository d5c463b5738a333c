import { fault, warning, type Diagnostic } from '../../diagnostics/diagnostic.js';
import type { Board, JsonSchema, Site } from '../contract.js';
import { clamp, days, filesMB, megabytes, period, rounded, size } from '../quantities.js';

/** More people than this wait for one another when every write locks the whole database. */
export const SQLITE_PEOPLE = 20;
/** Boards up to this size get SQLite unless the profile says otherwise, MiB. */
const SQLITE_MEMORY_MIB = 2048;
/** Boards on which Synapse does not work well, and why. */
const TOO_SMALL: Partial<Readonly<Record<Board, string>>> = {
  zero2w:
    'a Raspberry Pi Zero 2 W has 512 MB of memory and leaves about 330 MB to services; Synapse and its database need 350 MB before anybody has logged in',
  pi3: 'a Raspberry Pi 3 has at most 1 GB of memory, and its processor takes several seconds for each sign-in and each new room of Synapse',
};

export interface SynapseSettings {
  readonly database: 'postgres' | 'sqlite';
  /** Days messages are kept; 0: for ever. */
  readonly historyDays: number;
  readonly upload: {
    /** Largest single file, MB (10^6 bytes). */
    readonly maximumMB: number;
    /** What one person may send in a day, MB. */
    readonly dailyMB: number;
    /** All files together, MB; each person may fill an even share of it. */
    readonly totalMB: number;
    /** Days a file is kept; 0: for ever. */
    readonly keepDays: number;
  };
  /** Which new rooms are end-to-end encrypted unless the app says otherwise. */
  readonly encryption: 'private' | 'all' | 'none';
  /** Whether people see who is online. */
  readonly presence: boolean;
}

export const SCHEMA: JsonSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    database: {
      type: 'string',
      enum: ['postgres', 'sqlite'],
      description: `where messages are stored: "postgres" (default), or "sqlite" for up to ${SQLITE_PEOPLE} people on a small board (default there)`,
    },
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
        total: size(
          'all files together, an even share for each person: "8 GB" (default: a quarter of the data partition)',
        ),
        keep: period('how long files are kept: "30d" (default: as long as messages, at most a year)'),
      },
    },
    encryption: {
      type: 'string',
      enum: ['private', 'all', 'none'],
      description:
        'which new rooms are end-to-end encrypted: "private" (those people are invited to, default), "all" or "none" (only where the app asks for it)',
    },
    presence: {
      type: 'boolean',
      description: 'whether people see who is online; costs much work (default: only on a Pi 5 or a PC)',
    },
  },
};

interface Written {
  readonly database?: 'postgres' | 'sqlite';
  readonly history?: string;
  readonly upload?: {
    readonly maximum?: string;
    readonly daily?: string;
    readonly total?: string;
    readonly keep?: string;
  };
  readonly encryption?: 'private' | 'all' | 'none';
  readonly presence?: boolean;
}

/** What one person's files may take altogether, MB: an even share, so that the card cannot fill up. */
export function shareMB(site: Site, totalMB: number): number {
  return Math.max(Math.floor(totalMB / Math.max(site.people, 1)), 1);
}

/** Complete settings; database and limits follow from the board, the card and the number of people. */
export function settingsOf(site: Site, raw: Readonly<Record<string, unknown>>): SynapseSettings {
  const written = raw as Written;
  const small = site.memoryMiB <= SQLITE_MEMORY_MIB && site.people <= SQLITE_PEOPLE;
  const historyDays = days(written.history ?? '30d');
  const totalMB = written.upload?.total ? megabytes(written.upload.total) : filesMB(site);
  const share = shareMB(site, totalMB);
  const maximumMB = written.upload?.maximum
    ? megabytes(written.upload.maximum)
    : rounded(clamp(totalMB / 40, 10, Math.min(100, share)));
  return {
    database: written.database ?? (small ? 'sqlite' : 'postgres'),
    historyDays,
    upload: {
      maximumMB,
      // Four such days fill a person's share.
      dailyMB: written.upload?.daily
        ? megabytes(written.upload.daily)
        : rounded(clamp(share / 4, maximumMB, Math.max(share, maximumMB))),
      totalMB,
      keepDays: written.upload?.keep
        ? days(written.upload.keep)
        : historyDays === 0
          ? 365
          : Math.min(historyDays, 365),
    },
    encryption: written.encryption ?? 'private',
    presence: written.presence ?? ((site.board === 'pi5' || site.board === 'pc') && site.memoryMiB >= 2048),
  };
}

/** Boards that are too small, and settings that contradict one another. */
export function rulesOf(site: Site, settings: SynapseSettings): readonly Diagnostic[] {
  const { upload, historyDays } = settings;
  const here = ['services', 'synapse'];
  const at = (key: string): readonly string[] => [...here, 'upload', key];
  const share = shareMB(site, upload.totalMB);
  const found: Diagnostic[] = [];
  const reason = TOO_SMALL[site.board];
  if (reason !== undefined)
    found.push(
      fault(
        'synapse/board-too-small',
        reason,
        here,
        'take a Raspberry Pi 4, a Pi 5 or a PC; or chat with "prosody", which runs well on this board',
      ),
    );
  if (settings.database === 'sqlite' && site.people > SQLITE_PEOPLE)
    found.push(
      fault(
        'synapse/sqlite-people',
        `SQLite writes for one person at a time; that is enough for ${SQLITE_PEOPLE} people, and ${site.people} are expected`,
        [...here, 'database'],
        'write "database: postgres", or leave the line out',
      ),
    );
  if (upload.maximumMB > upload.dailyMB)
    found.push(
      fault(
        'synapse/upload-above-daily',
        `one file may have ${upload.maximumMB} MB, but nobody may send more than ${upload.dailyMB} MB in a day`,
        at('maximum'),
        'make "daily" at least as large as "maximum"',
      ),
    );
  if (upload.dailyMB > share)
    found.push(
      fault(
        'synapse/upload-above-share',
        `one person may send ${upload.dailyMB} MB in a day, but of the ${upload.totalMB} MB for files each of ${site.people} people has ${share} MB`,
        at('daily'),
        'make "total" larger or "daily" smaller',
      ),
    );
  if (historyDays > 0 && (upload.keepDays === 0 || upload.keepDays > historyDays))
    found.push(
      warning(
        'synapse/files-outlive-messages',
        'files are kept longer than the messages that lead to them, so nobody will find them',
        at('keep'),
        'make "keep" no longer than "history"',
      ),
    );
  return found;
}
