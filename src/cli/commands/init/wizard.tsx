import { Box, Text, useApp, useInput } from 'ink';
import { useMemo, useRef, useState, type ReactElement } from 'react';
import type { Diagnostic } from '../../../diagnostics/diagnostic.js';
import { complete, ownWifiRefusal, type Answers, type Facts } from './answers.js';
import { belongs, steps, type Choice, type Step } from './steps.js';

export interface WizardProps {
  readonly facts: Facts;
  readonly given: Partial<Answers>;
  /** What the profile made of these answers would be told. */
  readonly judge: (answers: Answers) => readonly Diagnostic[];
  /** Where the profile would be written, or a sentence why it cannot be. */
  readonly target: (answers: Answers) => { readonly file: string; readonly refusal?: string };
  readonly onDone: (answers: Answers) => void;
}

/** Steps that make sense after what has been answered. */
function shown(answers: Answers): readonly Step[] {
  return steps.filter((step) => step.when?.(answers) ?? true);
}

/** The whole conversation: one question a screen, back and forth, then a summary. */
export function Wizard(props: WizardProps): ReactElement {
  const { facts, judge } = props;
  const [given, setGiven] = useState<Partial<Answers>>(props.given);
  const [at, setAt] = useState(0);
  const answers = useMemo(() => complete(given, facts), [given, facts]);
  const list = shown(answers);
  const step = list[at];
  const { exit } = useApp();
  useInput((input, key) => {
    if (key.ctrl && input === 'c') exit();
  });
  const back = (): void => setAt((index) => Math.max(0, index - 1));
  if (step === undefined) {
    return (
      <Summary
        answers={answers}
        found={judge(answers)}
        target={props.target(answers)}
        back={() => setAt(list.length - 1)}
        done={() => {
          props.onDone(answers);
          exit();
        }}
      />
    );
  }
  const accept = (text: string): string | null => {
    const read = step.read(text, facts);
    if (typeof read === 'string') return read;
    const next = complete({ ...given, ...read }, facts);
    const refused = judge(next).find(
      (found) =>
        found.severity === 'error' && found.code !== 'profile/too-many-for-wifi' && belongs(step, found.path),
    );
    if (refused) return refused.hint === undefined ? refused.message : `${refused.message}: ${refused.hint}`;
    if (step.id === 'name') {
      const { refusal } = props.target(next);
      if (refusal !== undefined) return refusal;
    }
    const kept: { -readonly [K in keyof Answers]?: Answers[K] } = { ...given, ...read };
    // More people or another board may rule out what was chosen before: the question comes again with a proposal.
    const proposal =
      step.id !== 'network' && kept.mode === 'access-point' && ownWifiRefusal(next.board, next.people) !== null;
    if (proposal) delete kept.mode;
    setGiven(kept);
    setAt(at + 1);
    return null;
  };
  return (
    <Question
      key={step.id}
      step={step}
      place={`${at + 1} of ${list.length}`}
      answers={answers}
      facts={facts}
      judge={judge}
      accept={accept}
      back={back}
    />
  );
}

interface QuestionProps {
  readonly step: Step;
  readonly place: string;
  readonly answers: Answers;
  readonly facts: Facts;
  readonly judge: WizardProps['judge'];
  /** Takes the answer, or says why not. */
  readonly accept: (text: string) => string | null;
  readonly back: () => void;
}

function Question({ step, place, answers, facts, judge, accept, back }: QuestionProps): ReactElement {
  const [complaint, setComplaint] = useState<string | null>(null);
  const answer = (text: string): void => setComplaint(accept(text));
  const choices = useMemo(
    () => weigh(step, answers, facts, judge),
    [step, answers, facts, judge],
  );
  return (
    <Box flexDirection="column">
      <Text dimColor>New site profile, {place}</Text>
      <Text bold>{step.question}</Text>
      <Text dimColor>{step.help}</Text>
      <Box marginTop={1} flexDirection="column">
        {step.kind === 'text' ? (
          <TextField initial={step.value(answers, facts)} onEnter={answer} back={back} />
        ) : (
          <ChoiceList
            many={step.kind === 'many'}
            choices={choices}
            initial={step.value(answers, facts)}
            onEnter={answer}
            refuse={setComplaint}
            back={back}
          />
        )}
      </Box>
      {complaint === null ? null : (
        <Box marginTop={1}>
          <Text color="red">No: {complaint}</Text>
        </Box>
      )}
      <Box marginTop={1}>
        <Text dimColor>Enter: next   Esc: back   Ctrl-C: stop, nothing is written</Text>
      </Box>
    </Box>
  );
}

/** Choices with those marked that the profile's rules refuse, e.g. a board with too little memory. */
function weigh(step: Step, answers: Answers, facts: Facts, judge: WizardProps['judge']): readonly Choice[] {
  const choices = step.choices?.(answers, facts) ?? [];
  if (step.kind !== 'one') return choices;
  return choices.map((choice) => {
    if (choice.refusal !== undefined) return choice;
    const read = step.read(choice.value, facts);
    if (typeof read === 'string') return choice;
    const refused = judge({ ...answers, ...read }).find(
      (found) => found.severity === 'error' && belongs(step, found.path),
    );
    return refused ? { ...choice, refusal: refused.message } : choice;
  });
}

interface TextFieldProps {
  readonly initial: string;
  readonly onEnter: (text: string) => void;
  readonly back: () => void;
}

/** A line of text. The proposal is taken over as it is, edited with the keys, or replaced by typing. */
function TextField({ initial, onEnter, back }: TextFieldProps): ReactElement {
  const [line, setLine] = useState<Line>(() => proposed(initial));
  // Letters may come faster than the screen is drawn; the state of the last draw would lose some.
  const latest = useRef(line);
  useInput((input, key) => {
    if (key.escape) return back();
    const change = (next: Line): void => {
      latest.current = next;
      setLine(next);
    };
    const now = latest.current;
    if (key.return) onEnter(now.text.join(''));
    else if (key.leftArrow) change({ ...now, cursor: Math.max(0, now.cursor - 1), fresh: false });
    else if (key.rightArrow) change({ ...now, cursor: Math.min(now.text.length, now.cursor + 1), fresh: false });
    else if (key.backspace || key.delete) change(typed(now, '\u007f'));
    else if (key.ctrl && input === 'u') change(typed(now, '\u0015'));
    else if (key.ctrl && input === 'a') change({ ...now, cursor: 0, fresh: false });
    else if (key.ctrl && input === 'e') change({ ...now, cursor: now.text.length, fresh: false });
    else if (!key.ctrl && !key.meta && !key.tab) {
      // A paste, or quick typing, comes as one piece.
      const [first = '', ...rest] = input.split(/\r\n?|\n/);
      const next = [...first].reduce(typed, now);
      change(next);
      if (rest.length > 0) onEnter(next.text.join(''));
    }
  });
  const { text, cursor, fresh } = line;
  return (
    <Text>
      <Text color="green">{'> '}</Text>
      <Text dimColor={fresh}>{text.slice(0, cursor).join('')}</Text>
      <Text inverse>{text[cursor] ?? ' '}</Text>
      {text.slice(cursor + 1).join('')}
    </Text>
  );
}

interface Line {
  readonly text: readonly string[];
  readonly cursor: number;
  /** Still the proposal: the first letter typed replaces it. */
  readonly fresh: boolean;
}

function proposed(initial: string): Line {
  const text = [...initial];
  return { text, cursor: text.length, fresh: text.length > 0 };
}

/** The line after one more key: a letter, Backspace (U+007F) or Ctrl-U. What one line cannot hold is dropped. */
function typed({ text, cursor, fresh }: Line, letter: string): Line {
  if (letter === '\u0015') return { text: [], cursor: 0, fresh: false };
  if (letter === '\u007f' || letter === '\b')
    return cursor === 0
      ? { text, cursor, fresh: false }
      : { text: text.toSpliced(cursor - 1, 1), cursor: cursor - 1, fresh: false };
  if (/\p{Cc}/u.test(letter)) return { text, cursor, fresh };
  if (fresh) return { text: [letter], cursor: 1, fresh: false };
  return { text: text.toSpliced(cursor, 0, letter), cursor: cursor + 1, fresh: false };
}

interface ChoiceListProps {
  readonly many: boolean;
  readonly choices: readonly Choice[];
  readonly initial: string;
  readonly onEnter: (text: string) => void;
  readonly refuse: (why: string | null) => void;
  readonly back: () => void;
}

function ChoiceList({ many, choices, initial, onEnter, refuse, back }: ChoiceListProps): ReactElement {
  const [state, setState] = useState(() => ({
    at: many
      ? 0
      : Math.max(
          0,
          choices.findIndex((choice) => choice.value === initial),
        ),
    marked: many ? initial.split(',').filter(Boolean) : [],
  }));
  // Keys may come faster than the screen is drawn.
  const latest = useRef(state);
  const change = (next: typeof state): void => {
    latest.current = next;
    setState(next);
  };
  const { at, marked } = state;
  useInput((input, key) => {
    const now = latest.current;
    const choice = choices[now.at];
    const move = (by: number): void => {
      change({ ...now, at: (now.at + by + choices.length) % Math.max(1, choices.length) });
      refuse(null);
    };
    if (key.escape) back();
    else if (key.upArrow || input === 'k') move(-1);
    else if (key.downArrow || input === 'j') move(1);
    else if (many && input === ' ' && choice) {
      const without = now.marked.filter((value) => value !== choice.value);
      change({ ...now, marked: without.length < now.marked.length ? without : [...without, choice.value] });
    } else if (key.return) {
      if (many) onEnter(now.marked.length === 0 ? 'none' : now.marked.join(','));
      else if (choice?.refusal !== undefined) refuse(choice.refusal);
      else if (choice) onEnter(choice.value);
    }
  });
  return (
    <Box flexDirection="column">
      {choices.map((choice, index) => {
        const here = index === at;
        const box = many ? (marked.includes(choice.value) ? '[x] ' : '[ ] ') : '';
        return (
          <Box key={choice.value} flexDirection="column">
            <Text {...(here ? { color: 'green' } : {})} dimColor={choice.refusal !== undefined && !here}>
              {here ? '> ' : '  '}
              {box}
              {choice.label}
            </Text>
            {choice.note === undefined && choice.refusal === undefined ? null : (
              <Box paddingLeft={many ? 6 : 4}>
                {choice.refusal === undefined ? (
                  <Text dimColor>{choice.note}</Text>
                ) : (
                  <Text color="yellow">will not work: {choice.refusal}</Text>
                )}
              </Box>
            )}
          </Box>
        );
      })}
    </Box>
  );
}

interface SummaryProps {
  readonly answers: Answers;
  readonly found: readonly Diagnostic[];
  readonly target: { readonly file: string; readonly refusal?: string };
  readonly back: () => void;
  readonly done: () => void;
}

function Summary({ answers, found, target, back, done }: SummaryProps): ReactElement {
  const errors = found.filter((entry) => entry.severity === 'error').map((entry) => entry.message);
  if (target.refusal !== undefined) errors.push(target.refusal);
  useInput((_input, key) => {
    if (key.escape) back();
    else if (key.return && errors.length === 0) done();
  });
  return (
    <Box flexDirection="column">
      <Text bold>
        {answers.title} ({answers.name}.home.arpa)
      </Text>
      {summaryLines(answers).map(([what, value]) => (
        <Box key={what}>
          <Box width={12}>
            <Text dimColor>{what}</Text>
          </Box>
          <Text>{value}</Text>
        </Box>
      ))}
      {found
        .filter((entry) => entry.severity === 'warning')
        .map((entry) => (
          <Text key={entry.code + entry.path.join('.')} color="yellow">
            Mind: {entry.message}
          </Text>
        ))}
      {errors.map((error) => (
        <Text key={error} color="red">
          No: {error}
        </Text>
      ))}
      <Box marginTop={1}>
        <Text dimColor>
          {errors.length === 0 ? `Enter: write ${target.file}   ` : ''}Esc: back   Ctrl-C: stop, nothing is written
        </Text>
      </Box>
    </Box>
  );
}

/** The answers in a few lines. */
export function summaryLines(answers: Answers): readonly (readonly [string, string])[] {
  const { key } = answers;
  return [
    ['languages', answers.languages.join(', ')],
    ['people', String(answers.people)],
    ['board', answers.board],
    [
      'network',
      answers.mode === 'access-point'
        ? `own Wi-Fi "${answers.ssid}" (${answers.country})`
        : answers.dhcp
          ? 'cable, with its own router or switch'
          : `cable, into an existing network, at ${answers.address}`,
    ],
    ['services', answers.services.join(', ') || 'none'],
    ['backups', answers.backup ? `daily at ${answers.backupAt}` : 'none'],
    ['admin', key.kind === 'found' ? key.file : key.kind === 'make' ? 'a new key in ~/.ssh' : "the site's operator key"],
  ];
}
