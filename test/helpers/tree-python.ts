import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host } from '../../src/host/host.js';
import { loaderOf } from '../../src/host/namespace.js';
import { baseTree } from './base-tree.js';

const PREFIX = 'usr/lib/commesh/synapse';

/**
 * A program that is the kit's own Python with Synapse and all it needs, started from outside of its tree: the wheels a kit gets,
 * without a network.
 */
export async function synapsePython(host: Host): Promise<string> {
  const tree = await baseTree(host);
  const script = join(await host.temporary('python'), 'python');
  const quoted = loaderOf(tree).map((part) => `'${part}'`);
  await writeFile(
    script,
    `#!/bin/sh
export PYTHONHOME='${tree}/usr' PYTHONPATH='${tree}/${PREFIX}/lib/python3.13/site-packages' PYTHONDONTWRITEBYTECODE=1
exec ${quoted.join(' ')} '${tree}/usr/bin/python3.13' "$@"
`,
  );
  await chmod(script, 0o755);
  return script;
}
