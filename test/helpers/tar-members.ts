import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Parser } from 'tar';

/**
 * Every member of a tar: path → all that the archive says of it (type, mode, owner, time, size, target, device, extended attributes)
 * and the SHA-256 of its content.
 */
export async function tarMembers(path: string): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  await new Promise<void>((resolve, reject) => {
    const parser = new Parser({
      strict: true,
      onReadEntry: (entry) => {
        const hash = createHash('sha256');
        entry.on('data', (chunk) => hash.update(chunk));
        entry.on('end', () => {
          const { type, mode, uid, gid, size, mtime, linkpath, extended } = entry;
          const facts = {
            type,
            mode,
            uid,
            gid,
            size,
            mtime,
            linkpath,
            extended,
            devmaj: entry.header.devmaj,
            devmin: entry.header.devmin,
          };
          found.set(entry.path, `${JSON.stringify(facts)} ${hash.digest('hex')}`);
        });
      },
    });
    parser.on('error', reject);
    parser.on('end', () => resolve());
    createReadStream(path)
      .on('error', reject)
      .pipe(parser as unknown as NodeJS.WritableStream);
  });
  return found;
}

/** Paths whose members differ between two archives, or are in one of them only; sorted. */
export async function differingMembers(one: string, other: string): Promise<readonly string[]> {
  const [a, b] = await Promise.all([tarMembers(one), tarMembers(other)]);
  return [...new Set([...a.keys(), ...b.keys()])].filter((path) => a.get(path) !== b.get(path)).sort();
}
