import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type { Host, Running } from '../../src/host/host.js';

/**
 * The Debian 13 tree whose Prosody, coturn, nginx … the real tests run (COMMESH_TEST_TREE), since the programs of
 * an older host are other versions than the kit's. Empty: the host's own programs, on a Debian 13 host.
 */
export const TREE = process.env['COMMESH_TEST_TREE'] ?? '';

/** A temporary folder that programs of the tree see under `inside`. */
export async function treeTemporary(
  host: Host,
  prefix: string,
): Promise<{ outside: string; inside: string }> {
  const outside = await host.temporary(prefix, TREE === '' ? undefined : join(TREE, 'tmp'));
  return { outside, inside: outside.slice(TREE === '' ? 0 : TREE.length) };
}

/** The argv that runs a program of the tree. @throws Error saying how to get it. */
export async function fromTree(argv: readonly string[]): Promise<readonly string[]> {
  const program = argv[0] ?? '';
  for (const folder of ['usr/bin', 'usr/sbin', 'usr/local/bin'])
    try {
      await access(join(TREE === '' ? '/' : TREE, folder, program));
      return TREE === '' ? argv : ['chroot', TREE, ...argv];
    } catch {
      // Not in this folder.
    }
  throw new Error(
    `${program} is not in ${TREE === '' ? 'PATH' : TREE}; set COMMESH_TEST_TREE to a Debian 13 tree with the kit's programs`,
  );
}

/** Starts a program of the tree. */
export async function startFromTree(
  host: Host,
  argv: readonly string[],
): Promise<Running & { output(): string }> {
  const lines: string[] = [];
  const running = host.start(await fromTree(argv), {
    onStdoutLine: (line) => lines.push(line),
    onStderrLine: (line) => lines.push(line),
  });
  return { ...running, output: () => lines.join('\n') };
}
