import type { Check } from '../check.js';
import { fail, pass, warn } from '../check.js';

/** Reads /proc/meminfo (proc_meminfo(5)); KiB by name. */
export function parseMeminfo(text: string): ReadonlyMap<string, number> {
  return new Map(
    [...text.matchAll(/^(\w+):\s+(\d+) kB$/gm)].map((match) => [match[1] ?? '', Number(match[2])]),
  );
}

export const check: Check = {
  kind: 'memory',
  vantage: 'inside',
  always: true,
  title: 'memory suffices',
  probe: () => 'part meminfo; cat /proc/meminfo\npart killed; dmesg | grep -c "Out of memory: Killed"',
  async run(context) {
    const facts = await context.facts();
    const values = parseMeminfo(facts.of('memory', 'meminfo'));
    const total = Math.round((values.get('MemTotal') ?? 0) / 1024);
    const available = Math.round((values.get('MemAvailable') ?? 0) / 1024);
    if (total === 0) return [fail('', this.title, 'the memory could not be read')];
    const figures = `${available} of ${total} MiB available, ${total - available} in use`;
    const killed = Number(facts.of('memory', 'killed').trim() || 0);
    if (killed > 0)
      return [
        fail(
          '',
          this.title,
          `the kit ran out of memory since it was switched on and ended a program; ${figures}`,
          {
            hint: 'use a board with more memory, or fewer services',
          },
        ),
      ];
    const { memory, site } = context.plan;
    const need = Math.max(0, memory.withPeopleMiB - memory.idleMiB);
    if (available < 24 || available / total < 0.05)
      return [
        fail('', this.title, `hardly any memory is left: ${figures}`, {
          hint: 'use a board with more memory, or fewer services',
        }),
      ];
    if (available < need)
      return [
        warn(
          '',
          this.title,
          `${figures}; ${site.people} people are expected to need ${Math.round(need)} MiB more`,
          {
            hint: 'expect fewer people at once, or use a board with more memory',
            because: ['people'],
          },
        ),
      ];
    return [pass('', this.title, figures)];
  },
};
