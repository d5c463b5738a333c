import { Box, Text, useApp, useInput, type Key as InkKey } from 'ink';
import { useRef, useState, type ReactElement } from 'react';
import type { Answers } from './answers.js';
import { begin, press, refusals, type Key, type Talk, type World } from './talk.js';

export interface WizardProps {
  readonly world: World;
  readonly given: Partial<Answers>;
  readonly onDone: (answers: Answers) => void;
}

/** The conversation on the screen: one question at a time, back and forth, then a summary. */
export function Wizard({ world, given, onDone }: WizardProps): ReactElement {
  const [talk, setTalk] = useState(() => begin(given, world));
  // Keys may come faster than the screen is drawn; the state of the last draw would lose some.
  const latest = useRef(talk);
  const { exit } = useApp();
  useInput((input, key) => {
    for (const one of keysOf(input, key)) latest.current = press(latest.current, one, world);
    setTalk(latest.current);
    if (latest.current.state === 'asking') return;
    if (latest.current.state === 'done') onDone(latest.current.answers);
    exit();
  });
  return talk.list[talk.at] === undefined ? <Summary talk={talk} world={world} /> : <Question talk={talk} />;
}

/** Control characters as they come inside a paste or quick typing. */
const CONTROLS: Readonly<Record<string, Extract<Key, { press: string }>['press']>> = {
  '\r': 'enter',
  '\n': 'enter',
  '\u0001': 'home',
  '\u0003': 'stop',
  '\u0005': 'end',
  '\b': 'erase',
  '\u007f': 'erase',
  '\u0015': 'clear',
  '\u001b': 'back',
};

/** What ink heard, as keys of the conversation. */
function keysOf(input: string, key: InkKey): readonly Key[] {
  if (key.escape) return [{ press: 'back' }];
  if (key.return) return [{ press: 'enter' }];
  if (key.upArrow) return [{ press: 'up' }];
  if (key.downArrow) return [{ press: 'down' }];
  if (key.leftArrow) return [{ press: 'left' }];
  if (key.rightArrow) return [{ press: 'right' }];
  if (key.backspace || key.delete) return [{ press: 'erase' }];
  if (key.ctrl) {
    const control = { c: 'stop', u: 'clear', a: 'home', e: 'end' }[input] as 'stop' | undefined;
    return control === undefined ? [] : [{ press: control }];
  }
  if (key.meta || key.tab) return [];
  return [...input.replaceAll('\r\n', '\r')].map((letter) => {
    const control = CONTROLS[letter];
    return control === undefined ? { letter } : { press: control };
  });
}

function Question({ talk }: { readonly talk: Talk }): ReactElement | null {
  const step = talk.list[talk.at];
  if (step === undefined) return null;
  return (
    <Box flexDirection="column">
      <Text dimColor>
        New site profile, {talk.at + 1} of {talk.list.length}
      </Text>
      <Text bold>{step.question}</Text>
      <Text dimColor>{step.help}</Text>
      <Box marginTop={1} flexDirection="column">
        {step.kind === 'text' ? (
          <TextField talk={talk} />
        ) : (
          <Choices talk={talk} many={step.kind === 'many'} />
        )}
      </Box>
      {talk.complaint === null ? null : (
        <Box marginTop={1}>
          <Text color="red">No: {talk.complaint}</Text>
        </Box>
      )}
      <Box marginTop={1}>
        <Text dimColor>Enter: next Esc: back Ctrl-C: stop, nothing is written</Text>
      </Box>
    </Box>
  );
}

function TextField({ talk }: { readonly talk: Talk }): ReactElement {
  const { text, cursor, fresh } = talk.line;
  return (
    <Text>
      <Text color="green">{'> '}</Text>
      <Text dimColor={fresh}>{text.slice(0, cursor).join('')}</Text>
      <Text inverse>{text[cursor] ?? ' '}</Text>
      {text.slice(cursor + 1).join('')}
    </Text>
  );
}

function Choices({ talk, many }: { readonly talk: Talk; readonly many: boolean }): ReactElement {
  return (
    <Box flexDirection="column">
      {talk.choices.map((choice, index) => {
        const here = index === talk.here;
        const box = many ? (talk.marked.includes(choice.value) ? '[x] ' : '[ ] ') : '';
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

function Summary({ talk, world }: { readonly talk: Talk; readonly world: World }): ReactElement {
  const { answers, found } = talk;
  const errors = refusals(talk, world);
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
        .filter((one) => one.severity === 'warning')
        .map((one) => (
          <Text key={one.code + one.path.join('.')} color="yellow">
            Mind: {one.message}
          </Text>
        ))}
      {found
        .filter((one) => one.severity === 'note')
        .map((one) => (
          <Text key={one.code + one.path.join('.')} color="cyan">
            Note: {one.message}
          </Text>
        ))}
      {errors.map((error) => (
        <Text key={error} color="red">
          No: {error}
        </Text>
      ))}
      <Box marginTop={1}>
        <Text dimColor>
          {errors.length === 0 ? `Enter: write ${world.target(answers).file} ` : ''}Esc: back Ctrl-C: stop,
          nothing is written
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
    [
      'admin',
      key.kind === 'found'
        ? key.file
        : key.kind === 'make'
          ? 'a new key in ~/.ssh'
          : "the site's operator key",
    ],
  ];
}
