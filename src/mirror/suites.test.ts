import { describe, expect, it } from 'vitest';
import type { PlanSource } from '../plan/types.js';
import { archOfList, partFor } from './lists.js';
import { becauseOfArchive, comesFrom, suiteFolder } from './suites.js';

it.each([
  ['trixie', 'dists/trixie/'],
  ['bookworm/updates', 'dists/bookworm/updates/'],
  ['stable/', 'stable/'],
  ['pub/stable/', 'pub/stable/'],
  ['./', ''],
  ['/', ''],
])('the index of %s lies in "%s"', (suite, folder) => {
  expect(suiteFolder(suite)).toBe(folder);
});

const source = (archive: string, suite: string, more: Partial<PlanSource> = {}): PlanSource => ({
  archive,
  suite,
  components: [],
  fingerprints: [],
  use: 'only',
  ...more,
});

describe('a wish names a source', () => {
  const debian = source('debian', 'forky');
  const meet = source('meet', 'forky', { uri: 'https://meet.invalid', because: ['services', 'meet'] });
  it.each([
    [{}, [false, false]],
    [{ suite: 'forky' }, [true, false]],
    [{ archive: 'meet' }, [false, true]],
    [{ archive: 'meet', suite: 'forky' }, [false, true]],
    [{ archive: 'debian' }, [true, false]],
    [{ suite: 'sid' }, [false, false]],
  ])('%j', (wish, expected) => {
    expect([comesFrom(wish, debian), comesFrom(wish, meet)]).toEqual(expected);
  });
  it('and a fault of it is told where it was asked for', () => {
    expect(becauseOfArchive({ sources: [debian, meet] }, 'meet')).toEqual(['services', 'meet']);
    expect(becauseOfArchive({ sources: [debian, meet] }, 'debian')).toEqual(['mirror']);
  });
});

it.each([
  ['dists/trixie/main/binary-arm64/Packages.gz', 'arm64'],
  ['dists/trixie/main/binary-all/Packages', 'all'],
  ['stable/Packages.xz', '*'],
  ['Packages', '*'],
  ['stable/InRelease', null],
  ['stable/Release.gpg', null],
  ['pool/main/p/Packages-tool_1_all.deb', null],
])('the architecture of the list %s is %s', (path, arch) => {
  expect(archOfList(path)).toBe(arch);
});

it('a list of all architectures is taken apart, whatever stands between its stanzas', () => {
  const stanza = (name: string, arch: string): string => `Package: ${name}\nArchitecture: ${arch}\n`;
  const list = `\n${stanza('a', 'arm64')}\n\n${stanza('b', 'amd64')}\n${stanza('c', 'all')}`;
  expect(partFor('arm64', Buffer.from(list)).toString()).toBe(
    `${stanza('a', 'arm64')}\n${stanza('c', 'all')}`,
  );
});
