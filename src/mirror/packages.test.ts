import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PackagesIndex, readPackages } from './packages.js';
import { parseRelease } from './release.js';

const TEXT = `Package: libc6
Source: glibc
Version: 2.41-12
Architecture: arm64
Provides: libc6-2.41
Pre-Depends: libgcc-s1
Depends: libcrypt1 (>= 1:4.4), tools | other-tools (<< 3)
Installed-Size: 22796
Description: GNU C Library
 Package: not-a-field
Filename: pool/main/g/glibc/libc6_2.41-12_arm64.deb
Size: 2483572
SHA256: ABCDEF

Package: bash
Essential: yes
Source: bash (5.2)
Version: 5.2+b1
Architecture: arm64
Filename: ./pool/main/b/bash/bash_5.2+b1_arm64.deb
Size: 10
SHA256: 12

Package: mawk
Priority: required
Version: 1
Architecture: arm64
Maintainer: Jörg
Filename: pool/main/m/mawk/mawk_1_arm64.deb
Size: 1
SHA256: 34`;

let file: string;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'packages-test-'));
  file = join(folder, 'Packages');
  await writeFile(file, TEXT);
});
afterAll(() => rm(folder, { recursive: true }));

describe('package lists', () => {
  it('give what the lock needs', async () => {
    const index = await readPackages(file);
    expect([...index.base]).toEqual(['bash', 'mawk']);
    expect(index.record('pool/main/g/glibc/libc6_2.41-12_arm64.deb')).toEqual({
      name: 'libc6',
      version: '2.41-12',
      arch: 'arm64',
      filename: 'pool/main/g/glibc/libc6_2.41-12_arm64.deb',
      size: 2483572,
      sha256: 'abcdef',
      source: 'glibc',
      sourceVersion: '2.41-12',
      installedKiB: 22796,
      depends: ['libgcc-s1', 'libcrypt1', 'tools', 'other-tools'],
      provides: ['libc6-2.41'],
    });
    expect(index.record('pool/main/b/bash/bash_5.2+b1_arm64.deb')).toMatchObject({
      source: 'bash',
      sourceVersion: '5.2',
    });
    expect(index.record('pool/main/m/mawk/mawk_1_arm64.deb')).toMatchObject({
      source: 'mawk',
      sourceVersion: '1',
    });
    expect(index.record('pool/nothing')).toBeNull();
  });

  it('can be read for a few files only', async () => {
    const path = 'pool/main/m/mawk/mawk_1_arm64.deb';
    const index = await readPackages(file, new PackagesIndex(new Set([path])));
    expect([...index.names]).toEqual(['mawk']);
  });
});

it('a release names its files', () => {
  const release = parseRelease(
    'Origin: Debian\nCodename: trixie\nDate: Sat, 12 Sep 2026 07:55:41 UTC\nMD5Sum:\n 00 1 main/x\nSHA256:\n ABCD 17 main/binary-arm64/Packages.xz\n ef01   0 main/y\n',
  );
  expect(release).toMatchObject({ origin: 'Debian', codename: 'trixie', suite: '', date: 1789199741 });
  expect([...release.files]).toEqual([
    ['main/binary-arm64/Packages.xz', { size: 17, sha256: 'abcd' }],
    ['main/y', { size: 0, sha256: 'ef01' }],
  ]);
});
