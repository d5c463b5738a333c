import { readFileSync, realpathSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tarOf } from '../host/tarball.js';
import type { LockPackage } from '../mirror/types.js';
import { elfMachine, MACHINES, readElf } from './elf.js';
import { EMULATED_PROGRAMS, TWIN_PACKAGES, twinsSet } from './programs.js';
import { impurities } from './purity.js';
import { pairsOf, patchProgram, replaceAll, twinsId } from './twins.js';

const pkg = (name: string, arch: string, version = '1', source = name): LockPackage => ({
  name,
  arch,
  version,
  source,
  sourceVersion: version.replace(/\+b\d+$/, ''),
  path: `pool/${name}_${version}_${arch}.deb`,
  size: 1,
  sha256: `${name}-${arch}-${version}`,
  archive: 'debian',
  suite: 'trixie',
  installedKiB: 1,
});
const names = (pairs: ReturnType<typeof pairsOf>): string[] => pairs.map((one) => one.foreign.name);

describe('which packages are paired', () => {
  it('those of the same source version, whatever their rebuild', () => {
    const system = [
      pkg('sed', 'arm64', '4.9-2'),
      pkg('grep', 'arm64', '3.11-4'),
      pkg('tar', 'arm64', '1.35'),
    ];
    const natives = [
      pkg('sed', 'amd64', '4.9-2'),
      { ...pkg('grep', 'amd64', '3.11-4+b1') },
      pkg('tar', 'amd64', '1.36'),
    ];
    expect(names(pairsOf(system, natives))).toEqual(['sed', 'grep']);
  });

  it('none that is not named, and none that is for every architecture', () => {
    const system = [pkg('libc-bin', 'arm64'), pkg('sed', 'all')];
    expect(pairsOf(system, [pkg('libc-bin', 'amd64'), pkg('sed', 'all')])).toEqual([]);
  });

  it('Perl only with its compiled modules', () => {
    const system = [
      pkg('perl-base', 'arm64'),
      pkg('libtext-charwidth-perl', 'arm64'),
      pkg('libtext-wrapi18n-perl', 'all'),
    ];
    const natives = [pkg('perl-base', 'amd64')];
    expect(names(pairsOf(system, natives))).toEqual([]);
    expect(names(pairsOf(system, [...natives, pkg('libtext-charwidth-perl', 'amd64', '2')]))).toEqual([]);
    expect(names(pairsOf(system, [...natives, pkg('libtext-charwidth-perl', 'amd64')]))).toEqual([
      'perl-base',
    ]);
  });

  it('under an id that every package changes', () => {
    const system = [pkg('sed', 'arm64')];
    const natives = [pkg('sed', 'amd64'), pkg('libc6', 'amd64')];
    const id = twinsId({ system, natives });
    expect(twinsId({ system, natives: natives.toReversed() })).toBe(id);
    expect(twinsId({ system, natives: [...natives, pkg('zlib1g', 'amd64')] })).not.toBe(id);
    expect(twinsId({ system: [{ ...pkg('sed', 'arm64'), sha256: 'other' }], natives })).not.toBe(id);
  });
});

describe('the lists', () => {
  it('give a reason for every entry', () => {
    for (const reason of [...Object.values(TWIN_PACKAGES), ...Object.values(EMULATED_PROGRAMS)])
      expect(reason.length).toBeGreaterThan(8);
  });

  it('keep what says the machine out', () => {
    for (const name of ['uname', 'arch', 'lscpu']) expect(EMULATED_PROGRAMS).toHaveProperty(name);
    for (const name of ['libc-bin', 'apt', 'man-db']) expect(TWIN_PACKAGES).not.toHaveProperty(name);
  });

  it('are asked for only as far as the tree holds them', () => {
    expect(twinsSet('amd64')).toMatchObject({ id: 'twins-amd64', arch: 'amd64', within: 'system' });
  });
});

describe('reading programs', () => {
  const shell = readFileSync(realpathSync('/bin/sh'));

  it('finds machine, build-id and loader of a program', () => {
    const elf = readElf(shell);
    expect(elf?.machine).toBe(process.arch === 'x64' ? MACHINES.amd64 : MACHINES.arm64);
    expect(elf?.buildId).toMatch(/^[0-9a-f]{40}$/);
    const { offset = 0, size = 0 } = elf?.interpreter ?? {};
    expect(shell.toString('latin1', offset, offset + size)).toMatch(/^\/lib.*\/ld-linux-.*\0$/);
    expect(elf?.runPaths).toEqual([]);
  });

  it('takes nothing else for a program', () => {
    expect(readElf(Buffer.from('#!/bin/sh\n'))).toBeNull();
    expect(readElf(Buffer.alloc(0))).toBeNull();
    expect(elfMachine(shell.subarray(0, 19))).toBeNull();
    // Cut off within its headers.
    expect(readElf(shell.subarray(0, 100))).toBeNull();
  });
});

describe('changing programs', () => {
  const elf = { machine: MACHINES.amd64, buildId: 'ab', interpreter: { offset: 4, size: 28 }, runPaths: [] };
  const program = Buffer.from(
    'xxxx/lib64/ld-linux-x86-64.so.2\0/usr/lib/x86_64-linux-gnu/perl-base\0amd64\0v (amd64)\0',
    'latin1',
  );

  it('points loader and libraries at the twins, and moves nothing', () => {
    const patched = patchProgram(program, elf, 'perl-base')?.toString('latin1') ?? '';
    expect(patched).toHaveLength(program.length);
    expect(patched.slice(0, 32)).toBe(`xxxx/.twins/ld.so${'\0'.repeat(15)}`);
    expect(patched.slice(32)).toBe('/.twins/lib/amd64-twinset/perl-base\0amd64\0v (amd64)\0');
  });

  it("gives dpkg the tree's architecture", () => {
    expect(patchProgram(program, elf, 'dpkg')?.toString('latin1')).toMatch(/\0arm64\0v \(arm64\)\0$/);
  });

  it('leaves programs with libraries of their own alone', () => {
    expect(patchProgram(program, { ...elf, runPaths: ['/usr/lib/man-db'] }, 'man-db')).toBeNull();
    expect(patchProgram(program, { ...elf, runPaths: ['$ORIGIN/../lib'] }, 'x')).toBeNull();
    expect(
      patchProgram(program, { ...elf, runPaths: ['/usr/lib/x86_64-linux-gnu/systemd'] }, 'systemd'),
    ).not.toBeNull();
    expect(patchProgram(program, { ...elf, interpreter: null }, 'static')).toBeNull();
  });

  it('never replaces a text by one of another length', () => {
    expect(() => replaceAll(Buffer.from('a'), 'a', 'bb')).toThrow();
    const bytes = Buffer.from('abab');
    expect(replaceAll(bytes, 'ab', 'cd')).toBe(2);
    expect(bytes.toString()).toBe('cdcd');
  });
});

describe('what must not be in a tree', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'purity-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const elfOf = (machine: number): Buffer => {
    const bytes = Buffer.alloc(64);
    bytes.write('\x7fELF\x02\x01\x01', 'latin1');
    bytes.writeUInt16LE(machine, 18);
    return bytes;
  };
  const look = async (files: Readonly<Record<string, Buffer | string>>): Promise<readonly string[]> => {
    const tar = join(folder, 'tree.tar');
    const entries = Object.entries(files).map(([path, content]) => ({
      path,
      type: 'file' as const,
      mode: 0o644,
      uid: 0,
      gid: 0,
      mtime: 0,
      content: Buffer.from(content),
    }));
    await writeFile(tar, Buffer.concat([tarOf(entries), Buffer.alloc(1024)]));
    return impurities(tar, 'arm64');
  };

  it('is a program of another architecture', async () => {
    expect(await look({ 'usr/bin/good': elfOf(MACHINES.arm64), 'usr/bin/empty': '' })).toEqual([]);
    expect(
      await look({ 'usr/bin/good': elfOf(MACHINES.arm64), 'usr/lib/bad.so': elfOf(MACHINES.amd64) }),
    ).toEqual(['usr/lib/bad.so is a program or library of another architecture']);
  });

  it("is the name of the twins' folder, in a path and anywhere in a content", async () => {
    expect(await look({ '.twins/t/x': 'a' })).toEqual([expect.stringContaining('named after')]);
    const large = Buffer.alloc((4 << 20) + 100, 0x61);
    large.write('/.twins/', (4 << 20) - 4, 'latin1');
    expect(await look({ 'var/large': large, 'etc/fine': 'twins' })).toEqual([
      expect.stringContaining('var/large names'),
    ]);
    large.fill(0x61);
    large.write('/.twins/', 4 << 20, 'latin1');
    expect(await look({ 'var/large': large })).toHaveLength(1);
  });
});
