import { describe, expect, it } from 'vitest';
import type { TarEntry } from '../host/tarball.js';
import { injectScript } from './inject.js';

const EPOCH = 1_760_000_000;
const script = (
  entry: Partial<TarEntry> & Pick<TarEntry, 'type' | 'path'>,
  ...existing: string[]
): string[] => [
  ...injectScript(
    [{ mode: 0o644, uid: 0, gid: 0, mtime: EPOCH, ...entry }],
    new Set(existing),
    (index) => `/mnt/files/${index}`,
    EPOCH,
  ),
];

describe('commands for debugfs', () => {
  it('write a file into its folder, by name', () => {
    expect(script({ type: 'file', path: 'etc/commesh/a b', mode: 0o4640, gid: 7 })).toEqual([
      'cd "/etc/commesh"',
      'write /mnt/files/0 "a b"',
      'set_inode_field "/etc/commesh/a b" mode 0104640',
      'set_inode_field "/etc/commesh/a b" uid 0',
      'set_inode_field "/etc/commesh/a b" gid 7',
    ]);
  });
  it('remove what a file or link replaces', () => {
    expect(script({ type: 'file', path: 'top' }, 'top').slice(0, 3)).toEqual([
      'rm "/top"',
      'cd "/."',
      'write /mnt/files/0 "top"',
    ]);
    expect(script({ type: 'symlink', path: 'etc/x', target: '/a "b"' }, 'etc/x').slice(0, 2)).toEqual([
      'rm "/etc/x"',
      'symlink "/etc/x" "/a ""b"""',
    ]);
  });
  it('make a folder only where there is none', () => {
    expect(script({ type: 'directory', path: 'srv/new/', mode: 0o750 })[0]).toBe('mkdir "/srv/new"');
    expect(script({ type: 'directory', path: 'srv', mode: 0o750 }, 'srv')).toEqual([
      'set_inode_field "/srv" mode 040750',
      'set_inode_field "/srv" uid 0',
      'set_inode_field "/srv" gid 0',
      `set_inode_field "/srv" mtime @${EPOCH}`,
    ]);
  });
  it('set a time that is not the image’s', () => {
    expect(script({ type: 'file', path: 'x', mtime: 1_765_000_000 }).at(-1)).toBe(
      'set_inode_field "/x" mtime @1765000000',
    );
  });
  it('hold no line that a path brought in', () => {
    expect(() => script({ type: 'file', path: 'a\nrm /etc' })).toThrow(/line break/);
  });
});
