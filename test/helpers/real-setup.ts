import type { TestProject } from 'vitest/node';
import { join } from 'node:path';
import { createHost } from '../../src/host/host.js';
import { packageRoot } from '../../src/host/paths.js';
import { makeBase } from './base-tree.js';

/**
 * Set-up of the vitest project `real`: makes what all its files use, with the network; then lets every file run apart from this
 * machine (apart.sh).
 */
export default async function setup(project: TestProject): Promise<() => void> {
  const others = project.vitest.projects.filter((one) => one.name !== 'real' && one.name !== 'unit');
  if (others.length > 0)
    throw new Error(
      'the real tests run without a network, so by themselves: npx vitest run --project real (or bin/test real)',
    );
  const host = createHost((event) => {
    if (event.type === 'begin') process.stderr.write(`${event.title}\n`);
    if (event.type === 'log' && event.level !== 'debug') process.stderr.write(`${event.text}\n`);
  });
  try {
    await makeBase(host);
  } finally {
    await host.close();
  }
  const node = process.execPath;
  if (host.uid !== 0) return () => {};
  process.env['COMMESH_TEST_NODE'] = node;
  process.execPath = join(packageRoot(), 'test/helpers/apart.sh');
  return () => {
    process.execPath = node;
  };
}
