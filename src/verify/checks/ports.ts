import type { Check, Finding } from '../check.js';
import { count, fail, pass, warn } from '../check.js';
import { covers, LISTENERS_COMMAND, isLoopback, parseListeners } from '../listeners.js';

export const check: Check = {
  kind: 'ports',
  vantage: 'inside',
  always: true,
  title: 'planned ports are open',
  probe: () => `part listeners\n${LISTENERS_COMMAND}`,
  async run(context) {
    const listeners = parseListeners((await context.facts()).of('ports', 'listeners'));
    const planned = context.plan.ports.filter(({ listening }) => listening);
    const findings = planned.flatMap((wish): Finding[] => {
      const what = `${wish.protocol}-${wish.port}`;
      const name = `${wish.protocol.toUpperCase()} port ${wish.port} (${wish.purpose})`;
      const { because } = wish;
      const here = listeners.filter((listener) => covers(wish, listener));
      if (here.length === 0)
        return [
          fail(what, this.title, `nothing listens at ${name}`, {
            because,
            hint: `${wish.process} does not run or did not get its port; see the services above`,
          }),
        ];
      const reachable = here.filter(({ address }) => !isLoopback(address));
      if (wish.scope !== 'loopback' && reachable.length === 0)
        return [
          fail(
            what,
            this.title,
            `${name} is open on the kit itself only, nobody on its network can reach it`,
            {
              because,
              hint: 'build and flash the card again',
            },
          ),
        ];
      if (wish.scope === 'loopback' && reachable.length > 0)
        return [
          fail(what, this.title, `${name} is meant for the kit itself but open to the network`, {
            because,
            hint: 'build and flash the card again',
          }),
        ];
      const others = here.filter(
        ({ processes }) => processes.length > 0 && !processes.includes(wish.process),
      );
      if (others.length > 0)
        return [
          fail(what, this.title, `${name} is held by ${others[0]?.processes[0]} instead of ${wish.process}`, {
            because,
            hint: 'another program took the port; switch the kit off and on',
          }),
        ];
      if (here.some(({ processes }) => processes.length === 0))
        return [
          warn(what, this.title, `${name} is open, but it cannot be seen by which program`, { because }),
        ];
      return [];
    });
    return findings.length > 0
      ? findings
      : [pass('', this.title, `${count(planned.length, 'port')} open, each held by its own program`)];
  },
};
