import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { WorkError } from '../../diagnostics/errors.js';
import { artifactsFolder, type ArtifactSource } from '../artifacts.js';
import { folderOf } from './apt.js';

const WORDS: Readonly<Record<ArtifactSource, string>> = { pypi: 'Python wheels', npm: 'npm packages' };

/**
 * The folder of a source's files when the profile's `mirror` is a folder: an offline cache, or the archives in one. Null when it
 * is none.
 * @throws WorkError when it holds no such files.
 */
export function folderOfMirror(mirror: string, source: ArtifactSource): string | null {
  if (!mirror.startsWith('file:')) return null;
  const folder = folderOf(mirror);
  const places = [folder, dirname(folder), dirname(dirname(folder))].map((one) =>
    artifactsFolder(one, source),
  );
  const found = places.find((one) => existsSync(one));
  if (found !== undefined) return found;
  throw new WorkError(`the folder ${folder} does not hold any ${WORDS[source]}`, {
    hint: `looked for ${places[0]}; give their place with --archive ${source}=URL`,
    because: ['mirror'],
  });
}
