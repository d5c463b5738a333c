import { counted } from '../../diagnostics/text.js';
import type { BuildResult } from '../commands/build-image.js';
import type { FetchSummary } from '../commands/fetch.js';
import { failureText, type FleetSite } from '../commands/fleet.js';
import { table } from './table.js';
import { bytesText, durationText } from './theme.js';

/** What `fetch` brought, as a person reads it. */
export function fetchText(summary: FetchSummary): string {
  const sets = Object.entries(summary.sets).map(([id, set]) => [
    id,
    counted(set.packages, 'package'),
    `${bytesText(set.bytes)} to fetch, ${bytesText(set.installedBytes)} installed`,
  ]);
  return [
    table(sets),
    summary.fetchedFiles === 0
      ? `All ${summary.files} files were in the cache already.`
      : `${counted(summary.fetchedFiles, 'file')} (${bytesText(summary.fetchedBytes)}) fetched; the cache holds all ${summary.files} (${bytesText(summary.bytes)}).`,
    table([
      ['cache', summary.cache],
      ['lock', `${summary.lock}${summary.resolved ? ' (written)' : ''}`],
    ]),
  ].join('\n');
}

/** What `build-image` made of many profiles, as a person reads it: a line for each, then how many. */
export function fleetText(sites: readonly FleetSite[]): string {
  const count = (state: FleetSite['state']): number => sites.filter((one) => one.state === state).length;
  const words = { built: 'built', there: 'already there', failed: 'FAILED' } as const;
  const rows = sites.map((one) => [
    one.site,
    one.state === 'built' ? `built in ${durationText(one.milliseconds)}` : words[one.state],
    one.state === 'failed' ? `${one.profile}: ${failureText(one.error)}` : one.image,
  ]);
  const totals = (['built', 'there', 'failed'] as const)
    .filter((state) => count(state) > 0)
    .map((state) => `${count(state)} ${words[state]}`);
  return `${table(rows)}\n${counted(sites.length, 'image')}: ${totals.join(', ')}`;
}

/** What `build-image` made, as a person reads it. */
export function buildText({ image, report, reportPath }: BuildResult): string {
  const rows: string[][] = [
    ['image', image.path],
    ['size', `${bytesText(image.size)}, of which ${bytesText(image.bytesUsed)} have to be written`],
    ['report', `${reportPath} (${counted(report.packages.length, 'package')})`],
  ];
  if (image.compressed !== null)
    rows.push(['compressed', `${image.compressed.path} (${bytesText(image.compressed.size)})`]);
  const total = report.timings['total'];
  if (total !== undefined) rows.push(['time', durationText(total)]);
  return table(rows);
}
