import type { Check, Finding } from '../check.js';
import { fail, list, pass, skip, warn } from '../check.js';
import { lines } from '../facts.js';

/** Bits of `vcgencmd get_throttled` (Raspberry Pi documentation, "vcgencmd"): now, and since it was switched on. */
const THROTTLED = [
  [0x1, 'the voltage is too low', 'fail'],
  [0x2, 'the processor is slowed down because of the supply or the heat', 'fail'],
  [0x4, 'the processor is throttled', 'fail'],
  [0x8, 'the processor is close to its heat limit', 'warn'],
  [0x10000, 'the voltage has been too low since it was switched on', 'warn'],
  [0x40000, 'the processor has been throttled since it was switched on', 'warn'],
] as const;

const POWER = "use the board's own power supply and a short, thick cable";

/** What the bits mean, in words. */
export function throttled(bits: number): readonly { state: 'fail' | 'warn'; reason: string }[] {
  return THROTTLED.filter(([bit]) => (bits & bit) !== 0).map(([, reason, state]) => ({ state, reason }));
}

export const check: Check = {
  kind: 'board',
  vantage: 'inside',
  always: true,
  title: 'temperature and power supply are good',
  probe: () => `
part heat
for f in /sys/class/thermal/thermal_zone*/temp; do [ -r "$f" ] && cat "$f"; done
part throttled
vcgencmd get_throttled || cat /sys/devices/platform/soc/soc:firmware/get_throttled
part alarm
for d in /sys/class/hwmon/hwmon*; do
  [ -r "$d/name" ] && read -r name <"$d/name" && [ "$name" = rpi_volt ] && cat "$d/in0_lcrit_alarm"
done
part model
tr -d '\\0' </proc/device-tree/model`,
  async run(context) {
    const facts = await context.facts();
    const model = facts.of('board', 'model').trim();
    const heat = lines(facts.of('board', 'heat'))
      .map((line) => Number(line) / 1000)
      .filter((degrees) => degrees > 0 && degrees < 200);
    const findings: Finding[] = [];
    const hottest = Math.max(...heat);
    if (heat.length > 0) {
      const reason = `${Math.round(hottest)} °C`;
      const hint = 'give the board air or shade, or a heat sink; it slows down above 80 °C';
      if (hottest >= 80) findings.push(fail('temperature', this.title, `too hot: ${reason}`, { hint }));
      else if (hottest >= 70) findings.push(warn('temperature', this.title, `warm: ${reason}`, { hint }));
      else findings.push(pass('temperature', this.title, reason));
    } else
      findings.push(skip('temperature', this.title, 'this board has no thermometer that the kit can read'));

    const text = facts.of('board', 'throttled').trim();
    const alarm = facts.of('board', 'alarm').trim();
    const bits = /([0-9a-f]+)$/i.exec(text.replace(/^.*=/, '').replace(/^0x/, ''))?.[1];
    if (bits !== undefined && text !== '') {
      const told = throttled(Number.parseInt(bits, 16));
      if (told.length === 0) findings.push(pass('power', this.title, 'the supply is steady'));
      else
        findings.push(
          (told.some(({ state }) => state === 'fail') ? fail : warn)(
            'power',
            this.title,
            list(told.map(({ reason }) => reason)),
            { hint: POWER },
          ),
        );
    } else if (alarm !== '')
      findings.push(
        alarm === '1'
          ? fail('power', this.title, 'the voltage is too low', { hint: POWER })
          : pass('power', this.title, 'no alarm about the voltage'),
      );
    else
      findings.push(
        skip(
          'power',
          this.title,
          `${context.plan.site.board === 'pc' ? 'a PC' : model === '' ? 'this board' : model} does not tell whether its power supply is weak`,
        ),
      );
    return findings;
  },
};
