import { existsSync } from 'node:fs';
import { mkdir, readFile, stat, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ProfileError, UsageError } from '../../diagnostics/errors.js';
import { readTextIfThere, writeAtomic } from '../../host/files.js';
import { besideProfile } from '../../host/paths.js';
import { formatLock, lockPath, readLock } from '../../mirror/lock.js';
import { requestDigest } from '../../mirror/request.js';
import { assemblePlan } from '../../plan/assemble.js';
import { readProfile } from '../../profile/read.js';
import { sitesOf } from '../../profile/sites.js';
import { loadServices } from '../../services/registry.js';
import { requestOf } from './project.js';

/**
 * Writes the profiles of a table of sites into the folder `<template>.sites`, each with the template's lock beside it where it asks
 * for the same packages. Files that are right already are not touched.
 * @returns paths of the profiles, in the order of the table.
 * @throws ProfileError with every fault of the table, before anything is written. UsageError when the table cannot be read.
 */
export async function writeSites(template: string, table: string): Promise<readonly string[]> {
  const services = await loadServices();
  const { document, faults, shown } = await readProfile(template, Date.now());
  if (document === null) throw new ProfileError(faults, new Map([[template, shown]]));
  const text = await readTable(table);
  const { sites, diagnostics, sources } = sitesOf(
    document,
    table,
    text,
    services,
    (profile) => assemblePlan(profile.site, services).diagnostics,
  );
  if (sites.length === 0) throw new ProfileError(diagnostics, sources);

  const folder = besideProfile(template, '.sites');
  await mkdir(folder, { recursive: true });
  const overrides = join(dirname(template), 'overrides');
  if (existsSync(overrides) && !existsSync(join(folder, 'overrides')))
    await symlink('../overrides', join(folder, 'overrides'));
  // It may hold a passphrase: no one reads the copies who may not read the template.
  const mode = (await stat(template)).mode & 0o777;
  const lock = await readLock(lockPath(template));
  const paths: string[] = [];
  for (const site of sites) {
    const path = join(folder, `${site.name}.yaml`);
    await writeIfOther(path, site.text, mode);
    const { plan } = assemblePlan(site.profile.site, services);
    if (lock !== null && lock.request === requestDigest(requestOf(plan)))
      await writeIfOther(lockPath(path), formatLock(lock), 0o644);
    paths.push(path);
  }
  return paths;
}

async function readTable(table: string): Promise<string> {
  let bytes: Buffer;
  try {
    bytes = await readFile(table);
  } catch (error) {
    throw new UsageError(
      `the table of sites ${table} cannot be read (${(error as NodeJS.ErrnoException).code})`,
      {
        hint: 'give a CSV file whose first line names settings: site.name,site.title,network.address',
      },
    );
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new UsageError(`the table of sites ${table} is not UTF-8`, {
      hint: 'save it as "CSV UTF-8"',
    });
  }
}

async function writeIfOther(path: string, text: string, mode: number): Promise<void> {
  if ((await readTextIfThere(path)) !== text) await writeAtomic(path, text, mode);
}
