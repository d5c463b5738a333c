import { describe, expect, it } from 'vitest';
import { parseDeb822Sources, parseOneLineSources, pickArchive } from './entries.js';

const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

describe('one-line sources', () => {
  it('reads options, several components and comments, and leaves out what is no deb source', () => {
    const text = [
      '# deb http://old.example/debian trixie main',
      'deb-src http://mirror.example/debian trixie main',
      'deb cdrom:[Debian GNU/Linux 13 _Trixie_]/ trixie main',
      `deb [ arch=amd64,arm64 signed-by=${KEYRING} ] http://mirror.example/debian trixie main non-free-firmware # here`,
      'deb http://mirror.example/debian-security trixie-security main',
    ].join('\n');
    expect(parseOneLineSources(text)).toEqual([
      {
        uri: 'http://mirror.example/debian',
        suites: ['trixie'],
        components: ['main', 'non-free-firmware'],
        signedBy: KEYRING,
      },
      {
        uri: 'http://mirror.example/debian-security',
        suites: ['trixie-security'],
        components: ['main'],
        signedBy: '',
      },
    ]);
  });
});

describe('deb822 sources', () => {
  it('reads folded fields and several URIs, and leaves out disabled and source-only stanzas', () => {
    const text = [
      'Types: deb deb-src',
      '# a comment inside',
      'URIs: http://a.example/debian',
      ' http://b.example/debian',
      'Suites: trixie',
      ' trixie-updates',
      'Components: main',
      `Signed-By: ${KEYRING}`,
      '',
      'Enabled: no',
      'Types: deb',
      'URIs: http://c.example/debian',
      'Suites: trixie',
      'Components: main',
      '',
      'Types: deb-src',
      'URIs: http://d.example/debian',
      'Suites: trixie',
      'Components: main',
    ].join('\n');
    const entries = parseDeb822Sources(text);
    expect(entries.map((entry) => entry.uri)).toEqual(['http://a.example/debian', 'http://b.example/debian']);
    expect(entries[0]).toMatchObject({ suites: ['trixie', 'trixie-updates'], signedBy: KEYRING });
  });
});

describe('the Debian archive among a host’s sources', () => {
  const others = [
    'deb [signed-by=/etc/apt/keyrings/docker.asc] https://docker.example/linux/debian bookworm stable',
    'deb [signed-by=/usr/share/keyrings/chrome.gpg] https://chrome.example/linux/deb stable main',
    'deb http://opera.example/opera-stable stable main',
    'deb http://raspberry.example/debian/ bookworm main',
    'deb [signed-by=/usr/share/keyrings/pgdg.gpg] http://pg.example/pub/debian trixie main',
  ];

  it.each([
    [
      'one line, no keyring',
      [
        'deb http://m.example/debian/ bookworm main contrib',
        'deb http://m.example/debian-security bookworm-security main',
      ],
    ],
    [
      'with its keyring, at an odd path',
      [
        `deb [signed-by=${KEYRING}] http://m.example/debian trixie main`,
        `deb [signed-by=${KEYRING}] http://m.example/debian-security trixie-security main`,
      ],
    ],
  ])('is found: %s', (_title, lines) => {
    const entries = parseOneLineSources([...others, ...lines].join('\n'));
    expect(pickArchive(entries, 'debian')).toBe('http://m.example/debian');
    expect(pickArchive(entries, 'debian-security')).toBe('http://m.example/debian-security');
  });

  it('is found at any path when Debian’s keyring is named', () => {
    const entries = parseOneLineSources(
      `deb [signed-by=${KEYRING}] http://m.example/pub/linux/deb13 trixie main`,
    );
    expect(pickArchive(entries, 'debian')).toBe('http://m.example/pub/linux/deb13');
    expect(pickArchive(entries, 'debian-security')).toBeNull();
  });

  it('is not found among other vendors', () => {
    const entries = parseOneLineSources(
      [
        ...others.filter((line) => !line.includes('raspberry')),
        'deb http://ubuntu.example/ubuntu noble main',
      ].join('\n'),
    );
    expect(pickArchive(entries, 'debian')).toBeNull();
    expect(pickArchive(entries, 'debian-security')).toBeNull();
  });

  it('is told from the Raspberry Pi archive, which is found by its keyring', () => {
    const entries = parseOneLineSources(
      'deb [signed-by=/usr/share/keyrings/raspberrypi-archive-keyring.pgp] http://r.example/debian trixie main',
    );
    expect(pickArchive(entries, 'debian')).toBeNull();
    expect(pickArchive(entries, 'raspberrypi')).toBe('http://r.example/debian');
  });
});
