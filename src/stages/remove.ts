import { rm } from 'node:fs/promises';
import type { Host } from '../host/host.js';

/** Removes a tree that may hold files of mapped user ids, which only their user namespace may touch. */
export async function removeTree(host: Host, path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch {
    await host.exec(['unshare', '--user', '--map-root-user', '--map-auto', 'rm', '-rf', '--', path], {
      allowFailure: true,
    });
  }
}
