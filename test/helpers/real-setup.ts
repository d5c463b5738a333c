import { chmod, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { createHost, type Host } from '../../src/host/host.js';
import { packageRoot } from '../../src/host/paths.js';
import { makeBase, ownIds } from './base-tree.js';

/**
 * Set-up of the vitest project `real`: makes what all its files use, with the network; then lets every file run apart from this
 * machine (apart.sh). At the end nothing of the files is left.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const others = project.vitest.projects.filter((one) => one.name !== 'real' && one.name !== 'unit');
  if (others.length > 0)
    throw new Error(
      'the real tests run without a network, so by themselves: npx vitest run --project real (or bin/test real)',
    );
  const host = createHost((event) => {
    if (event.type === 'begin') process.stderr.write(`${event.title}\n`);
    if (event.type === 'log' && event.level !== 'debug') process.stderr.write(`${event.text}\n`);
  });
  const before = { execPath: process.execPath, TMPDIR: process.env['TMPDIR'] };
  try {
    await makeBase(host);
    // Programs of other users read below it; the paths of sockets have to be short.
    const temporary = await mkdtemp(join(tmpdir(), 'real-'));
    await chmod(temporary, 0o755);
    host.onClose(() => sweep(host, temporary));
    if (host.uid === 0) {
      process.env['COMMESH_TEST_NODE'] = process.execPath;
      process.env['COMMESH_TEST_TMP'] = temporary;
      process.execPath = join(packageRoot(), 'test/helpers/apart.sh');
    } else process.env['TMPDIR'] = temporary;
  } catch (error) {
    await host.close();
    throw error;
  }
  return async () => {
    process.execPath = before.execPath;
    if (before.TMPDIR === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before.TMPDIR;
    await host.close();
  };
}

/** Removes a folder for good: the loop devices behind its files, and files of the user's other ids. */
async function sweep(host: Host, folder: string): Promise<void> {
  if (host.uid === 0) {
    const { stdout } = await host.exec(['losetup', '--list', '--noheadings', '--output', 'NAME,BACK-FILE']);
    for (const line of stdout.split('\n')) {
      const [device = '', file = ''] = line.trim().split(/\s+/);
      if (file.startsWith(`${folder}/`)) {
        await host.exec(['partx', '--delete', device], { allowFailure: true });
        await host.exec(['losetup', '--detach', device], { allowFailure: true });
      }
    }
  }
  const inOwnIds = host.uid === 0 ? [] : ['unshare', ...ownIds(host)];
  await host.exec([...inOwnIds, 'rm', '-rf', '--one-file-system', '--', folder], { allowFailure: true });
}
