import type { Check } from '../check.js';
import { fail, pass, warn } from '../check.js';

const LIMIT_S = 60;
const WARN_S = 10;

/**
 * Seconds the kit's clock is ahead of this computer's (negative: behind), as far as it can be told from one reading
 * taken between two looks at our own clock; 0 when the reading lies between them.
 */
export function offset(kitMs: number, fromMs: number, toMs: number): number {
  if (kitMs < fromMs) return -Math.round((fromMs - kitMs) / 1000);
  if (kitMs > toMs) return Math.round((kitMs - toMs) / 1000);
  return 0;
}

/** A span as people say it. */
export function span(seconds: number): string {
  const all = Math.abs(seconds);
  const units = [
    [86_400 * 365, 'years'],
    [86_400, 'days'],
    [3600, 'hours'],
    [60, 'minutes'],
  ] as const;
  for (const [unit, name] of units) if (all >= 2 * unit) return `${Math.floor(all / unit)} ${name}`;
  return `${all} seconds`;
}

export const check: Check = {
  kind: 'clock',
  vantage: 'inside',
  always: true,
  title: "the kit's clock is right",
  probe: () => 'part now; date +%s.%N',
  async run(context) {
    const facts = await context.facts();
    const text = facts.of('clock', 'now').trim();
    const kit = Number(text) * 1000;
    if (text === '' || !Number.isFinite(kit))
      return [fail('', this.title, "the kit's clock could not be read")];
    const ahead = offset(kit, facts.from, facts.to);
    const found = `the kit's clock is ${span(ahead)} ${ahead > 0 ? 'ahead of' : 'behind'} this computer's (it says ${new Date(kit).toISOString().slice(0, 19).replace('T', ' ')} UTC)`;
    const hint =
      "if this computer's clock is right, set the kit's: run verify again with --set-time. Boards without a clock battery lose the time whenever they are switched off";
    if (Math.abs(ahead) > LIMIT_S) return [fail('', this.title, found, { hint })];
    if (Math.abs(ahead) > WARN_S) return [warn('', this.title, found, { hint })];
    return [pass('', this.title, "it agrees with this computer's")];
  },
};
