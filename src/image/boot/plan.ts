import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { WorkError } from '../../diagnostics/errors.js';
import { canonicalJson, sha256 } from '../../host/files.js';
import { packageRoot } from '../../host/paths.js';
import type { Base, Board } from '../../services/contract.js';
import { renderTemplate } from '../../templates/engine.js';
import { kernelCommandLine } from './cmdline.js';
import { pcBoot } from './pc.js';
import { piBoot } from './pi.js';
import type { BootInput, BootPlan, RenderBootText } from './types.js';

/** Fills in `templates/boot/<template>.hbs` of this program. */
export const renderBootText: RenderBootText = (template, data) => {
  const name = `templates/boot/${template}.hbs`;
  const source = readFileSync(join(packageRoot(), name), 'utf8');
  return renderTemplate(source, name, data, (id) => {
    throw new Error(`the boot partition is readable by everybody and never holds a secret: ${id}`);
  });
};

/**
 * Which files the boot partition gets, and what a BIOS needs.
 * @param inputs from `listBootFolder`.
 */
export function bootPlan(
  board: Board,
  base: Base,
  inputs: readonly BootInput[],
  render: RenderBootText = renderBootText,
): BootPlan {
  return board === 'pc' ? pcBoot(inputs, render) : piBoot(board, base, inputs, render);
}

/** Digest of everything a boot partition says in texts: templates and the kernel's command line. Lower-case hex SHA-256. */
export function bootTextDigest(board: Board, base: Base): string {
  const folder = join(packageRoot(), 'templates/boot');
  const texts = listBootFolder(folder).map(({ path }) => [path, readFileSync(join(folder, path), 'utf8')]);
  return sha256(canonicalJson([texts, kernelCommandLine(board, base)]));
}

/** The files of a folder and below, sorted by path. */
export function listBootFolder(folder: string): readonly BootInput[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((path) => ({ path, stat: statSync(join(folder, path)) }))
      .filter(({ stat }) => stat.isFile())
      .map(({ path, stat }) => ({ path, size: stat.size }))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  } catch (cause) {
    throw new WorkError(`the boot files of the base layer cannot be read: ${folder}`, { cause });
  }
}
