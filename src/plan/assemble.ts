import { fault, type Diagnostic, type ProfilePath } from '../diagnostics/diagnostic.js';
import type {
  BackupWish,
  Capabilities,
  CapabilityName,
  Declaration,
  Gathered,
  Service,
  ServiceContext,
  Site,
} from '../services/contract.js';
import { capacityFaults, diskBudget, memoryBudget } from './capacity.js';
import { fileConflicts, portConflicts } from './conflicts.js';
import { bootSet, planSources } from './sources.js';
import type { PackageSet, Plan, Planned } from './types.js';

export interface Assembled {
  readonly plan: Plan;
  readonly diagnostics: readonly Diagnostic[];
}

interface Spoken {
  readonly service: Service;
  readonly declaration: Declaration;
}

/** Services of this site, in a stable order. */
export function enabledServices(site: Site, services: readonly Service[]): readonly Service[] {
  return services
    .filter((service) => service.always || service.id in site.services)
    .toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

/**
 * What the image of a site shall be: asks every enabled service, twice (what it needs; what follows from the sum).
 * Pure: the same site always gives the same plan.
 */
export function assemblePlan(site: Site, services: readonly Service[]): Assembled {
  const enabled = enabledServices(site, services);
  const settingsOf = (service: Service): unknown => site.services[service.id] ?? service.settings(site, {});
  const capabilities: Partial<Capabilities> = {};
  for (const service of enabled) Object.assign(capabilities, service.provides?.(site, settingsOf(service)));
  const contextOf = (service: Service): ServiceContext<unknown> => ({
    site,
    settings: settingsOf(service),
    use: <K extends CapabilityName>(name: K) => capabilities[name],
  });

  const first: Spoken[] = enabled.map((service) => ({
    service,
    declaration: service.declare(contextOf(service)),
  }));
  const gathered: Gathered = {
    packages: pick(first, 'packages'),
    files: pick(first, 'files'),
    units: pick(first, 'units'),
    ports: pick(first, 'ports'),
    names: pick(first, 'names'),
    srv: pick(first, 'srv'),
    web: pick(first, 'web'),
    join: pick(first, 'join'),
    certificates: pick(first, 'certificates'),
    backups: first.flatMap(({ declaration }) => (isBackup(declaration.backup) ? [declaration.backup] : [])),
  };
  const spoken: Spoken[] = [
    ...first,
    ...enabled.flatMap((service) => {
      const declaration = service.collect?.(contextOf(service), gathered);
      return declaration === undefined ? [] : [{ service, declaration }];
    }),
  ];

  const wheels = unique(pick(spoken, 'wheels'), (wish) => wish.id);
  const packages = unique(
    [
      ...pick(spoken, 'packages'),
      // What a virtual environment stands on.
      ...wheels.map(({ service, because }) => ({ name: 'python3', service, because })),
    ],
    (wish) => wish.name,
  );
  const archives = unique(pick(spoken, 'archives'), (wish) => wish.archive);
  const files = pick(spoken, 'files');
  const ports = pick(spoken, 'ports');
  const memory = memoryBudget(
    site,
    spoken.flatMap(({ service, declaration }) =>
      declaration.memory === undefined ? [] : [{ service: service.id, ...declaration.memory }],
    ),
  );
  const disk = diskBudget(
    site,
    spoken.flatMap(({ service, declaration }) =>
      declaration.disk === undefined ? [] : [{ service: service.id, ...declaration.disk }],
    ),
  );
  const system: PackageSet = { id: 'system', arch: site.arch, packages };
  const plan: Plan = {
    format: 1,
    site,
    sources: planSources(site, packages, archives),
    sets: [system, bootSet(site)],
    wheels,
    tarballs: unique(pick(spoken, 'tarballs'), (wish) => wish.name),
    archives,
    files: unique(files, (file) => file.path).toSorted((a, b) => (a.path < b.path ? -1 : 1)),
    users: unique(pick(spoken, 'users'), (user) => user.name),
    units: unique(pick(spoken, 'units'), (unit) => unit.name).toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    ports: ports.toSorted((a, b) => a.port - b.port || (a.protocol < b.protocol ? -1 : 1)),
    names: unique(pick(spoken, 'names'), (name) => name.label),
    srv: pick(spoken, 'srv'),
    certificates: unique(pick(spoken, 'certificates'), (wish) => wish.id),
    secrets: unique(pick(spoken, 'secrets'), (wish) => wish.id),
    join: pick(spoken, 'join'),
    backups: spoken.flatMap(({ service, declaration }) =>
      isBackup(declaration.backup) ? [withOrigin(service, declaration.backup)] : [],
    ),
    noBackup: spoken.flatMap(({ service, declaration }) =>
      declaration.backup !== undefined && 'none' in declaration.backup
        ? [{ service: service.id, reason: declaration.backup.none }]
        : [],
    ),
    checks: pick(spoken, 'checks'),
    memory,
    disk,
  };
  return {
    plan,
    diagnostics: [
      ...enabled.flatMap((service) =>
        (service.needs?.(site, settingsOf(service)) ?? [])
          .filter((name) => capabilities[name] === undefined)
          .map((name) => missingCapability(site, service, name, services)),
      ),
      ...spoken.flatMap(({ declaration }) => declaration.notes ?? []),
      ...portConflicts(plan.ports),
      ...fileConflicts(files),
      ...capacityFaults(site, memory, disk),
    ],
  };
}

/** Capabilities in words. */
const CAPABILITY: Readonly<Record<CapabilityName, string>> = {
  turn: 'a relay for calls',
  web: 'a web server',
  matrix: 'a Matrix server',
  register: 'a page for invitations to Matrix',
  chat: 'a chat service people can be invited to',
};

function missingCapability(
  site: Site,
  service: Service,
  name: CapabilityName,
  services: readonly Service[],
): Diagnostic {
  const offering = services.filter((one) => one.provides?.(site, one.settings(site, {}))[name] !== undefined);
  return {
    ...fault(
      'plan/missing-service',
      `"${service.id}" needs ${CAPABILITY[name]}, and this site has none`,
      ['services', service.id],
      offering.length === 0
        ? `take "${service.id}" out`
        : `add "${offering.map(({ id }) => id).join('" or "')}" below "services:", or take "${service.id}" out`,
    ),
    at: 'key',
  };
}

type ListKey = {
  [K in keyof Declaration]-?: NonNullable<Declaration[K]> extends readonly unknown[] ? K : never;
}[keyof Declaration];
type Item<K extends ListKey> = NonNullable<Declaration[K]> extends readonly (infer T)[] ? T : never;

function pick<K extends ListKey>(spoken: readonly Spoken[], key: K): Planned<Item<K>>[] {
  return spoken.flatMap(({ service, declaration }) =>
    ((declaration[key] ?? []) as readonly { because?: ProfilePath }[]).map(
      (item) => withOrigin(service, item) as Planned<Item<K>>,
    ),
  );
}

function withOrigin<T extends { because?: ProfilePath }>(service: Service, item: T): Planned<T> {
  return {
    ...item,
    service: service.id,
    because: item.because ?? (service.always ? ['site'] : ['services', service.id]),
  } as Planned<T>;
}

function isBackup(wish: Declaration['backup']): wish is BackupWish {
  return wish !== undefined && 'paths' in wish;
}

function unique<T>(items: readonly T[], key: (item: T) => string): T[] {
  const seen = new Map<string, T>();
  for (const item of items) if (!seen.has(key(item))) seen.set(key(item), item);
  return [...seen.values()];
}
