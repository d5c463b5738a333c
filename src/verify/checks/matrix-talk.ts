import type { Check, Finding } from '../check.js';
import { fail, pass, skip, words } from '../check.js';
import type { MatrixRoute } from '../clients/matrix.js';
import { matrixPeople } from '../matrix/people.js';
import {
  administration,
  calls,
  federation,
  file,
  history,
  makeRoom,
  type MatrixStep,
  type MatrixTalk,
  messages,
  password,
  strangers,
  versions,
  wellKnown,
} from '../matrix/steps.js';

export const check: Check = {
  kind: 'matrix-talk',
  vantage: 'outside',
  always: false,
  title: 'two people talk over Matrix',
  async run(context, options) {
    const { server, baseUrl } = options;
    if (typeof server !== 'string' || typeof baseUrl !== 'string')
      throw new Error('the check "matrix-talk" needs server and baseUrl');
    const route = (signal: AbortSignal): MatrixRoute => ({
      baseUrl,
      dialer: context.dialer,
      caPem: context.caPem,
      signal,
    });
    const talk: MatrixTalk = { context, server, route: route(context.signal) };
    const attempt = async <T>(step: MatrixStep<T>, more: T): Promise<Finding> => {
      try {
        return pass(step.what, step.title, await step.run(talk, more));
      } catch (error) {
        return fail(step.what, step.title, words(error), { hint: step.hint });
      }
    };
    const found = await Promise.all(
      [wellKnown, versions, strangers, administration, federation].map((step) => attempt(step, null)),
    );
    const login = 'people can log in';
    const room = 'an encrypted room can be made and joined';
    let two: Awaited<ReturnType<typeof matrixPeople>>;
    try {
      two = await matrixPeople(context, route(context.interrupted));
    } catch (error) {
      return [...found, fail('login', login, words(error), { hint: versions.hint })];
    }
    const old = two.leftovers.length;
    found.push(
      pass(
        'login',
        login,
        `two temporary accounts were made${old === 0 ? '' : `; ${old} of an earlier run were removed`}`,
      ),
      await attempt(password, two),
      context.plan.checks.some(({ kind }) => kind === 'turn-relay')
        ? await attempt(calls, two)
        : skip(calls.what, calls.title, 'the profile has no relay for calls', { because: ['services'] }),
    );
    let made: string;
    try {
      made = await makeRoom(two);
    } catch (error) {
      return [...found, fail('room', room, words(error), { hint: versions.hint })];
    }
    found.push(pass('room', room, 'made by one, joined by the other'));
    // One after the other: they share the keys of the room.
    for (const step of [messages, file, history]) found.push(await attempt(step, { two, room: made }));
    return found;
  },
};
