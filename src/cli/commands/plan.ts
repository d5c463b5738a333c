import type { ProfilePath } from '../../diagnostics/diagnostic.js';
import { renderDiagnostics } from '../../diagnostics/render.js';
import { assemblePlan } from '../../plan/assemble.js';
import { loadProfile } from '../../profile/index.js';
import { loadServices } from '../../services/registry.js';
import type { Cli } from '../context.js';
import { planText, type Origin } from '../output/plan.js';

/** Shows what the image of a profile will hold. Throws ProfileError when the profile cannot be built. */
export async function runPlan(cli: Cli, file: string): Promise<number> {
  cli.concerns(file);
  const services = await loadServices();
  const profile = await loadProfile(file, services, Date.now());
  const { plan, diagnostics } = assemblePlan(profile.site, services);
  if (diagnostics.some((one) => one.severity === 'error')) throw profile.error(diagnostics);
  const warnings = [...profile.warnings, ...profile.tell(diagnostics)];
  if (warnings.length > 0)
    cli.say(
      renderDiagnostics(warnings, new Map([[file, profile.document.shown]]), { color: cli.theme.colour }),
    );
  const place = (because: ProfilePath): { line: number; written: boolean } => ({
    line: profile.locate(because, 'key').line,
    written: isWritten(profile.document.data, because),
  });
  if (cli.flags.json) {
    cli.out(JSON.stringify(withLines(plan, place), null, 2));
    return 0;
  }
  const origin: Origin = (because) => {
    const { line, written } = place(because);
    return written ? `line ${line} (${because.join('.')})` : `default of ${because.join('.')}`;
  };
  cli.out(planText(plan, origin, cli.theme));
  return 0;
}

/** Whether the setting stands in the profile, rather than being a default. */
export function isWritten(data: unknown, path: ProfilePath): boolean {
  let at = data;
  for (const step of path) {
    if (at === null || typeof at !== 'object' || !Object.hasOwn(at, step)) return false;
    at = (at as Record<string | number, unknown>)[step];
  }
  return true;
}

/** The plan with `line` beside each `because` that stands in the profile. */
function withLines(
  value: unknown,
  place: (because: ProfilePath) => { line: number; written: boolean },
): unknown {
  if (Array.isArray(value)) return value.map((inner) => withLines(inner, place));
  if (value === null || typeof value !== 'object') return value;
  const out: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) {
    out[key] = key === 'because' ? inner : withLines(inner, place);
    if (key === 'because' && Array.isArray(inner)) {
      const { line, written } = place(inner as ProfilePath);
      if (written) out['line'] = line;
    }
  }
  return out;
}
