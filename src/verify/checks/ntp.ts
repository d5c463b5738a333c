import type { Check } from '../check.js';
import { fail, pass, words } from '../check.js';
import { askTime } from '../clients/ntp.js';
import { span } from './clock.js';

const LIMIT_MS = 60_000;

export const check: Check = {
  kind: 'ntp',
  vantage: 'outside',
  always: false,
  title: 'the kit tells devices the time',
  async run(context) {
    const answer = await askTime(context.dialer.udp(123), () => context.host.now(), context.signal).catch(
      (error: unknown) => words(error),
    );
    if (typeof answer === 'string')
      return [fail('', this.title, answer, { hint: 'is the time server running? See the services above' })];
    if (answer.leap === 3 || answer.stratum === 0 || answer.stratum > 15)
      return [
        fail('', this.title, 'it answers that its own clock is not set, so devices do not believe it', {
          hint: 'set the clock: run verify again with --set-time',
        }),
      ];
    const { offsetMs } = answer;
    if (Math.abs(offsetMs) > LIMIT_MS)
      return [
        fail(
          '',
          this.title,
          `it is ${span(Math.round(offsetMs / 1000))} ${offsetMs > 0 ? 'ahead of' : 'behind'} this computer`,
          { hint: "if this computer's clock is right, run verify again with --set-time" },
        ),
      ];
    return [
      pass(
        '',
        this.title,
        `stratum ${answer.stratum}, ${(Math.abs(offsetMs) / 1000).toFixed(1)} s from this computer's clock`,
      ),
    ];
  },
};
