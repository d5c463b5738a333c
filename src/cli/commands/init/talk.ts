import type { Diagnostic } from '../../../diagnostics/diagnostic.js';
import { complete, ownWifiRefusal, type Answers, type Facts } from './answers.js';
import { belongs, steps, type Choice, type Step } from './steps.js';

/** What the conversation is held against. */
export interface World {
  readonly facts: Facts;
  /** What the profile made of these answers would be told. */
  readonly judge: (answers: Answers) => readonly Diagnostic[];
  /** Where the profile would be written, or a sentence why it cannot be. */
  readonly target: (answers: Answers) => { readonly file: string; readonly refusal?: string };
}

/** A line of text being written. */
export interface Line {
  readonly text: readonly string[];
  readonly cursor: number;
  /** Still the proposal: the first letter typed replaces it. */
  readonly fresh: boolean;
}

type Given = { readonly [K in keyof Answers]?: Answers[K] };

/** Where the conversation stands: everything the screen shows. */
export interface Talk {
  readonly given: Given;
  readonly answers: Answers;
  /** Questions that make sense after what has been answered. */
  readonly list: readonly Step[];
  /** Place in the list; one past its end is the summary. */
  readonly at: number;
  readonly line: Line;
  readonly choices: readonly Choice[];
  readonly here: number;
  readonly marked: readonly string[];
  readonly complaint: string | null;
  /** Said about all the answers; only in the summary. */
  readonly found: readonly Diagnostic[];
  readonly state: 'asking' | 'done' | 'stopped';
}

/** A key, or a letter as it is. */
export type Key =
  | { readonly letter: string }
  | {
      readonly press:
        'enter' | 'back' | 'stop' | 'up' | 'down' | 'left' | 'right' | 'home' | 'end' | 'erase' | 'clear';
    };

/** The first question. */
export function begin(given: Given, world: World): Talk {
  const answers = complete(given, world.facts);
  const empty: Talk = {
    given,
    answers,
    list: [],
    at: 0,
    line: { text: [], cursor: 0, fresh: false },
    choices: [],
    here: 0,
    marked: [],
    complaint: null,
    found: [],
    state: 'asking',
  };
  return enter(empty, given, 0, world);
}

/** The conversation after one more key. Pure. */
export function press(talk: Talk, key: Key, world: World): Talk {
  if (talk.state !== 'asking') return talk;
  if ('press' in key && key.press === 'stop') return { ...talk, state: 'stopped' };
  if ('press' in key && key.press === 'back')
    return talk.at === 0 ? talk : enter(talk, talk.given, talk.at - 1, world);
  const step = talk.list[talk.at];
  if (step === undefined)
    return 'press' in key && key.press === 'enter' && refusals(talk, world).length === 0
      ? { ...talk, state: 'done' }
      : talk;
  return step.kind === 'text' ? pressText(talk, step, key, world) : pressChoice(talk, step, key, world);
}

/** Why the profile cannot be written as it is; only in the summary. */
export function refusals(talk: Talk, world: World): readonly string[] {
  const errors = talk.found.filter((one) => one.severity === 'error').map((one) => one.message);
  const { refusal } = world.target(talk.answers);
  return refusal === undefined ? errors : [...errors, refusal];
}

function enter(talk: Talk, given: Given, at: number, world: World): Talk {
  const { facts, judge } = world;
  const answers = complete(given, facts);
  const list = steps.filter((step) => step.when?.(answers) ?? true);
  const step = list[at];
  const value = step?.value(answers, facts) ?? '';
  const choices = step === undefined ? [] : weigh(step, answers, world);
  const text = [...value];
  return {
    ...talk,
    given,
    answers,
    list,
    at,
    choices,
    line: { text, cursor: text.length, fresh: text.length > 0 },
    here: Math.max(
      0,
      choices.findIndex((choice) => choice.value === value),
    ),
    marked: step?.kind === 'many' ? value.split(',').filter(Boolean) : [],
    complaint: null,
    found: step === undefined ? judge(answers) : [],
  };
}

/** Choices with those marked that the profile's rules refuse, e.g. a board with too little memory. */
function weigh(step: Step, answers: Answers, { facts, judge }: World): readonly Choice[] {
  const choices = step.choices?.(answers, facts) ?? [];
  if (step.kind !== 'one') return choices;
  return choices.map((choice) => {
    if (choice.refusal !== undefined) return choice;
    const read = step.read(choice.value, facts);
    if (typeof read === 'string') return choice;
    const refused = errorFor(step, judge({ ...answers, ...read }));
    return refused ? { ...choice, refusal: refused.message } : choice;
  });
}

function errorFor(step: Step, found: readonly Diagnostic[]): Diagnostic | undefined {
  return found.find(
    (one) =>
      one.severity === 'error' &&
      // Told where the network is chosen, with a way out.
      one.code !== 'profile/too-many-for-wifi' &&
      belongs(step, one.path),
  );
}

function accept(talk: Talk, step: Step, text: string, world: World): Talk {
  const { facts, judge } = world;
  const refuse = (complaint: string): Talk => ({ ...talk, complaint });
  const read = step.read(text, facts);
  if (typeof read === 'string') return refuse(read);
  const next = complete({ ...talk.given, ...read }, facts);
  const refused = errorFor(step, judge(next));
  if (refused)
    return refuse(refused.hint === undefined ? refused.message : `${refused.message}: ${refused.hint}`);
  if (step.id === 'name') {
    const { refusal } = world.target(next);
    if (refusal !== undefined) return refuse(refusal);
  }
  const given: { -readonly [K in keyof Answers]?: Answers[K] } = { ...talk.given, ...read };
  // More people or another board may rule out what was chosen before: the question comes again with a proposal.
  const ruledOut = given.mode === 'access-point' && ownWifiRefusal(next.board, next.people) !== null;
  if (step.id !== 'network' && ruledOut) delete given.mode;
  return enter(talk, given, talk.at + 1, world);
}

function pressText(talk: Talk, step: Step, key: Key, world: World): Talk {
  const { line } = talk;
  const change = (next: Partial<Line>): Talk => ({ ...talk, line: { ...line, fresh: false, ...next } });
  if ('letter' in key) {
    // What a line cannot hold is dropped.
    if (/\p{Cc}/u.test(key.letter)) return talk;
    if (line.fresh) return change({ text: [key.letter], cursor: 1 });
    return change({ text: line.text.toSpliced(line.cursor, 0, key.letter), cursor: line.cursor + 1 });
  }
  switch (key.press) {
    case 'enter':
      return accept(talk, step, line.text.join(''), world);
    case 'left':
      return change({ cursor: Math.max(0, line.cursor - 1) });
    case 'right':
      return change({ cursor: Math.min(line.text.length, line.cursor + 1) });
    case 'home':
      return change({ cursor: 0 });
    case 'end':
      return change({ cursor: line.text.length });
    case 'clear':
      return change({ text: [], cursor: 0 });
    case 'erase':
      return line.cursor === 0
        ? talk
        : change({ text: line.text.toSpliced(line.cursor - 1, 1), cursor: line.cursor - 1 });
    default:
      return talk;
  }
}

function pressChoice(talk: Talk, step: Step, key: Key, world: World): Talk {
  const { choices, here, marked } = talk;
  const choice = choices[here];
  const move = (by: number): Talk => ({
    ...talk,
    here: (here + by + choices.length) % Math.max(1, choices.length),
    complaint: null,
  });
  const name = 'letter' in key ? key.letter : key.press;
  if (name === 'up' || name === 'k') return move(-1);
  if (name === 'down' || name === 'j') return move(1);
  if (name === ' ' && step.kind === 'many' && choice) {
    const without = marked.filter((value) => value !== choice.value);
    return { ...talk, marked: without.length < marked.length ? without : [...without, choice.value] };
  }
  if (name !== 'enter') return talk;
  if (step.kind === 'many') return accept(talk, step, marked.join(',') || 'none', world);
  if (choice?.refusal !== undefined) return { ...talk, complaint: choice.refusal };
  return choice ? accept(talk, step, choice.value, world) : talk;
}
