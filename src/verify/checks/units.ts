import type { Check, Finding } from '../check.js';
import { count, fail, list, pass } from '../check.js';
import { AS_ROOT, lines, quote } from '../facts.js';

export interface UnitState {
  /** All its names, aliases too. */
  readonly names: readonly string[];
  readonly load: string;
  readonly active: string;
  readonly sub: string;
  readonly result: string;
}

/** Reads `systemctl show -p …`: blocks of `Key=value`, one blank line between units. */
export function parseUnits(text: string): readonly UnitState[] {
  return text
    .trim()
    .split(/\n\n+/)
    .filter((block) => block.includes('Id='))
    .map((block) => {
      const values = new Map(
        lines(block).map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
      );
      const value = (key: string): string => values.get(key) ?? '';
      return {
        names: [value('Id'), ...value('Names').split(' ')],
        load: value('LoadState'),
        active: value('ActiveState'),
        sub: value('SubState'),
        result: value('Result'),
      };
    });
}

/** Why a unit failed (systemd.service(5), `Result=`), in words. */
const RESULTS: Readonly<Record<string, string>> = {
  'exit-code': 'its program ended with an error',
  signal: 'its program was ended by a signal',
  'core-dump': 'its program crashed',
  watchdog: 'its program stopped answering',
  timeout: 'it did not start in time',
  'start-limit-hit': 'it failed too often in a row',
  'oom-kill': 'the kit ran out of memory',
  resources: 'the kit could not give it what it needs',
  protocol: 'its program did not report that it is ready',
  condition: 'a condition for it does not hold',
};

export const check: Check = {
  kind: 'units',
  vantage: 'inside',
  always: true,
  title: 'services run as planned',
  probe: (plan) => `
part planned
systemctl show --no-pager -p Id,Names,LoadState,ActiveState,SubState,Result -- ${plan.units.map(({ name }) => quote(name)).join(' ')}
part failed
systemctl list-units --failed --no-legend --plain --no-pager`,
  async run(context) {
    const facts = await context.facts();
    const states = new Map(
      parseUnits(facts.of('units', 'planned')).flatMap((state) => state.names.map((name) => [name, state])),
    );
    const failed = new Set(
      lines(facts.of('units', 'failed')).map((line) => line.trim().split(/\s+/)[0] ?? ''),
    );
    const faults: {
      unit: string;
      reason: string;
      hint: string;
      because?: (typeof context.plan.units)[0]['because'];
    }[] = [];
    for (const unit of context.plan.units) {
      const state = states.get(unit.name);
      const { because } = unit;
      if (!state || state.load === 'not-found')
        faults.push({
          unit: unit.name,
          because,
          reason: 'is not installed on the kit',
          hint: 'the card was built from another profile or an older version; build and flash it again',
        });
      else if (state.active === 'failed' || failed.has(unit.name))
        faults.push({
          unit: unit.name,
          because,
          reason: `has failed: ${RESULTS[state.result] ?? `result "${state.result}"`}`,
          hint: 'switch the kit off and on; if it fails again, build and flash the card again',
        });
      else if (unit.active && state.active !== 'active')
        faults.push({
          unit: unit.name,
          because,
          reason:
            state.active === 'activating'
              ? 'is still starting'
              : `does not run (${state.active}, ${state.sub})`,
          hint:
            state.active === 'activating'
              ? 'wait a minute and run verify again'
              : 'somebody stopped it or it ended by itself; switch the kit off and on',
        });
    }
    const planned = new Set(context.plan.units.map(({ name }) => name));
    for (const name of failed)
      if (!planned.has(name))
        faults.push({
          unit: name,
          reason: 'has failed',
          hint: 'switch the kit off and on; if it fails again, build and flash the card again',
        });
    if (faults.length === 0) {
      const running = context.plan.units.filter(({ active }) => active).length;
      return [pass('', this.title, `${count(running, 'unit')} run, none has failed`)];
    }
    const logs = await lastWords(
      context,
      faults.map(({ unit }) => unit),
    );
    return faults.map(({ unit, reason, hint, because }): Finding => {
      const said = logs.get(unit) ?? [];
      return fail(
        unit,
        this.title,
        `${unit} ${reason}${said.length > 0 ? `; its last words: ${list(said.map((line) => `"${line}"`))}` : ''}`,
        { hint, ...(because === undefined ? {} : { because }) },
      );
    });
  },
};

async function lastWords(
  context: Parameters<Check['run']>[0],
  units: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const ssh = await context.ssh();
  const script = units
    .map((unit) => `echo "@@ "${quote(unit)}; journalctl -q -b -u ${quote(unit)} -n 3 -o cat --no-pager`)
    .join('\n');
  const { stdout } = await ssh.exec(AS_ROOT, { stdin: script, timeoutMs: 30_000 });
  const known = secretFilter(context);
  return new Map(
    stdout
      .split(/^@@ /m)
      .slice(1)
      .map((block) => {
        const [unit = '', ...said] = lines(block);
        return [unit.trim(), said.map((line) => known(line.trim().slice(0, 200)))];
      }),
  );
}

// A program may complain with the very password that is wrong.
function secretFilter(context: Parameters<Check['run']>[0]): (line: string) => string {
  const values = context.plan.secrets
    .map(({ id }) => context.secrets.value(id)?.trim() ?? '')
    .filter((value) => value.length >= 6);
  return (line) => values.reduce((text, value) => text.replaceAll(value, '…'), line);
}
