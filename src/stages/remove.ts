import { rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { Host } from '../host/host.js';
import type { Tools } from '../host/tools.js';

/**
 * Removes a tree that may hold files of mapped user ids, which only their user namespace may touch.
 * @param tools run the removal there; without them the host's unshare(1), if it has one.
 */
export async function removeTree(host: Host, path: string, tools: Tools | null = null): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch {
    if (tools !== null) {
      await tools.run(['rm', '-rf', '--', `/mnt/trees/${basename(path)}`], {
        ids: 'range',
        binds: [{ from: dirname(path), to: '/mnt/trees' }],
        allowFailure: true,
        tidies: true,
      });
      return;
    }
    await host.exec(['unshare', '--user', '--map-root-user', '--map-auto', 'rm', '-rf', '--', path], {
      allowFailure: true,
      tidies: true,
    });
  }
}
