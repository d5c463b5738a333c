import { open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { hashFile, syncFolder } from '../host/files.js';
import type { Host } from '../host/host.js';
import type { Tools } from '../host/tools.js';
import type { BuiltImage, Compression } from './types.js';

/** Both give the same bytes on any number of processors (zstd(1), xz(1): the division into blocks depends on size alone). */
const PROGRAMS: Readonly<Record<Exclude<Compression, 'none'>, readonly string[]>> = {
  zst: ['zstd', '-q', '-T0', '-12', '--long=26', '-f'],
  xz: ['xz', '-q', '-T0', '-6', '--block-size=32MiB', '-k', '-f', '-c'],
};

/**
 * Writes `<output>.zst` or `<output>.xz`.
 * @throws ToolError.
 */
export async function compressImage(
  host: Host,
  tools: Tools,
  image: string,
  output: string,
  how: Compression,
): Promise<BuiltImage['compressed']> {
  if (how === 'none') return null;
  const path = `${output}.${how}`;
  const part = join(dirname(image), 'compressed');
  await tools.run(
    [
      'sh',
      '-euc',
      'to=$1; from=$2; shift 2; exec "$@" < "$from" > "$to"',
      'sh',
      '/mnt/image/compressed',
      `/mnt/image/${basename(image)}`,
      ...PROGRAMS[how],
      ...(how === 'zst' ? ['-c'] : []),
    ],
    { binds: [{ from: dirname(image), to: '/mnt/image' }], title: `compressing the image (${how})` },
  );
  const file = await open(part, 'r+');
  try {
    await file.chmod(0o600);
    await file.sync();
  } finally {
    await file.close();
  }
  const { sha256, size } = await hashFile(part);
  await rm(path, { force: true });
  await rename(part, path);
  await syncFolder(dirname(path));
  void host;
  return { path, size, sha256 };
}
