import { link, mkdir, open, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { UsageError } from '../../../diagnostics/errors.js';
import { syncFolder } from '../../../host/files.js';

/** Why a file that is there already stops `init`. */
export function existsError(file: string): UsageError {
  return new UsageError(`${file} is there already, and init never overwrites`, {
    hint: 'give another name, or edit the file: it is plain text',
  });
}

/** Writes a new file, whole or not at all; one that is there already is left as it is (UsageError). */
export async function writeNew(file: string, text: string): Promise<void> {
  const folder = dirname(file);
  await mkdir(folder, { recursive: true });
  const part = join(folder, `.${basename(file)}.${process.pid}.part`);
  try {
    const handle = await open(part, 'w', 0o644);
    try {
      await handle.writeFile(text);
      await handle.sync();
    } finally {
      await handle.close();
    }
    try {
      // Unlike rename(2), link(2) never replaces a file.
      await link(part, file);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EEXIST') throw existsError(file);
      // FAT on a USB stick knows no links.
      if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP') throw error;
      await writeExclusive(file, text);
    }
  } finally {
    await rm(part, { force: true });
  }
  await syncFolder(folder);
}

async function writeExclusive(file: string, text: string): Promise<void> {
  const handle = await open(file, 'wx', 0o644).catch((error: NodeJS.ErrnoException) => {
    throw error.code === 'EEXIST' ? existsError(file) : error;
  });
  try {
    await handle.writeFile(text);
    await handle.sync();
  } catch (error) {
    await rm(file, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}
