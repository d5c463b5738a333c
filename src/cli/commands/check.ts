import { diagnosticJson, ordered, renderDiagnostics, summary } from '../../diagnostics/render.js';
import type { Diagnostic, LocatedDiagnostic } from '../../diagnostics/diagnostic.js';
import { checkProfile, type LoadedProfile } from '../../profile/index.js';
import type { Service, Site } from '../../services/contract.js';

export interface CheckOptions {
  readonly json: boolean;
  /** Warnings count as errors. */
  readonly strict: boolean;
  readonly color: boolean;
}

/** Says what a good profile makes, in one line. */
function describe(site: Site, services: readonly Service[]): string {
  const offers = services
    .filter((service) => !service.always && service.id in site.services)
    .map((service) => service.id);
  const network = site.network.wifi === null ? 'wired network' : `Wi-Fi "${site.network.wifi.ssid}"`;
  return [
    site.board,
    site.base,
    network,
    `${site.network.address}/${site.network.prefix}`,
    site.domain,
    `${site.people} people`,
    offers.length === 0 ? 'no services' : offers.join(' + '),
  ].join(', ');
}

/**
 * Checks profiles and gives back what to print. Exit code 2 when one of them has an error (with `strict`: or a warning).
 * `further` looks at a profile that is right in itself (ports, memory, names: the plan).
 */
export async function runCheck(
  files: readonly string[],
  options: CheckOptions,
  services: readonly Service[],
  further: (profile: LoadedProfile) => readonly Diagnostic[] = () => [],
): Promise<{ stdout: string; exitCode: 0 | 2 }> {
  const all: LocatedDiagnostic[] = [];
  const parts: string[] = [];
  for (const file of files) {
    const { diagnostics, profile, sources } = await checkProfile(file, services, Date.now());
    const found = ordered([...diagnostics, ...(profile === null ? [] : profile.tell(further(profile)))]);
    all.push(...found);
    if (found.length > 0) parts.push(renderDiagnostics(found, sources, { color: options.color }));
    const verdict = found.length === 0 ? '' : ` (${summary(found)})`;
    const good = !found.some((one) => one.severity === 'error');
    parts.push(
      good && profile
        ? `${file}: good${verdict}: ${describe(profile.site, services)}`
        : `${file}: not good: ${summary(found)}`,
    );
  }
  const errors = all.filter((one) => one.severity === 'error').length;
  const warnings = all.filter((one) => one.severity === 'warning').length;
  const failed = errors > 0 || (options.strict && warnings > 0);
  const stdout = options.json
    ? `${JSON.stringify({ ok: !failed, errors, warnings, diagnostics: all.map(diagnosticJson) }, null, 2)}\n`
    : `${parts.join('\n\n')}\n`;
  return { stdout, exitCode: failed ? 2 : 0 };
}
