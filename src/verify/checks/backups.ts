import { DATA_ROOT } from '../../services/contract.js';
import type { Check } from '../check.js';
import { fail, pass, skip, warn } from '../check.js';
import { span } from './clock.js';
import { size } from './disks.js';

/** Written by the backup service after each run. */
export interface BackupStatus {
  /** ISO 8601. */
  readonly finished: string;
  readonly ok: boolean;
  /** ISO 8601 of the last run that succeeded; empty when none has. */
  readonly lastGood: string;
  /** Where it lies, in words or a path. */
  readonly target: string;
  readonly snapshot: string;
  readonly bytes: number;
  readonly message: string;
  /** What is worth knowing although it succeeded, e.g. that no USB disk is there. */
  readonly note: string;
}

export const BACKUP_STATUS = `${DATA_ROOT}/backup/status.json`;

// One missed night is no reason to worry people, two are.
const OLD_S = 36 * 3600;
const TOO_OLD_S = 72 * 3600;

function lastGood(status: Partial<BackupStatus>): string {
  return status.lastGood
    ? `; the last good one is of ${status.lastGood.slice(0, 10)}`
    : '; there is no good one yet';
}

export const check: Check = {
  kind: 'backups',
  vantage: 'inside',
  always: true,
  title: 'backups are made',
  probe: () => `part status; cat ${BACKUP_STATUS}\npart now; date +%s\npart uptime; cat /proc/uptime`,
  async run(context) {
    const because = ['backup'];
    if (!context.plan.site.backup.enabled)
      return [skip('', this.title, 'the profile switches backups off', { because })];
    const facts = await context.facts();
    const text = facts.of('backups', 'status').trim();
    if (text === '')
      return [
        warn('', this.title, 'no backup has been made yet', {
          because,
          hint: `the kit makes one each day at ${context.plan.site.backup.at}; "commeshctl backup" makes one now`,
        }),
      ];
    let status: Partial<BackupStatus>;
    try {
      status = JSON.parse(text) as Partial<BackupStatus>;
    } catch {
      return [
        fail('', this.title, 'the note about the last backup cannot be read', {
          because,
          hint: '"commeshctl backup" makes a new one and says what is wrong',
        }),
      ];
    }
    const finished = Date.parse(status.finished ?? '') / 1000;
    const age = Number(facts.of('backups', 'now').trim()) - finished;
    const target = status.target ?? 'an unknown place';
    if (status.ok !== true)
      return [
        fail(
          '',
          this.title,
          `the last backup failed: ${status.message ?? 'no reason given'}${lastGood(status)}`,
          {
            because,
            hint: 'check the USB disk labelled COMMESH-BACKUP, then run "commeshctl backup"',
          },
        ),
      ];
    if (!Number.isFinite(age))
      return [fail('', this.title, 'the note about the last backup has no time', { because })];
    const found = `the last one is ${span(Math.max(0, Math.round(age)))} old, on ${target}${
      typeof status.bytes === 'number' ? ` (${size(status.bytes)})` : ''
    }${status.note ? `; ${status.note}` : ''}`;
    const hint = 'was the kit switched off at night? "commeshctl backup" makes one now';
    if (age > TOO_OLD_S) return [fail('', this.title, found, { because, hint })];
    if (age > OLD_S) return [warn('', this.title, found, { because, hint })];
    return [pass('', this.title, found, { because })];
  },
};
