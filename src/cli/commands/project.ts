import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { WorkError } from '../../diagnostics/errors.js';
import { packageRoot } from '../../host/paths.js';
import type { Request } from '../../mirror/request.js';
import { assemblePlan } from '../../plan/assemble.js';
import type { Plan } from '../../plan/types.js';
import { loadProfile, type LoadedProfile } from '../../profile/index.js';
import type { Arch, Service } from '../../services/contract.js';
import { loadServices } from '../../services/registry.js';
import { toolsSet } from '../../stages/tools.js';
import { twinsSet } from '../../twins/programs.js';
import type { TemplateFolders } from '../../templates/load.js';

/** A profile with the plan made from it. */
export interface Project {
  readonly profilePath: string;
  readonly profile: LoadedProfile;
  readonly services: readonly Service[];
  readonly plan: Plan;
  readonly folders: TemplateFolders;
}

/**
 * Reads a profile and plans its kit.
 * @throws ProfileError with every fault, those of the plan (ports, memory, storage) included.
 */
export async function loadProject(profilePath: string): Promise<Project> {
  const services = await loadServices();
  const profile = await loadProfile(profilePath, services, Date.now());
  const { plan, diagnostics } = assemblePlan(profile.site, services);
  if (diagnostics.some((one) => one.severity === 'error')) throw profile.error(diagnostics);
  const overrides = join(dirname(profilePath), 'overrides');
  return {
    profilePath,
    profile,
    services,
    plan,
    folders: {
      templates: join(packageRoot(), 'templates'),
      overrides: existsSync(overrides) ? overrides : null,
    },
  };
}

/**
 * Where the image of a plan lies unless somebody says otherwise.
 * @param folder of the images.
 */
export function defaultImage(plan: Plan, folder = 'images'): string {
  return resolve(join(folder, `${plan.site.name}.img`));
}

/** Architecture of this machine in Debian's words. */
export function hostArch(): Arch {
  if (process.arch === 'x64') return 'amd64';
  if (process.arch === 'arm64') return 'arm64';
  throw new WorkError(`images can be built on x86-64 and arm64 machines, and this one is ${process.arch}`);
}

/**
 * What the plan's image is made from: the same on every machine, so that a lock made on one is good on all. setsForHost says
 * what of it a machine needs.
 */
export function requestOf(plan: Plan): Request {
  const { arch } = plan.site;
  const wheels = plan.wheels.length > 0;
  return {
    sources: plan.sources,
    sets: [
      ...plan.sets,
      toolsSet('amd64', arch, wheels),
      toolsSet('arm64', arch, wheels),
      ...(arch === 'arm64' ? [twinsSet('amd64')] : []),
    ],
    artifacts: { arch, wheels: plan.wheels, tarballs: plan.tarballs },
  };
}
