import { describe, expect, it } from 'vitest';
import { PackagesIndex, reachable } from './packages.js';
import { parseRelease } from './release.js';

const TEXT = `Package: libc6
Source: glibc
Version: 2.41-12
Architecture: arm64
Provides: libc6-2.41
Pre-Depends: libgcc-s1
Depends: libcrypt1 (>= 1:4.4), tools | other-tools:any (<< 3)
Installed-Size: 22796
Description: GNU C Library
 Package: not-a-field
Filename: pool/main/g/glibc/libc6_2.41-12_arm64.deb
Size: 2483572
SHA256: ABCDEF

Essential: yes
Package: bash
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
Provides: awk, other-tools (= 2)
Maintainer: Jörg
Filename: pool/main/m/mawk/mawk_1_arm64.deb
Size: 1
SHA256: 34`;

function indexOf(...texts: string[]): PackagesIndex {
  const index = new PackagesIndex();
  for (const text of texts) index.add(Buffer.from(text));
  return index;
}

describe('package lists', () => {
  it('give what the lock needs', () => {
    const index = indexOf(TEXT);
    expect([...index.base].sort()).toEqual(['bash', 'mawk']);
    expect(index.record('libc6', 'pool/main/g/glibc/libc6_2.41-12_arm64.deb')).toEqual({
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
      alternatives: [['libgcc-s1'], ['libcrypt1'], ['tools', 'other-tools']],
      provides: ['libc6-2.41'],
    });
    expect(index.record('bash', 'pool/main/b/bash/bash_5.2+b1_arm64.deb')).toMatchObject({
      source: 'bash',
      sourceVersion: '5.2',
    });
    expect(index.record('mawk', 'pool/main/m/mawk/mawk_1_arm64.deb')).toMatchObject({
      source: 'mawk',
      sourceVersion: '1',
    });
    expect(index.record('mawk', 'pool/nothing')).toBeNull();
    expect(index.has('not-a-field')).toBe(false);
  });

  it('keep every version and every byte of a stanza', () => {
    const index = indexOf(TEXT, 'Package: mawk\nVersion: 2\n\n');
    expect(index.stanzas('mawk').map((stanza) => /Version: (.*)/.exec(stanza)?.[1])).toEqual(['1', '2']);
    expect(Buffer.from(index.stanzas('mawk')[0] ?? '', 'latin1').toString()).toContain('Maintainer: Jörg\n');
    expect(index.providers('awk')).toEqual(['mawk']);
  });

  it('tell what can be reached: all alternatives, all providers, in every suite', () => {
    const updates = indexOf(
      'Package: other-tools\nDepends: deep\n\nPackage: deep\n\nPackage: far\nDepends: deep\n',
    );
    expect([...reachable(['libc6'], [indexOf(TEXT), updates])].sort()).toEqual([
      'deep',
      'libc6',
      'libcrypt1',
      'libgcc-s1',
      'mawk',
      'other-tools',
      'tools',
    ]);
  });
});

describe('a release', () => {
  const text = (more = ''): string =>
    `Origin: Debian\nCodename: trixie\nDate: Sat, 12 Sep 2026 07:55:41 UTC\n${more}MD5Sum:\n 00 1 main/x\nSHA256:\n ABCD 17 main/binary-arm64/Packages.xz\n ef01   0 main/y\n`;

  it('names its files', () => {
    const release = parseRelease(text());
    expect(release).toMatchObject({
      origin: 'Debian',
      codename: 'trixie',
      suite: '',
      date: 1789199741,
      validUntil: null,
      ownAllLists: false,
    });
    expect([...release.files]).toEqual([
      ['main/binary-arm64/Packages.xz', { size: 17, sha256: 'abcd' }],
      ['main/y', { size: 0, sha256: 'ef01' }],
    ]);
  });

  it.each([
    ['Architectures: all arm64\n', true],
    ['Architectures: all arm64\nNo-Support-for-Architecture-all: Packages\n', false],
    ['Architectures: arm64\n', false],
  ])('says whether packages of all architectures have lists of their own: %j', (more, own) => {
    expect(parseRelease(text(more)).ownAllLists).toBe(own);
  });

  it('says until when it is valid', () => {
    expect(parseRelease(text('Valid-Until: Sat, 19 Sep 2026 07:55:41 UTC\n')).validUntil).toBe(1789804541);
  });
});
