import { describe, expect, it } from 'vitest';
import { defaultRange, ipv4, isPrivate, networkOf, parseCidr, parseIpv4, roomIn } from './ipv4.js';
import { memoryWords, parseHours, parseMemory, parseStorage } from './units.js';
import { cover } from './cover.js';
import { COUNTRIES } from './data/countries.js';
import { TIME_ZONES } from './data/timezones.js';

describe('IPv4', () => {
  it.each([
    ['10.77.0.1', 0x0a4d0001],
    ['255.255.255.255', 0xffffffff],
    ['0.0.0.0', 0],
  ])('%s is read and written', (text, value) => {
    expect(parseIpv4(text)).toBe(value);
    expect(ipv4(value)).toBe(text);
  });

  it.each(['10.77.0', '10.77.0.256', '010.77.0.1', '10.77.0.1 ', '1e1.0.0.1', '10.77.0.1/24', '', '::1'])(
    '%j is no address',
    (text) => {
      expect(parseIpv4(text)).toBeNull();
    },
  );

  it('knows the network of an address', () => {
    const network = parseCidr('192.168.9.130/25');
    expect(network).toEqual({
      address: parseIpv4('192.168.9.130'),
      prefix: 25,
      network: parseIpv4('192.168.9.128'),
      broadcast: parseIpv4('192.168.9.255'),
    });
    expect(roomIn(networkOf(0x0a4d0001, 24))).toBe(253);
    expect(roomIn(networkOf(0x0a4d0001, 30))).toBe(1);
    expect([parseCidr('10.0.0.1'), parseCidr('10.0.0.1/33'), parseCidr('10.0.0.1/')]).toEqual([
      null,
      null,
      null,
    ]);
  });

  it.each([
    ['10.0.0.1/8', true],
    ['10.0.0.1/7', false],
    ['172.16.0.1/12', true],
    ['172.32.0.1/24', false],
    ['172.16.0.1/11', false],
    ['192.168.1.1/16', true],
    ['192.168.1.1/15', false],
    ['169.254.1.1/16', false],
    ['100.64.0.1/24', false],
  ])('%s is private: %s', (text, expected) => {
    expect(isPrivate(parseCidr(text) ?? networkOf(0, 32))).toBe(expected);
  });

  it('hands out a range inside the network and without the kit, whatever its size and address', () => {
    for (let prefix = 8; prefix <= 30; prefix += 1) {
      const { network, broadcast } = networkOf(0x0a4d0000, prefix);
      for (const address of [
        network + 1,
        network + 2,
        Math.floor((network + broadcast) / 2),
        broadcast - 1,
      ]) {
        const { from, to } = defaultRange(networkOf(address, prefix));
        expect(from).toBeGreaterThan(network);
        expect(to).toBeLessThan(broadcast);
        expect(from).toBeLessThanOrEqual(to);
        expect(address < from || address > to).toBe(true);
      }
    }
  });
});

describe('units', () => {
  it.each([
    ['512 MiB', 512],
    ['1 GiB', 1024],
    ['1GB', 1024],
    ['0.5 G', 512],
    ['2 TB', null],
    ['2', null],
    ['0 GiB', null],
    ['-1 GiB', null],
    ['0.3 MiB', null],
  ])('memory %s', (text, expected) => {
    expect(parseMemory(text)).toBe(expected);
  });
  it.each([
    ['16 GB', 16],
    ['1 TB', 1000],
    ['32GiB', 34],
    ['16 gb', 16],
    ['500 MB', null],
    ['0 GB', null],
    ['1000 TB', null],
  ])('storage %s', (text, expected) => {
    expect(parseStorage(text)).toBe(expected);
  });
  it.each([
    ['12 hours', 12],
    ['1 hour', 1],
    ['12h', 12],
    ['2 days', 48],
    ['forever', null],
    ['12', null],
    ['90 minutes', null],
  ])('lease %s', (text, expected) => {
    expect(parseHours(text)).toBe(expected);
  });
  it('memory in words', () => {
    expect([memoryWords(512), memoryWords(1024), memoryWords(16384)]).toEqual(['512 MiB', '1 GiB', '16 GiB']);
  });
});

describe('data', () => {
  it('holds the countries of ISO 3166', () => {
    expect(COUNTRIES).toHaveLength(249);
    expect(COUNTRIES.every((code) => /^[A-Z]{2}$/.test(code))).toBe(true);
  });
  it('holds zones that every program here knows, in the names of today', () => {
    expect(TIME_ZONES).toContain('UTC');
    expect(TIME_ZONES).toContain('Asia/Kolkata');
    expect(TIME_ZONES).not.toContain('Asia/Calcutta');
    for (const zone of TIME_ZONES) {
      expect(() => new Intl.DateTimeFormat('en', { timeZone: zone })).not.toThrow();
    }
  });
});

describe('cover', () => {
  it.each([
    ['    passphrase: geheim', '    passphrase: ••••••••'],
    ['    passphrase:geheim', '    passphrase:••••••••'],
    ['    pasphrase: geheim', '    pasphrase: ••••••••'],
    ['    "passphrase": "geheim wort"', '    "passphrase": ••••••••'],
    ['wifi: {country: KE, passphrase: geheim, ssid: x}', 'wifi: {country: KE, passphrase: ••••••••'],
    ['wifi_password = geheim', 'wifi_password = ••••••••'],
    ['  passphrase: |\n    geheim\n  ssid: x', '  passphrase: ••••••••\n    ••••••••\n  ssid: x'],
    ['  passphrase:\n    geheim\n  ssid: x', '  passphrase:\n    ••••••••\n  ssid: x'],
    ['mirror: https://anna:geheim@mirror.example/', 'mirror: https://••••••••@mirror.example/'],
    [
      'keys:\n  - |\n    -----BEGIN OPENSSH PRIVATE KEY-----\n    geheim\n    -----END OPENSSH PRIVATE KEY-----\n  - x',
      'keys:\n  - |\n    ••••••••\n    ••••••••\n    ••••••••\n  - x',
    ],
  ])('%j', (text, expected) => {
    expect(cover(text)).toBe(expected);
  });

  it.each([
    'site:\n  title: Passau clinic\n',
    '    # No passphrase here: a good one is made.\n',
    'people: 8\n',
    'a: b@c\n',
  ])('leaves %j alone', (text) => {
    expect(cover(text)).toBe(text);
  });
});
