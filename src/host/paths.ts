import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder that holds package.json, templates/ and profiles/: the clone or the installed package. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('package.json not found above the program');
    folder = parent;
  }
  return folder;
}

/** Files that live beside a profile: `clinic.yaml` → `clinic.lock.json`, `clinic.secrets/` … */
export function besideProfile(profilePath: string, suffix: string): string {
  return profilePath.replace(/\.ya?ml$/i, '') + suffix;
}
