import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { HostEvent } from '../../host/events.js';
import { createHost } from '../../host/host.js';
import { packageRoot } from '../../host/paths.js';
import { folderOf, keyringsOf, locateArchives, sibling } from './apt.js';
import { settingsFor, type NetworkSettings } from './proxy.js';

describe('archives beside the main one', () => {
  it.each([
    ['http://m.example/debian', 'debian', 'http://m.example/debian'],
    ['http://m.example/debian/', 'debian-security', 'http://m.example/debian-security'],
    ['http://m.example/debian', 'raspberrypi', 'http://m.example/raspberrypi'],
    ['http://m.example/pub/trixie-copy', 'debian-security', 'http://m.example/pub/trixie-copy-security'],
    ['http://m.example/pub/trixie-copy', 'raspberrypi', 'http://m.example/pub/raspberrypi'],
  ])('%s, %s', (mirror, archive, expected) => {
    expect(sibling(mirror, archive)).toBe(expected);
  });
});

it.each([
  ['file:/media/stick', '/media/stick'],
  ['file:///media/my%20stick/', '/media/my stick'],
])('the folder of %s', (uri, folder) => {
  expect(folderOf(uri)).toBe(folder);
});

describe('old indexes', () => {
  const network = (ignoresAge: boolean): NetworkSettings => ({
    caFile: null,
    ignoresAge,
    proxyFor: () => Promise.resolve(null),
  });

  it.each([
    ['auto', true, true],
    ['auto', false, false],
    ['http://m.example/debian', true, false],
    ['file:/media/stick', true, false],
  ])(
    'mirror %s on a host that minds no age (%s) are accepted: %s, and it is told',
    (mirror, ignoresAge, accepted) => {
      const events: HostEvent[] = [];
      const settings = settingsFor(
        createHost((event) => events.push(event)),
        network(ignoresAge),
        mirror,
      );
      expect(settings.ignoresAge).toBe(accepted);
      expect(events.map((event) => event.type === 'log' && event.level)).toEqual(accepted ? ['warn'] : []);
    },
  );
});

it.each([
  ['', 'this computer has no apt sources, so none names the Debian archive'],
  ['deb http://m.example/ubuntu noble main\n', "this computer's apt sources do not name the Debian archive"],
])('a machine without a Debian mirror is told to name one: %j', async (text, message) => {
  const etcApt = mkdtempSync(join(tmpdir(), 'etc-apt-'));
  writeFileSync(join(etcApt, 'sources.list'), text);
  const sources = [
    { archive: 'debian', suite: 'trixie', components: ['main'], fingerprints: [], use: 'all' as const },
  ];
  await expect(locateArchives(sources, { mirror: 'auto', etcApt })).rejects.toMatchObject({
    message,
    hint: expect.stringContaining('as "mirror:" in the profile') as string,
    because: ['mirror'],
  });
  rmSync(etcApt, { recursive: true });
});

it('our own keys are used, whatever keyrings the computer has', async () => {
  const keyrings = await keyringsOf([{ archive: 'debian' }, { archive: 'debian-security' }]);
  const folder = join(packageRoot(), 'keys/debian');
  expect(keyrings).toEqual({ debian: folder, 'debian-security': folder });
});
