import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { complete, ownWifiRefusal, slug, type Answers, type Facts } from './answers.js';
import { freeIdStart, hasIdRange, parseIdRanges, versionIn } from '../doctor/checks.js';
import { publicKeyIn } from './keys.js';
import { profileText } from './profile-text.js';
import { steps } from './steps.js';

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB7QJ4RLKw5PbTOaZTyjRhNlpw8i52loblv/zPEXeb9Z amina@laptop';
const facts: Facts = {
  timezone: 'UTC',
  keys: [],
  services: [
    { id: 'coturn', title: 'Calls', summary: '' },
    { id: 'prosody', title: 'Chat', summary: '' },
  ],
};
const offered = facts.services;
const read = (given: Partial<Answers>, madeKey?: string): unknown =>
  parse(profileText(complete(given, facts), offered, madeKey));

describe('profileText', () => {
  it('writes what was answered', () => {
    expect(
      read({
        title: 'Clinic: north "wing" #2',
        name: 'clinic',
        languages: ['no', 'fr'],
        people: 6,
        mode: 'access-point',
        ssid: 'yes',
        country: 'NO',
        backupAt: '03:00',
        services: ['prosody'],
        key: { kind: 'found', file: 'x.pub', line: KEY },
      }),
    ).toEqual({
      site: { name: 'clinic', title: 'Clinic: north "wing" #2', languages: ['no', 'fr'], timezone: 'UTC' },
      board: 'pi4',
      people: 6,
      network: { mode: 'access-point', address: '10.77.0.1/24', wifi: { ssid: 'yes', country: 'NO' } },
      admin: { keys: [KEY] },
      backup: { at: '03:00' },
      services: { coturn: false, prosody: true },
    });
  });

  it.each([
    '- dash',
    '* star',
    '123',
    'true',
    '~',
    "it's",
    'emoji 🙂',
    'قرية',
    '  padded',
    'a: b',
    '{x}',
    '%',
    '@',
    '0x1f',
  ])('keeps the title %j as it is', (title) => {
    const { site } = read({ title, name: 'x' }) as { site: { title: string } };
    expect(site.title).toBe(title);
  });

  it('names no key, or the one that was made', () => {
    expect(read({ title: 'X' })).toMatchObject({ admin: { keys: [] } });
    expect(read({ title: 'X', key: { kind: 'make' } }, KEY)).toMatchObject({ admin: { keys: [KEY] } });
  });

  it('writes a wired network with and without addresses, and no backup', () => {
    expect(read({ title: 'X', mode: 'lan', dhcp: true })).toMatchObject({
      network: { mode: 'lan', dhcp: true },
    });
    const existing = read({ title: 'X', mode: 'lan', dhcp: false, address: '192.168.1.9/24', backup: false });
    expect(existing).toMatchObject({ network: { address: '192.168.1.9/24', dhcp: false }, backup: false });
    expect(existing).not.toHaveProperty('network.wifi');
  });

  it('is commented, and gives the same bytes twice', () => {
    const text = profileText(complete({ title: 'X' }, facts), offered);
    expect(text.split('\n').filter((line) => line.trimStart().startsWith('#')).length).toBeGreaterThan(10);
    expect(text.endsWith('\n')).toBe(true);
    expect(profileText(complete({ title: 'X' }, facts), offered)).toBe(text);
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(120);
  });
});

describe('answers', () => {
  it.each([
    ['Dispensaire de Goma', 'dispensaire-de-goma'],
    ['Élan & Cie.', 'elan-cie'],
    ['3rd camp', 'site-3rd-camp'],
    ['Лікарня', ''],
    ['a'.repeat(50), 'a'.repeat(30)],
  ])('%s becomes %s', (title, name) => {
    expect(slug(title)).toBe(name);
  });

  it('propose what fits', () => {
    expect(complete({}, { ...facts, country: 'KE' }).mode).toBe('access-point');
    expect(complete({ people: 9 }, { ...facts, country: 'KE' }).mode).toBe('lan');
    expect(complete({}, facts).mode).toBe('lan');
    expect(complete({ board: 'zero2w' }, facts).mode).toBe('access-point');
    expect(complete({ people: 300 }, facts).address).toBe('10.77.0.1/22');
    expect(complete({ title: 'Moyo Clinic' }, facts).name).toBe('moyo-clinic');
    expect(complete({}, { ...facts, fileName: 'moyo_clinic' }).name).toBe('moyo-clinic');
  });

  it("say no to more people than a Pi's own Wi-Fi carries", () => {
    expect(ownWifiRefusal('pi4', 8)).toBeNull();
    expect(ownWifiRefusal('pi4', 9)).toMatch(/router or a switch/);
    expect(ownWifiRefusal('pc', 50)).toBeNull();
  });

  it('survive being asked and answered again unchanged', () => {
    const answers = complete(
      { title: 'X', country: 'KE', mode: 'access-point', key: { kind: 'make' }, backup: false },
      facts,
    );
    for (const step of steps) {
      const again = step.read(step.value(answers, facts), facts);
      expect(typeof again, step.id).toBe('object');
      expect({ ...answers, ...(again as object) }, step.id).toEqual(answers);
    }
  });
});

describe('public keys', () => {
  it.each([
    [KEY, KEY],
    [`# a comment\r\n\r\n${KEY}\r\n`, KEY],
    ['ssh-ed25519 AAAA x', null],
    // The key inside is of another type than the line says.
    [KEY.replace('ssh-ed25519', 'ssh-rsa'), null],
    ['-----BEGIN OPENSSH PRIVATE KEY-----', null],
    ['', null],
  ])('in %j', (text, expected) => {
    expect(publicKeyIn(text)).toBe(expected);
  });
});

describe('doctor reads', () => {
  it('id ranges (subuid(5)), passing over what is none', () => {
    const ranges = parseIdRanges('amina:100000:65536\n# x\n1001:165536:65536\nbad\nx:y:z\nsmall:300000:10\n');
    expect(ranges).toHaveLength(3);
    expect(hasIdRange(ranges, 'amina', 5)).toBe(true);
    expect(hasIdRange(ranges, 'bob', 1001)).toBe(true);
    expect(hasIdRange(ranges, 'small', 7)).toBe(false);
    expect(freeIdStart(ranges)).toBe(300_010);
    expect(freeIdStart([])).toBe(100_000);
  });

  it.each([
    ['apt 2.6.1 (amd64)', '2.6.1'],
    ['gpgv (GnuPG) 2.2.40\nlibgcrypt 1.10.1', '2.2.40'],
    ['no number', undefined],
  ])('the version in %j', (text, version) => {
    expect(versionIn(text)).toBe(version);
  });
});
