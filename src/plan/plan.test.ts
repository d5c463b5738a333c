import { describe, expect, it } from 'vitest';
import type { Declaration, FileWish, PortWish, Service, Site } from '../services/contract.js';
import { assemblePlan } from './assemble.js';
import { capacityFaults, diskBudget, memoryBudget } from './capacity.js';
import { fileConflicts, portConflicts } from './conflicts.js';
import type { Planned } from './types.js';

const port = (service: string, more: Partial<PortWish>): Planned<PortWish> => ({
  protocol: 'tcp',
  port: 5222,
  scope: 'kit',
  purpose: `${service}'s`,
  listening: true,
  process: service,
  service,
  because: ['services', service],
  ...more,
});

describe('portConflicts', () => {
  it.each([
    ['the same port', { port: 5222 }, 1],
    ['another port', { port: 5223 }, 0],
    ['the same number over UDP', { protocol: 'udp' as const }, 0],
    ['a range that holds it', { port: 5000, to: 6000 }, 1],
    ['a range beside it', { port: 5223, to: 6000 }, 0],
    ['the same port on loopback, which a wildcard takes too', { scope: 'loopback' as const }, 1],
  ])('%s', (_what, more, found) => {
    expect(portConflicts([port('chat', {}), port('calls', more)])).toHaveLength(found);
  });
  it('lets one service share a port with itself', () => {
    expect(portConflicts([port('chat', {}), port('chat', {})])).toEqual([]);
  });
  it('is told where a person can change it', () => {
    const [fault] = portConflicts([port('web', { because: ['site'] }), port('chat', {})]);
    expect(fault).toMatchObject({ code: 'plan/port-conflict', path: ['services', 'chat'] });
    expect(fault?.message).toContain('chat and web both want tcp port 5222');
  });
});

describe('fileConflicts', () => {
  const file = (service: string, more: Partial<FileWish>): Planned<FileWish> => ({
    path: '/etc/x',
    kind: 'copy',
    mode: '0644',
    owner: 'root',
    group: 'root',
    service,
    because: ['services', service],
    ...more,
  });
  it('finds two writers of one file', () => {
    expect(fileConflicts([file('a', {}), file('b', {})])).toHaveLength(1);
  });
  it('lets two services want the same folder, if they agree on it', () => {
    const folder = { kind: 'directory' as const, mode: '0755' };
    expect(fileConflicts([file('a', folder), file('b', folder)])).toEqual([]);
    expect(fileConflicts([file('a', folder), file('b', { ...folder, mode: '0700' })])).toHaveLength(1);
  });
});

describe('capacity', () => {
  const site = { board: 'pi3', memoryMiB: 1024, storageGB: 16, people: 100 } as Site;
  it('adds up what everybody needs', () => {
    expect(memoryBudget(site, [{ service: 'chat', idleMiB: 30, perPersonKiB: 512 }])).toMatchObject({
      idleMiB: 30,
      withPeopleMiB: 80,
      availableMiB: 912,
    });
    expect(diskBudget(site, [{ service: 'chat', fixedMB: 10, perPersonMB: 5 }])).toMatchObject({
      dataMB: 14_000,
      plannedMB: 510,
    });
  });
  it.each([
    [400, []],
    [800, ['plan/memory-tight']],
    [1000, ['plan/not-enough-memory']],
  ])('with %i MiB wanted says %j', (idleMiB, codes) => {
    const memory = memoryBudget(site, [{ service: 'heavy', idleMiB, perPersonKiB: 0 }]);
    const found = capacityFaults(site, memory, diskBudget(site, []));
    expect(found.map((one) => one.code)).toEqual(codes);
  });
  it('names the service that needs most', () => {
    const memory = memoryBudget(site, [
      { service: 'light', idleMiB: 300, perPersonKiB: 0 },
      { service: 'heavy', idleMiB: 10, perPersonKiB: 10_240 },
    ]);
    expect(capacityFaults(site, memory, diskBudget(site, []))[0]?.hint).toContain('heavy');
  });
});

describe('assemblePlan', () => {
  const service = (id: string, declaration: Declaration, more: Partial<Service> = {}): Service => ({
    id,
    title: id,
    summary: '',
    always: false,
    schema: {},
    settings: () => ({}),
    declare: () => ({ backup: { none: 'nothing' }, ...declaration }),
    ...more,
  });
  const site = {
    board: 'pc',
    arch: 'amd64',
    base: 'debian',
    memoryMiB: 2048,
    storageGB: 32,
    people: 8,
    services: { a: {}, b: {} },
  } as unknown as Site;

  it('asks enabled services only, and says who asked for what', () => {
    const { plan } = assemblePlan(site, [
      service('a', { packages: [{ name: 'one' }] }),
      service('b', { packages: [{ name: 'two', because: ['board'] }] }),
      service('off', { packages: [{ name: 'never' }] }),
      service('base', { packages: [{ name: 'three' }] }, { always: true }),
    ]);
    expect(plan.sets[0]?.packages.map((one) => [one.name, one.service, one.because])).toEqual([
      ['one', 'a', ['services', 'a']],
      ['two', 'b', ['board']],
      ['three', 'base', ['site']],
    ]);
  });
  it('lets services use one another by what they offer, never by name', () => {
    const seen: unknown[] = [];
    const turn = { host: 't', port: 1, tlsPort: 2, secret: { secret: 's' } };
    assemblePlan(site, [
      service(
        'a',
        {},
        {
          declare: ({ use }) => {
            seen.push(use('turn'), use('chat'));
            return {};
          },
        },
      ),
      service('b', {}, { provides: () => ({ turn }) }),
    ]);
    expect(seen).toEqual([turn, undefined]);
  });
  it('gives the second round the sum of the first', () => {
    const { plan } = assemblePlan(site, [
      service('a', { names: [{ label: 'chat' }] }),
      service(
        'b',
        {},
        {
          collect: (_context, gathered) => ({
            names: gathered.names.map(({ label }) => ({ label: `${label}2` })),
          }),
        },
      ),
    ]);
    expect(plan.names.map((one) => one.label)).toEqual(['chat', 'chat2']);
  });
  it('takes a suite that one package names as a source for that package only', () => {
    const { plan } = assemblePlan(site, [service('a', { packages: [{ name: 'x', suite: 'forky' }] })]);
    expect(plan.sources.map((one) => [one.suite, one.use])).toEqual([
      ['trixie', 'all'],
      ['trixie-updates', 'all'],
      ['trixie-security', 'all'],
      ['forky', 'only'],
    ]);
  });
  it("takes another publisher's archive as a source for the packages that name it, with its address", () => {
    const archive = {
      archive: 'meet',
      uri: 'https://meet.invalid',
      suite: 'forky/',
      components: [],
      fingerprints: ['A'.repeat(40)],
    };
    const { plan } = assemblePlan(site, [
      service('a', { packages: [{ name: 'x', archive: 'meet' }], archives: [archive] }),
    ]);
    expect(plan.sources.map((one) => one.archive)).toEqual(['debian', 'debian', 'debian-security', 'meet']);
    expect(plan.sources.at(-1)).toEqual({ ...archive, use: 'only', because: ['services', 'a'] });
  });
});
