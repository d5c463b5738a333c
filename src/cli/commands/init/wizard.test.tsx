import { render } from 'ink-testing-library';
import { describe, expect, it } from 'vitest';
import type { Diagnostic } from '../../../diagnostics/diagnostic.js';
import type { Answers, Facts } from './answers.js';
import { Wizard } from './wizard.js';

const facts: Facts = {
  timezone: 'UTC',
  country: 'KE',
  keys: [],
  services: [
    { id: 'coturn', title: 'Calls', summary: 'relay' },
    { id: 'prosody', title: 'Chat', summary: 'messages' },
  ],
};

/** A board that is too small when chat is wanted: stands for the profile's real rules, which have their own tests. */
const judge = (answers: Answers): readonly Diagnostic[] =>
  answers.board === 'pi3' && answers.services.includes('prosody')
    ? [{ severity: 'error', code: 'plan/not-enough-memory', message: 'not enough memory', path: ['board'] }]
    : [];

const ENTER = '\r';
const ESC = '\u001b';
const UP = '\u001b[A';
const DOWN = '\u001b[B';

function open(): {
  type(...keys: string[]): Promise<string>;
  done: () => Answers | undefined;
} {
  let result: Answers | undefined;
  const screen = render(
    <Wizard
      facts={facts}
      given={{}}
      judge={judge}
      target={(answers) =>
        answers.name === 'taken' ? { file: 'taken.yaml', refusal: 'taken.yaml is there already' } : { file: 'x.yaml' }
      }
      onDone={(answers) => {
        result = answers;
      }}
    />,
  );
  // Two turns of the event loop and a little: ink draws at most 32 times a second.
  const settle = (): Promise<void> => new Promise((done) => setTimeout(done, 60));
  return {
    async type(...keys) {
      await settle();
      for (const key of keys) {
        screen.stdin.write(key);
        await settle();
      }
      return screen.lastFrame() ?? '';
    },
    done: () => result,
  };
}

describe('the wizard', () => {
  it('goes through every question with what it proposes', async () => {
    const { type, done } = open();
    expect(await type()).toContain('1 of');
    await type('Moyo', ENTER);
    const frame = await type(...Array.from({ length: 12 }, () => ENTER));
    expect(frame).toContain('Enter: write x.yaml');
    await type(ENTER);
    expect(done()).toMatchObject({ title: 'Moyo', name: 'moyo', mode: 'access-point', country: 'KE', ssid: 'moyo' });
  });

  it('takes a proposal, replaces it by typing, and edits it', async () => {
    const { type } = open();
    await type('Moyo', ENTER);
    expect(await type()).toContain('> moyo');
    expect(await type('x')).toMatch(/> x\s*$/m);
    expect(await type('y', '\u007f', 'z')).toMatch(/> xz\s*$/m);
    expect(await type('\u001b[D', 'q')).toMatch(/> xqz\s*$/m);
  });

  it('does not go on with an empty title or a name that is taken', async () => {
    const { type } = open();
    expect(await type(ENTER)).toContain('No: give the place a name');
    await type('Taken', ENTER);
    expect(await type(ENTER)).toContain('No: taken.yaml is there already');
  });

  it('marks a board that will not work and does not take it', async () => {
    const { type } = open();
    await type('Moyo', ENTER, ENTER, ENTER, ENTER, ENTER, ENTER);
    const frame = await type();
    expect(frame).toContain('What will it run on');
    expect(frame).toMatch(/Raspberry Pi 3\s+will not work: not enough memory/);
    expect(await type(UP, ENTER)).toContain('No: not enough memory');
    expect(await type(DOWN, ENTER)).toContain('How do people reach it');
  });

  it('proposes the cable when there are more people than the Wi-Fi carries, also after going back', async () => {
    const { type } = open();
    await type('Moyo', ENTER, ENTER, ENTER, ENTER, ENTER, ENTER, ENTER);
    expect(await type()).toMatch(/> The kit makes its own Wi-Fi/);
    await type(ENTER);
    await type(ESC, ESC, ESC, ESC);
    expect(await type()).toContain('How many people');
    await type('20', ENTER, ENTER, ENTER);
    const frame = await type();
    expect(frame).toMatch(/> By cable, with its own router/);
    expect(frame).toContain('will not work: a Raspberry Pi');
  });

  it('unmarks services', async () => {
    const { type, done } = open();
    await type('Moyo', ENTER, ENTER, ENTER, ENTER, ENTER);
    expect(await type(' ')).toMatch(/\[ \] Calls/);
    await type(ENTER, ...Array.from({ length: 8 }, () => ENTER));
    expect(done()).toMatchObject({ services: ['prosody'] });
  });

  it('writes nothing after Ctrl-C', async () => {
    const { type, done } = open();
    await type('Moyo', '\u0003', ENTER);
    expect(done()).toBeUndefined();
  });
});
