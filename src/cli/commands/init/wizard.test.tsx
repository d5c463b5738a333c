import { render } from 'ink-testing-library';
import { describe, expect, it, vi } from 'vitest';
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

interface Screen {
  /** Presses keys, all at once. */
  type(...keys: string[]): void;
  /** Waits until the screen shows this, and gives it. */
  shows(what: RegExp): Promise<string>;
  done(): Answers | undefined;
}

function open(): Screen {
  let result: Answers | undefined;
  const screen = render(
    <Wizard
      given={{}}
      world={{
        facts,
        judge,
        target: (answers) =>
          answers.name === 'taken'
            ? { file: 'taken.yaml', refusal: 'taken.yaml is there already' }
            : { file: 'x.yaml' },
      }}
      onDone={(answers) => {
        result = answers;
      }}
    />,
  );
  return {
    type(...keys) {
      for (const key of keys) screen.stdin.write(key);
    },
    async shows(what) {
      await vi.waitFor(() => expect(screen.lastFrame() ?? '').toMatch(what), { timeout: 15_000 });
      return screen.lastFrame() ?? '';
    },
    done: () => result,
  };
}

/** Opened, with the first question answered. */
async function moyo(...keys: string[]): Promise<Screen> {
  const screen = open();
  await screen.shows(/1 of/);
  screen.type('Moyo', ENTER, ...keys);
  return screen;
}

const enters = (count: number): string[] => Array.from({ length: count }, () => ENTER);

describe('the wizard', () => {
  it('goes through every question with what it proposes', async () => {
    const { type, shows, done } = await moyo(...enters(12));
    await shows(/Enter: write x\.yaml/);
    type(ENTER);
    await vi.waitFor(() =>
      expect(done()).toMatchObject({
        title: 'Moyo',
        name: 'moyo',
        mode: 'access-point',
        country: 'KE',
        ssid: 'moyo',
      }),
    );
  });

  it('takes a proposal, replaces it by typing, and edits it', async () => {
    const { type, shows } = await moyo();
    await shows(/> moyo/);
    type('x');
    await shows(/> x\s*$/m);
    type('y', '\u007f', 'z');
    await shows(/> xz\s*$/m);
    type('\u001b[D', 'q');
    await shows(/> xqz\s*$/m);
    type('\u0015', 'new');
    await shows(/> new\s*$/m);
  });

  it('takes a paste with its line ends as answers', async () => {
    const { type, shows } = open();
    await shows(/1 of/);
    type('Moyo clinic\rmoyo\rsw, en\r');
    await shows(/Which time zone/);
  });

  it('does not go on with an empty title or a name that is taken', async () => {
    const { type, shows } = open();
    await shows(/1 of/);
    type(ENTER);
    await shows(/No: give the place a name/);
    type('Taken', ENTER, ENTER);
    await shows(/No: taken\.yaml is there already/);
  });

  it('marks a board that will not work and does not take it', async () => {
    const { type, shows } = await moyo(...enters(5));
    const frame = await shows(/What will it run on/);
    expect(frame).toMatch(/Raspberry Pi 3\s+will not work: not enough memory/);
    type(UP, ENTER);
    await shows(/No: not enough memory/);
    type(DOWN, ENTER);
    await shows(/How do people reach it/);
  });

  it('proposes the cable when there are more people than the Wi-Fi carries, also after going back', async () => {
    const { type, shows } = await moyo(...enters(6));
    await shows(/> The kit makes its own Wi-Fi/);
    type(ENTER);
    await shows(/What shall the Wi-Fi be called/);
    for (const question of [/How do people/, /What will it run/, /What shall the kit/, /How many people/]) {
      type(ESC);
      await shows(question);
    }
    type('20', ...enters(3));
    const frame = await shows(/> By cable, with its own router/);
    expect(frame).toContain('will not work: a Raspberry Pi');
  });

  it('unmarks services', async () => {
    const { type, shows, done } = await moyo(...enters(4));
    await shows(/\[x\] Calls/);
    type(' ');
    await shows(/\[ \] Calls/);
    type(...enters(9));
    await vi.waitFor(() => expect(done()).toMatchObject({ services: ['prosody'] }));
  });

  it('writes nothing after Ctrl-C', async () => {
    const { type, done } = await moyo('\u0003', ...enters(15));
    type(...enters(2));
    await new Promise((resolve) => setImmediate(resolve));
    expect(done()).toBeUndefined();
  });
});
