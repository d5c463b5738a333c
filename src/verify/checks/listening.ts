import type { Check } from '../check.js';
import { count, fail, pass } from '../check.js';
import { AS_ROOT } from '../facts.js';
import { covers, isLoopback, type Listener, LISTENERS_COMMAND, parseListeners } from '../listeners.js';

export const check: Check = {
  kind: 'listening',
  vantage: 'inside',
  always: true,
  title: 'nothing listens that the plan does not know',
  probe: () => `part listeners\n${LISTENERS_COMMAND}`,
  async run(context) {
    const { ports } = context.plan;
    const unknown = (all: readonly Listener[]): Listener[] =>
      all.filter((listener) => !ports.some((wish) => covers(wish, listener)));
    const all = parseListeners((await context.facts()).of('listening', 'listeners'));
    if (all.length === 0)
      return [
        fail('', this.title, 'the list of open ports could not be read on the kit', {
          hint: 'the program "ss" is missing on the card; build and flash it again',
        }),
      ];
    let found = unknown(all);
    if (found.length > 0) {
      // A socket that only waits for the answer to a question is gone by the second look.
      const second = await (
        await context.ssh()
      ).exec(AS_ROOT, { stdin: LISTENERS_COMMAND, timeoutMs: 30_000 });
      const still = new Set(unknown(parseListeners(second.stdout)).map(key));
      found = found.filter((listener) => still.has(key(listener)));
    }
    if (found.length === 0)
      return [pass('', this.title, `${count(all.length, 'open socket')}, all of them planned`)];
    return found.map((listener) =>
      fail(
        `${listener.protocol}-${listener.port}`,
        this.title,
        `${listener.processes[0] ?? 'an unknown program'} listens at ${listener.protocol.toUpperCase()} port ${listener.port}${
          isLoopback(listener.address) ? ' (on the kit itself only)' : ''
        }, which no service has planned`,
        { hint: 'somebody added a program to the kit; build and flash the card again' },
      ),
    );
  },
};

const key = ({ protocol, address, port }: Listener): string => `${protocol} ${address} ${port}`;
