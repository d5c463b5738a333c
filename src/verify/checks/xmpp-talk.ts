import type { Check, Finding } from '../check.js';
import { fail, pass, skip, words } from '../check.js';
import { people } from '../people.js';
import { encryption, strangers } from '../talk/door.js';
import { file } from '../talk/file.js';
import { history, message, web } from '../talk/messages.js';
import { room } from '../talk/room.js';
import { calls, keys } from '../talk/services.js';
import type { Step, Talk } from '../talk/step.js';

export const check: Check = {
  kind: 'xmpp-talk',
  vantage: 'outside',
  always: false,
  title: 'two people talk',
  async run(context, options) {
    const { domain, groups, share } = options;
    if (typeof domain !== 'string' || typeof groups !== 'string' || typeof share !== 'string')
      throw new Error('the check "xmpp-talk" needs domain, groups and share');
    const two = await people(context, domain);
    const invited = pass(
      'invite',
      'invited people can join',
      two.leftovers.length === 0
        ? 'two temporary accounts were made by invites'
        : `two temporary accounts were made by invites; ${two.leftovers.length} of an earlier run were removed`,
    );
    const talk: Talk = { context, domain, groups, share, people: two };
    const relay = context.plan.checks.some(({ kind }) => kind === 'turn-relay');
    const attempt = async (step: Step): Promise<Finding> => {
      try {
        return pass(step.what, step.title, await step.run(talk));
      } catch (error) {
        return fail(step.what, step.title, words(error), { hint: step.hint });
      }
    };
    return [
      invited,
      ...(await Promise.all([
        attempt(encryption),
        attempt(message),
        attempt(web),
        attempt(file),
        attempt(room),
        attempt(history),
        attempt(keys),
        relay
          ? attempt(calls)
          : skip(calls.what, calls.title, 'the profile has no relay for calls', { because: ['services'] }),
        attempt(strangers),
      ])),
    ];
  },
};
