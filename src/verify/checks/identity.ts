import type { Check } from '../check.js';
import { fail, pass } from '../check.js';

export const check: Check = {
  kind: 'identity',
  vantage: 'inside',
  always: true,
  title: 'this is the kit of this profile',
  probe: () => 'part kit; cat /etc/commesh/kit.json',
  async run(context) {
    const text = (await context.facts()).of('identity', 'kit').trim();
    const { site } = context.plan;
    const hint = 'name the profile the card was built from, or build and flash it again';
    let kit: { site?: unknown; domain?: unknown; address?: unknown };
    try {
      kit = JSON.parse(text) as typeof kit;
    } catch {
      return [
        fail('', this.title, 'the kit does not say which site it belongs to', { hint, because: ['name'] }),
      ];
    }
    if (kit.site !== site.name)
      return [
        fail(
          '',
          this.title,
          `the kit belongs to the site "${String(kit.site)}", this profile describes "${site.name}"`,
          {
            hint,
            because: ['name'],
          },
        ),
      ];
    if (kit.domain !== undefined && kit.domain !== site.domain)
      return [
        fail('', this.title, `the kit serves ${String(kit.domain)}, this profile says ${site.domain}`, {
          hint,
          because: ['domain'],
        }),
      ];
    return [pass('', this.title, `it is the kit of the site "${site.name}"`)];
  },
};
