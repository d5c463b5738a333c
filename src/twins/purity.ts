import { open } from 'node:fs/promises';
import { WorkError } from '../diagnostics/errors.js';
import type { Host } from '../host/host.js';
import { timed } from '../host/host.js';
import type { Arch } from '../services/contract.js';
import { elfMachine, MACHINES } from './elf.js';
import { TWINS_ROOT } from './twins.js';

const BLOCK = 512;
const CHUNK = 4 << 20;
const TRACE = `${TWINS_ROOT}/`;

/** Types of a member with content: a file, in old and new archives (tar(5)). */
const FILES = new Set([0, 0x30]);

/**
 * Looks for what must not be in a tree of `arch`: programs and libraries of the other architecture, and the name of the twins'
 * folder in a path or a content.
 * @param tar a tree's archive; not compressed.
 * @returns what was found, in words; empty: nothing.
 */
export async function impurities(tar: string, arch: Arch): Promise<readonly string[]> {
  const wrong = MACHINES[arch === 'amd64' ? 'arm64' : 'amd64'];
  const found: string[] = [];
  const file = await open(tar, 'r');
  try {
    const header = Buffer.alloc(BLOCK);
    for (let position = 0; ;) {
      const { bytesRead } = await file.read(header, 0, BLOCK, position);
      if (bytesRead < BLOCK || header[0] === 0) return found;
      const size = Number.parseInt(
        header.toString('latin1', 124, 136).replace(/\0.*$/s, '').trim() || '0',
        8,
      );
      const name = header.toString('utf8', 0, 100).replace(/\0.*$/s, '');
      if (/^(\.?\/)?\.twins(\/|$)/.test(name) || header.includes(TRACE, 0, 'latin1'))
        found.push(`${name} is named after the twins' folder`);
      let head: Buffer | null = null;
      for (let done = 0, tail = Buffer.alloc(0); done < size;) {
        const chunk = Buffer.allocUnsafe(Math.min(CHUNK, size - done));
        const { bytesRead: got } = await file.read(chunk, 0, chunk.length, position + BLOCK + done);
        if (got < chunk.length) throw new WorkError(`the archive ${tar} is cut short`);
        head ??= chunk.subarray(0, 20);
        // A name may lie across two chunks.
        const text = tail.length === 0 ? chunk : Buffer.concat([tail, chunk.subarray(0, TRACE.length)]);
        if (text.includes(TRACE, 0, 'latin1') || (tail.length > 0 && chunk.includes(TRACE, 0, 'latin1')))
          found.push(`${name} names the twins' folder`);
        tail = Buffer.from(chunk.subarray(-TRACE.length));
        done += got;
      }
      if (head !== null && FILES.has(header[156] ?? 0) && elfMachine(head) === wrong)
        found.push(`${name} is a program or library of another architecture`);
      position += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    }
  } finally {
    await file.close();
  }
}

/**
 * Refuses a tree in which something of the machine that made it was left.
 * @throws WorkError
 */
export async function expectPure(host: Host, tar: string, arch: Arch): Promise<void> {
  await timed(host, 'pure', 'look for traces of this machine', async () => {
    const found = await impurities(tar, arch);
    if (found.length === 0) return;
    throw new WorkError(`the base layer holds what is not its own: ${found.slice(0, 5).join('; ')}`, {
      hint: 'build with --no-twins, and please report this',
    });
  });
}
