import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { hostArch, type Project } from '../../src/cli/commands/project.js';
import type { Host } from '../../src/host/host.js';
import { namespaceTools } from '../../src/host/namespace.js';
import { inspector, readPartitions, type FoundFile } from '../../src/image/inspect.js';
import { archiveFolder } from '../../src/mirror/cache.js';
import type { Lock } from '../../src/mirror/types.js';
import { CA_FILE, DATA_ROOT } from '../../src/services/contract.js';
import { ensureToolsTree } from '../../src/stages/tools.js';

const TYPES = { directory: 'directory', symlink: 'symlink' } as const;

/** Opens an image and compares it with the plan: every file with its type, mode and owner, links, units, partitions. */
export async function expectPlanInImage(
  host: Host,
  project: Project,
  image: string,
  lock: Lock,
  cache: string,
): Promise<{ readonly fat: ReadonlyMap<string, Buffer>; readonly root: ReadonlyMap<string, FoundFile> }> {
  const { plan } = project;
  const tree = await ensureToolsTree(
    host,
    join(cache, 'trees'),
    lock.sets[`tools-${hostArch()}`] ?? [],
    (one) => join(archiveFolder(cache, one.archive), one.path),
  );
  const look = inspector(host, namespaceTools(host, tree.path, tree.id), image);
  const { partitions } = await readPartitions(image);
  const starts = partitions.slice(0, 3).map((one) => one.start) as [number, number, number];
  expect(partitions.map((one) => one.type).slice(0, 3)).toEqual([
    plan.site.board === 'pc' ? 0xef : 0x0c,
    0x83,
    0x83,
  ]);
  const byPath = (files: readonly FoundFile[]): Map<string, FoundFile> =>
    new Map(files.map((one) => [one.path, one]));
  const root = byPath(await look.list(starts[1]));
  const data = byPath(await look.list(starts[2]));
  const texts = await look.read(starts[1], ['/etc/passwd', '/etc/group']);
  const ids = (file: string): Map<string, number> =>
    new Map(
      (texts.get(file)?.toString() ?? '')
        .split('\n')
        .filter(Boolean)
        .map((line) => [line.split(':')[0] ?? '', Number(line.split(':')[2])]),
    );
  const [users, groups] = [ids('/etc/passwd'), ids('/etc/group')];

  const wanted = [
    ...plan.files,
    ...plan.certificates.flatMap((wish) => [
      {
        path: `${wish.directory}/${wish.id}.crt`,
        kind: 'copy' as const,
        mode: '0644',
        owner: 'root',
        group: 'root',
      },
      {
        path: `${wish.directory}/${wish.id}.key`,
        kind: 'copy' as const,
        mode: '0640',
        owner: wish.owner,
        group: wish.group,
      },
    ]),
    { path: CA_FILE, kind: 'copy' as const, mode: '0644', owner: 'root', group: 'root' },
  ];
  const shown = (file: Omit<FoundFile, 'size' | 'path'> | undefined): string =>
    file === undefined
      ? 'missing'
      : `${file.type} ${file.type === 'symlink' ? '' : file.mode.toString(8)} ${file.uid}:${file.gid}`;
  const differences = wanted.flatMap((file) => {
    const onData = file.path.startsWith(`${DATA_ROOT}/`);
    const found = onData ? data.get(file.path.slice(DATA_ROOT.length)) : root.get(file.path);
    const kind = file.kind in TYPES ? TYPES[file.kind as keyof typeof TYPES] : 'file';
    const planned = shown({
      type: kind,
      mode: Number.parseInt(file.mode, 8),
      uid: users.get(file.owner) ?? -1,
      gid: groups.get(file.group) ?? -1,
    });
    return shown(found) === planned ? [] : [`${file.path}: ${shown(found)} instead of ${planned}`];
  });
  expect(differences).toEqual([]);

  const links = plan.units
    .filter((unit) => unit.enabled)
    .map((unit) => `/etc/systemd/system/${unit.target}.wants/${unit.name}`);
  expect(links.filter((path) => root.get(path)?.type !== 'symlink')).toEqual([]);

  // Nothing of the build, nothing random, nothing the host put there.
  const strays = [...root.keys()].filter((path) =>
    /^\/var\/log\/.+/.test(path) && root.get(path)?.type === 'file'
      ? true
      : /^\/var\/lib\/apt\/lists\/.+/.test(path),
  );
  expect(strays).toEqual([]);
  expect(root.get('/etc/machine-id')?.size).toBe(0);
  expect([...root.keys()].filter((path) => /^\/etc\/ssh\/ssh_host_(?!ed25519_key)/.test(path))).toEqual([]);
  return { fat: await look.fat(starts[0]), root };
}

/** Whether a text stands anywhere in a file. */
export async function imageHolds(path: string, text: string): Promise<boolean> {
  if (text.length < 20) throw new Error('too short to look for');
  const needle = Buffer.from(text);
  let rest = Buffer.alloc(0);
  for await (const chunk of createReadStream(path, { highWaterMark: 4 << 20 })) {
    const block = Buffer.concat([rest, chunk as Buffer]);
    if (block.includes(needle)) return true;
    rest = block.subarray(block.length - needle.length + 1);
  }
  return false;
}
