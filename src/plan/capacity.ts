import { fault, warning, type Diagnostic } from '../diagnostics/diagnostic.js';
import type { Site } from '../services/contract.js';
import type { Budget, DiskBudget } from './types.js';

/** Memory the firmware and the kernel keep for themselves, by board, MiB. */
const RESERVED: Readonly<Record<Site['board'], number>> = {
  zero2w: 96,
  pi3: 112,
  pi4: 128,
  pi5: 160,
  pc: 128,
};
/** Boot and root partition and head room, MB (10^6). */
const SYSTEM_DISK_MB = 2000;

/** Memory the services take, idle and with everyone connected, against what the board leaves. */
export function memoryBudget(site: Site, parts: Budget['parts']): Budget {
  const idle = parts.reduce((sum, part) => sum + part.idleMiB, 0);
  const people = parts.reduce((sum, part) => sum + part.perPersonKiB, 0) * site.people;
  return {
    idleMiB: Math.ceil(idle),
    withPeopleMiB: Math.ceil(idle + people / 1024),
    availableMiB: site.memoryMiB - RESERVED[site.board],
    parts,
  };
}

/** Space on the data partition once it has grown to the card. */
export function diskBudget(site: Site, parts: DiskBudget['parts']): DiskBudget {
  const planned = parts.reduce((sum, part) => sum + part.fixedMB + part.perPersonMB * site.people, 0);
  return { dataMB: site.storageGB * 1000 - SYSTEM_DISK_MB, plannedMB: Math.ceil(planned), parts };
}

/** What does not fit the board or the card. */
export function capacityFaults(site: Site, memory: Budget, disk: DiskBudget): readonly Diagnostic[] {
  const found: Diagnostic[] = [];
  if (memory.withPeopleMiB > memory.availableMiB) {
    const heaviest = [...memory.parts].sort(
      (a, b) =>
        b.idleMiB +
        (b.perPersonKiB * site.people) / 1024 -
        (a.idleMiB + (a.perPersonKiB * site.people) / 1024),
    )[0];
    found.push(
      fault(
        'plan/not-enough-memory',
        `${site.people} people need about ${memory.withPeopleMiB} MiB of memory, and this board leaves ${memory.availableMiB} MiB`,
        ['board'],
        `take a board with more memory, plan fewer people${heaviest ? `, or leave out ${heaviest.service}, which needs most` : ''}`,
      ),
    );
  } else if (memory.withPeopleMiB > memory.availableMiB * 0.85) {
    found.push(
      warning(
        'plan/memory-tight',
        `memory will be tight: about ${memory.withPeopleMiB} of ${memory.availableMiB} MiB with everyone connected`,
        ['board'],
      ),
    );
  }
  if (disk.plannedMB > disk.dataMB) {
    found.push(
      fault(
        'plan/not-enough-storage',
        `the services may fill ${Math.ceil(disk.plannedMB / 1000)} GB, and the card leaves ${Math.max(0, Math.floor(disk.dataMB / 1000))} GB for data`,
        ['storage'],
        'take a bigger card, or lower the limits of the services',
      ),
    );
  }
  return found;
}
