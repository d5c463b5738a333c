import { describe, expect, it } from 'vitest';
import { checkOverlay } from './overlay.js';
import type { TarMember } from './types.js';

const part = (
  ...members: (readonly [string, TarMember['type']])[]
): { tar: string; members: TarMember[] } => ({
  tar: '',
  members: members.map(([path, type]) => ({ path, type, size: 0 })),
});
const base = part(
  ['', 'd'],
  ['etc', 'd'],
  ['etc/hosts', 'f'],
  ['etc/mtab', 'l'],
  ['usr', 'd'],
  ['usr/bin', 'd'],
  ['bin', 'l'],
);

describe('checkOverlay', () => {
  it('allows files and links over files and links, and folders over folders', () => {
    expect(() =>
      checkOverlay([
        base,
        part(['etc', 'd'], ['etc/hosts', 'l'], ['etc/mtab', 'f'], ['etc/new', 'd'], ['etc/new/x', 'f']),
      ]),
    ).not.toThrow();
  });
  it.each([
    ['a folder over a link', part(['etc/mtab', 'd']), '/etc/mtab is a folder of the site and a file or link'],
    ['a file over a folder', part(['usr/bin', 'f']), '/usr/bin is a file of the site and a folder'],
    ['a path through a link', part(['bin/x', 'f']), '/bin/x leads through /bin'],
    ['a path without its folder', part(['srv/x', 'f']), '/srv/x has no folder'],
  ])('refuses %s', (_name, site, message) => {
    expect(() => checkOverlay([base, site])).toThrow(message);
  });
});
