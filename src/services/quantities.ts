/** Periods and sizes as people write them in a profile, and limits that follow from the card; for services that keep files. */
import type { JsonSchema, Site } from './contract.js';

/** Space the boot and root partitions take from the card, MB. */
const SYSTEM_MB = 2000;
/** Share of the data partition for files people send; backups on the same card hold them once more. */
const FILES_SHARE = 0.25;

const PERIOD = '^(forever|[1-9][0-9]{0,3} ?(d|days?|w|weeks?|months?|y|years?))$';
const SIZE = '^[1-9][0-9]{0,5} ?(MB|GB)$';
/** Schema of a period that `days` reads. */
export const period = (description: string): JsonSchema => ({ type: 'string', pattern: PERIOD, description });
/** Schema of a size that `megabytes` reads. */
export const size = (description: string): JsonSchema => ({ type: 'string', pattern: SIZE, description });

const DAYS: Readonly<Record<string, number>> = { d: 1, w: 7, m: 30, y: 365 };

/** Days in "30d", "2 weeks", "6 months", "1y"; 0 for "forever". */
export function days(text: string): number {
  if (text === 'forever') return 0;
  const match = /^(\d+) ?([dwmy])/.exec(text);
  return Number(match?.[1] ?? 0) * (DAYS[match?.[2] ?? ''] ?? 0);
}

/** MB (10^6 bytes) in "100 MB", "2 GB". */
export function megabytes(text: string): number {
  const match = /^(\d+) ?(MB|GB)$/.exec(text);
  return Number(match?.[1] ?? 0) * (match?.[2] === 'GB' ? 1000 : 1);
}

/** `value`, but not below `least`, and above all not more than `most`. */
export const clamp = (value: number, least: number, most: number): number =>
  Math.min(Math.max(value, least), most);

/** At most two significant figures, never more than `value`, so that a person can remember it. */
export function rounded(value: number): number {
  const step = 10 ** Math.max(Math.floor(Math.log10(Math.max(value, 1))) - 1, 0);
  return Math.floor(value / step) * step;
}

/** Space for the files people send, MB: a quarter of the data partition. */
export function filesMB(site: Site): number {
  return rounded(Math.max(site.storageGB * 1000 - SYSTEM_MB, 1000) * FILES_SHARE);
}
