import type { ProfilePath } from '../../diagnostics/diagnostic.js';
import { counted } from '../../diagnostics/text.js';
import type { Plan } from '../../plan/types.js';
import { table } from './table.js';
import type { Theme } from './theme.js';

/** The line of the profile that asked for something, e.g. `line 12`, or what stands for it when no line did. */
export type Origin = (because: ProfilePath) => string;

interface Asked {
  readonly because: ProfilePath;
  readonly service: string;
}

const BOARDS: Readonly<Record<Plan['site']['board'], string>> = {
  zero2w: 'Raspberry Pi Zero 2 W',
  pi3: 'Raspberry Pi 3',
  pi4: 'Raspberry Pi 4',
  pi5: 'Raspberry Pi 5',
  pc: 'PC',
};

const SCOPES: Readonly<Record<Plan['ports'][number]['scope'], string>> = {
  kit: "open to the kit's network",
  loopback: 'only on the kit itself',
  sisters: 'open to sister sites only',
};

/** A plan as a person reads it. Pure. */
export function planText(plan: Plan, origin: Origin, theme: Theme): string {
  const from = (entry: Asked): string => theme.dim(`${entry.service}, ${origin(entry.because)}`);
  const sections: string[] = [];
  const section = (title: string, body: string): void => {
    if (body !== '') sections.push(`${theme.bold(title)}\n${body}`);
  };
  sections.push(heading(plan, theme));
  section('Memory', memoryText(plan));
  section('Disk (data partition)', diskText(plan));
  for (const set of plan.sets) {
    const title =
      set.id === 'system'
        ? 'Packages'
        : set.id === 'boot'
          ? 'Packages for booting only'
          : `Packages (${set.id})`;
    section(
      `${title} for ${set.arch}: ${counted(set.packages.length, 'wish', 'wishes')}, and what they need`,
      table(
        set.packages.map((entry) => [
          (entry.archive ?? entry.suite) === undefined
            ? entry.name
            : `${entry.name} (from ${entry.archive ?? entry.suite})`,
          from(entry),
        ]),
        2,
      ),
    );
  }
  section(
    'Package sources',
    table(
      plan.sources.map((source) => [
        `${source.archive} ${source.suite}`,
        [
          ...source.components,
          ...(source.use === 'only' ? ['(only the packages named above)'] : []),
          ...(source.uri === undefined ? [] : [`from ${source.uri}`]),
        ].join(' '),
      ]),
      2,
    ),
  );
  section(
    `Units: ${plan.units.length}`,
    table(
      plan.units.map((unit) => [unit.name, unit.enabled ? 'at boot' : 'on demand', from(unit)]),
      2,
    ),
  );
  section(
    `Ports: ${plan.ports.length}`,
    table(
      plan.ports.map((port) => [
        `${port.port}${port.to === undefined || port.to === port.port ? '' : `-${port.to}`}/${port.protocol}`,
        SCOPES[port.scope],
        port.purpose,
        from(port),
      ]),
      2,
    ),
  );
  const full = (label: string): string => (label === '' ? plan.site.domain : `${label}.${plan.site.domain}`);
  section(
    `Names: ${plan.names.length + plan.srv.length}`,
    table(
      [
        ...plan.names.map((name) => [full(name.label), `A ${plan.site.network.address}`, from(name)]),
        ...plan.srv.map((record) => [
          `_${record.symbol}._${record.protocol}.${full(record.label)}`,
          `SRV ${full(record.targetLabel)} port ${record.port}`,
          from(record),
        ]),
      ],
      2,
    ),
  );
  section(
    `Certificates: ${plan.certificates.length}`,
    table(
      plan.certificates.map((wish) => [
        `${wish.directory}/${wish.id}.crt`,
        [...wish.labels.map(full), ...(wish.address ? [plan.site.network.address] : [])].join(', '),
        from(wish),
      ]),
      2,
    ),
  );
  section(
    `Files: ${plan.files.length}`,
    table(
      plan.files.map((file) => [
        file.path,
        `${file.mode} ${file.owner}:${file.group}${file.sensitive ? ' secret' : ''}`,
        from(file),
      ]),
      2,
    ),
  );
  section(
    `Secrets: ${plan.secrets.length} (made at the first build, kept beside the profile)`,
    table(
      plan.secrets.map((secret) => [secret.id, secret.kind, from(secret)]),
      2,
    ),
  );
  section('Backups', backupText(plan, from));
  section(
    `Checks of "verify": ${plan.checks.length}, besides those that follow from the above`,
    table(
      plan.checks.map((check) => [check.title, from(check)]),
      2,
    ),
  );
  return sections.join('\n\n');
}

function heading({ site }: Plan, theme: Theme): string {
  const { network } = site;
  const reach =
    network.wifi === null
      ? 'joins a wired network'
      : `makes the Wi-Fi "${network.wifi.ssid}" (${network.wifi.country})`;
  return [
    theme.bold(`${site.title}  ${site.domain}`),
    table(
      [
        ['board', `${BOARDS[site.board]} (${site.arch}, ${site.memoryMiB} MiB), base ${site.base}`],
        ['network', `${network.address}/${network.prefix}, ${reach}`],
        [
          'addresses',
          network.dhcp.enabled
            ? `the kit gives out ${network.dhcp.from} to ${network.dhcp.to}`
            : 'given out by something else on that network',
        ],
        ['people', String(site.people)],
        ['languages', site.languages.join(', ')],
        [
          'admin',
          `${counted(site.admin.keys.length, 'SSH key')} of the profile, and the site's operator key`,
        ],
      ],
      2,
    ),
  ].join('\n');
}

function memoryText({ memory, site }: Plan): string {
  const share = (idle: number, person: number): string[] => [
    `${idle} MiB`,
    person === 0
      ? ''
      : `+ ${Math.ceil((person * site.people) / 1024)} MiB with ${counted(site.people, 'person', 'people')}`,
  ];
  return table(
    [
      ...memory.parts.map((part) => [part.service, ...share(part.idleMiB, part.perPersonKiB)]),
      [
        'together',
        `${memory.idleMiB} MiB`,
        `${memory.withPeopleMiB} of ${memory.availableMiB} MiB with everyone connected (with the system's own)`,
      ],
    ],
    2,
  );
}

function diskText({ disk, site }: Plan): string {
  return table(
    [
      ...disk.parts.map((part) => [
        part.service,
        `${Math.ceil(part.fixedMB + part.perPersonMB * site.people)} MB`,
      ]),
      ['together', `${disk.plannedMB} of ${disk.dataMB} MB`],
    ],
    2,
  );
}

function backupText(plan: Plan, from: (entry: Asked) => string): string {
  const { backup } = plan.site;
  if (!backup.enabled) return '  switched off';
  return [
    `  daily at ${backup.at}; kept: ${backup.keep.daily} daily, ${backup.keep.weekly} weekly, ${backup.keep.monthly} monthly`,
    table(
      [
        ...plan.backups.flatMap((wish) => [
          ...wish.sqlite.map((path) => [`${path} (database)`, from(wish)]),
          ...wish.paths.map((path) => [path, from(wish)]),
        ]),
        ...plan.noBackup.map((entry) => [`${entry.service}: none`, entry.reason]),
      ],
      2,
    ),
  ].join('\n');
}
