import { fault, type Diagnostic } from '../diagnostics/diagnostic.js';
import type { FileWish, PortWish } from '../services/contract.js';
import type { Planned } from './types.js';

/** Two services on one port, whatever the scope: a wildcard listener takes loopback too. */
export function portConflicts(ports: readonly Planned<PortWish>[]): readonly Diagnostic[] {
  const found: Diagnostic[] = [];
  for (const [index, a] of ports.entries()) {
    for (const b of ports.slice(index + 1)) {
      if (a.protocol !== b.protocol || a.service === b.service) continue;
      const low = Math.max(a.port, b.port);
      if (low > Math.min(a.to ?? a.port, b.to ?? b.port)) continue;
      // Tell it at the place a person can change: a setting rather than a service that is part of every kit.
      const [at, other] = b.because.length >= a.because.length ? [b, a] : [a, b];
      found.push(
        fault(
          'plan/port-conflict',
          `${at.service} and ${other.service} both want ${at.protocol} port ${low} (${at.purpose}; ${other.purpose})`,
          at.because,
          `give ${at.service} another port`,
        ),
      );
    }
  }
  return found;
}

/** Two services that write one path. Folders may be declared twice when they agree. */
export function fileConflicts(files: readonly Planned<FileWish>[]): readonly Diagnostic[] {
  const found: Diagnostic[] = [];
  const seen = new Map<string, Planned<FileWish>>();
  for (const file of files) {
    const before = seen.get(file.path);
    seen.set(file.path, file);
    if (before === undefined) continue;
    const same =
      before.kind === 'directory' &&
      file.kind === 'directory' &&
      before.mode === file.mode &&
      before.owner === file.owner &&
      before.group === file.group;
    if (!same) {
      found.push(
        fault(
          'plan/file-conflict',
          `${before.service} and ${file.service} both write ${file.path}`,
          file.because,
        ),
      );
    }
  }
  return found;
}
