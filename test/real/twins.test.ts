/** The two programs of src/twins: what the dispatcher decides, in a binfmt_misc of its own, and that the embedded ones are those of the sources. */
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createHost, type Host } from '../../src/host/host.js';
import { namespaceTools } from '../../src/host/namespace.js';
import { packageRoot } from '../../src/host/paths.js';
import { DISPATCH, MACHINE } from '../../src/twins/binaries.js';
import { MACHINES } from '../../src/twins/elf.js';
import { testBase, type TestBase } from '../helpers/base-tree.js';

let host: Host;
let base: TestBase;
let folder: string;

/** The headers of an arm64 program with a build-id, and nothing to run. */
function program(buildId: string, before: readonly Buffer[] = []): Buffer {
  const note = (name: string, type: number, content: Buffer): Buffer => {
    const head = Buffer.alloc(12);
    head.writeUInt32LE(name.length + 1, 0);
    head.writeUInt32LE(content.length, 4);
    head.writeUInt32LE(type, 8);
    const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
    return Buffer.concat([head, padded(Buffer.from(`${name}\0`)), padded(content)]);
  };
  const notes = Buffer.concat([
    ...before,
    note('GNU', 1, Buffer.alloc(16)),
    note('GNU', 3, Buffer.from(buildId, 'hex')),
  ]);
  const headers = 64 + 2 * 56;
  const bytes = Buffer.alloc(headers);
  bytes.write('\x7fELF\x02\x01\x01', 'latin1');
  bytes.writeUInt16LE(2, 16);
  bytes.writeUInt16LE(MACHINES.arm64, 18);
  bytes.writeUInt32LE(1, 20);
  bytes.writeBigUInt64LE(64n, 32);
  bytes.writeUInt16LE(64, 52);
  bytes.writeUInt16LE(56, 54);
  bytes.writeUInt16LE(2, 56);
  // Something to load comes first, then the notes.
  bytes.writeUInt32LE(1, 64);
  bytes.writeUInt32LE(4, 64 + 56);
  bytes.writeBigUInt64LE(BigInt(headers), 64 + 56 + 8);
  bytes.writeBigUInt64LE(BigInt(notes.length), 64 + 56 + 32);
  return Buffer.concat([bytes, notes]);
}

const KNOWN = '00112233445566778899aabbccddeeff00112233';
const OTHER = 'ff112233445566778899aabbccddeeff00112233';
/** Says which of the two runs, under which name, with which arguments. */
const says = (who: string): string => `#!/bin/sh\necho "${who}:$0:$*"\n`;

/**
 * Runs lines of shell in a tree with the programs of the tools tree and /.twins, in which the dispatcher runs arm64 programs. The real programs
 * stand in for twin and emulator: scripts that say how they were called.
 */
async function inside(lines: string): Promise<readonly string[]> {
  const tools = namespaceTools(host, base.tools.path, base.tools.id, {
    file: join(folder, 'twins/dispatch'),
    flags: 'PF',
  });
  const { stdout } = await tools.run(
    [
      'sh',
      '-euc',
      `mkdir /mnt/root; mount -t tmpfs tmpfs /mnt/root; cd /mnt/root; mkdir usr srv proc tmp .twins
       for name in bin lib lib64; do ln -s usr/$name $name; done
       mount --rbind /usr usr; mount --bind /mnt/twins .twins; mount --bind /mnt/bin srv; mount -t proc proc proc
       exec chroot /mnt/root sh -euc "$1"`,
      'sh',
      lines,
    ],
    {
      ids: 'range',
      binds: [
        { from: join(folder, 'twins'), to: '/mnt/twins' },
        { from: join(folder, 'bin'), to: '/mnt/bin', readOnly: true },
      ],
    },
  );
  return stdout.trimEnd().split('\n');
}

beforeAll(async () => {
  host = createHost();
  base = await testBase(host);
  folder = await mkdtemp(join(tmpdir(), 'twins-'));
  await chmod(folder, 0o755);
  const twin = join(folder, 'twins/t', KNOWN);
  await mkdir(twin, { recursive: true });
  await mkdir(join(folder, 'bin'));
  const file = (path: string, content: Buffer | string): Promise<void> =>
    writeFile(join(folder, path), content, { mode: 0o755 });
  await file('twins/dispatch', gunzipSync(Buffer.from(DISPATCH, 'base64')));
  await file('twins/qemu-aarch64', says('emulated'));
  for (const name of ['sed', 'python3.13']) await file(`twins/t/${KNOWN}/${name}`, says('native'));
  await file('bin/sed', program(KNOWN));
  await file('bin/python3.13', program(KNOWN));
  await file('bin/changed', program(OTHER));
  await file('bin/awk', program(KNOWN));
  await file('bin/nameless', program(''));
});

afterAll(async () => {
  await host.close();
  await rm(folder, { recursive: true, force: true });
});

describe.runIf(process.arch === 'x64')('the dispatcher', () => {
  it('runs the twin of the same build-id and name, through links too, with its own argv0', async () => {
    expect(
      await inside(`/srv/sed -e 's/a b/c/' ''; ln -s /srv/sed /tmp/other; /tmp/other x; cd /srv; ./sed y`),
    ).toEqual([
      // The interpreter of a script gives the script's path, so argv0 does not show here.
      `native:/.twins/t/${KNOWN}/sed:-e s/a b/c/ `,
      `native:/.twins/t/${KNOWN}/sed:x`,
      `native:/.twins/t/${KNOWN}/sed:y`,
    ]);
  });

  it('emulates every other file, and gives qemu-user name and arguments as they are', async () => {
    expect(
      await inside(
        `cp /srv/changed /tmp/sed; /tmp/sed a; /srv/awk b; /srv/nameless; bash -c 'exec -a mawk /srv/awk "c d"'`,
      ),
    ).toEqual([
      'emulated:/.twins/qemu-aarch64:-0 /tmp/sed /tmp/sed a',
      'emulated:/.twins/qemu-aarch64:-0 /srv/awk /srv/awk b',
      'emulated:/.twins/qemu-aarch64:-0 /srv/nameless /srv/nameless',
      'emulated:/.twins/qemu-aarch64:-0 mawk /srv/awk c d',
    ]);
  });

  it('lets Python run natively to compile, and for nothing else', async () => {
    const natively = [
      '-E -S /usr/lib/python3.13/py_compile.py a',
      '-m py_compile a',
      '-m compileall a',
      '/usr/bin/py3compile -p x',
      '-c "import importlib.util; print(importlib.util.MAGIC_NUMBER)"',
    ];
    const emulated = [
      '-c "import os"',
      '/usr/bin/other /usr/bin/py3compile',
      '',
      '-m http.server',
      'py_compile.py',
    ];
    const answers = await inside(
      [...natively, ...emulated].map((one) => `/srv/python3.13 ${one}`).join('\n'),
    );
    expect(answers.map((line) => line.split(':')[0])).toEqual([
      ...natively.map(() => 'native'),
      ...emulated.map(() => 'emulated'),
    ]);
  });

  it('notes what is emulated where it is asked to', async () => {
    await writeFile(join(folder, 'twins/trace'), '', { mode: 0o666 });
    await inside('/srv/sed a; /srv/awk b');
    expect(await readFile(join(folder, 'twins/trace'), 'utf8')).toBe('/srv/awk /srv/awk b \n');
    await rm(join(folder, 'twins/trace'));
  });
});

describe.runIf(process.arch === 'x64')('the embedded programs', () => {
  it('are what the compiler of Debian 13 makes of their sources', async () => {
    const sources = join(packageRoot(), 'src/twins');
    const out = join(folder, 'compiled');
    await mkdir(out);
    await base.compiler.run(['sh', '/mnt/src/compile.sh', '/mnt/src', '/mnt/out'], {
      binds: [
        { from: sources, to: '/mnt/src', readOnly: true },
        { from: out, to: '/mnt/out' },
      ],
      env: { CC: 'x86_64-linux-gnu-gcc-14' },
    });
    const [dispatch, machine] = await Promise.all(
      ['dispatch', 'machine.so'].map((name) => readFile(join(out, name))),
    );
    if (dispatch === undefined || machine === undefined) throw new Error('not compiled');
    if (process.env['UPDATE_EXPECTED']) {
      const text = (bytes: Buffer): string => `'${gzipSync(bytes, { level: 9 }).toString('base64')}'`;
      await writeFile(
        join(sources, 'binaries.ts'),
        [
          '/** dispatch.c and machine.c, compiled by compile.sh; gzip, base64. Made and compared by test/real/twins.test.ts. */',
          `export const DISPATCH =\n  ${text(dispatch)};`,
          `export const MACHINE =\n  ${text(machine)};`,
          '',
        ].join('\n'),
      );
      return;
    }
    expect(dispatch.equals(gunzipSync(Buffer.from(DISPATCH, 'base64')))).toBe(true);
    expect(machine.equals(gunzipSync(Buffer.from(MACHINE, 'base64')))).toBe(true);
  });
});
