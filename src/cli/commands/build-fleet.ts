import { UsageError } from '../../diagnostics/errors.js';
import type { Cli } from '../context.js';
import { errorJson } from '../output/errors.js';
import { fleetText } from '../output/results.js';
import { runFleet, type FleetOptions } from './fleet.js';
import { writeSites } from './sites.js';

export interface BuildFleetOptions extends Omit<FleetOptions, 'parallel'> {
  /** CSV table of sites; the one profile is their template. */
  readonly table?: string;
  readonly printManifest: boolean;
}

/**
 * `build-image` of several sites: builds them and tells what became of each.
 * @returns the exit code, 1 when a site failed.
 */
export async function buildFleet(
  cli: Cli,
  files: readonly string[],
  options: BuildFleetOptions,
): Promise<number> {
  const { table, printManifest, ...fleet } = options;
  if (printManifest) {
    throw new UsageError('--print-manifest prints the stages of one image', {
      hint: 'name one profile, without --sites',
    });
  }
  const [template] = files;
  if (table !== undefined && (template === undefined || files.length > 1)) {
    throw new UsageError('--sites takes one profile, the template of all sites', {
      hint: 'for example: commeshctl build-image profiles/clinic.yaml --sites district.csv',
    });
  }
  const profiles = table === undefined || template === undefined ? files : await writeSites(template, table);
  const sites = await runFleet(cli.host, profiles, fleet);
  if (cli.flags.json) {
    const told = await Promise.all(
      sites.map(async ({ error, ...site }) => ({
        ...site,
        ...(error === undefined ? {} : { error: await errorJson(error, cli.flags, site.profile) }),
      })),
    );
    cli.out(JSON.stringify({ format: 1, sites: told }, null, 2));
  } else cli.out(fleetText(sites));
  return sites.some((one) => one.state === 'failed') ? 1 : 0;
}
