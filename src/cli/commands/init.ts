import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename } from 'node:path';
import type { Diagnostic } from '../../diagnostics/diagnostic.js';
import { InterruptedError, UsageError } from '../../diagnostics/errors.js';
import { assemblePlan } from '../../plan/assemble.js';
import { checkProfileText } from '../../profile/index.js';
import type { Service } from '../../services/contract.js';
import { loadServices } from '../../services/registry.js';
import type { Cli } from '../context.js';
import { complete, ownWifiRefusal, type Answers, type Facts } from './init/answers.js';
import { findKeys, makeKey, readKey } from './init/keys.js';
import { profileText } from './init/profile-text.js';
import { steps } from './init/steps.js';
import { existsError, writeNew } from './init/write.js';

/** What the command line says, as it was written. */
export interface InitFlags {
  readonly yes: boolean;
  readonly name: string;
  readonly title: string;
  readonly languages: string;
  readonly timezone: string;
  readonly board: Answers['board'];
  readonly people: number;
  readonly network: Answers['mode'];
  readonly address: string;
  readonly dhcp: 'on' | 'off';
  readonly ssid: string;
  readonly country: string;
  readonly services: string;
  readonly backup: string;
  readonly sshKey: string;
}

/** Asks, or takes flags, and writes a new profile. */
export async function runInit(
  cli: Cli,
  file: string | undefined,
  flags: Partial<InitFlags>,
): Promise<number> {
  if (file !== undefined && existsSync(file)) throw existsError(file);
  if (!flags.yes && !cli.interactive)
    throw new UsageError('there is no terminal here to ask questions on', {
      hint: 'add --yes and answer with flags; "commeshctl init --help" lists them',
    });
  const home = cli.host.env['HOME'] ?? homedir();
  const services = await loadServices();
  const offered = services.filter((service) => !service.always);
  const facts: Facts = {
    ...(file === undefined ? {} : { fileName: basename(file).replace(/\.ya?ml$/i, '') }),
    ...knownHere(cli),
    keys: await findKeys(home),
    services: offered.map(({ id, title, summary }) => ({ id, title, summary })),
  };
  const given = await fromFlags(flags, facts);
  const targetOf = (answers: Answers): string => file ?? `profiles/${answers.name}.yaml`;
  const judge = (answers: Answers): readonly Diagnostic[] =>
    judgeAnswers(answers, services, targetOf(answers));

  const answers = flags.yes
    ? complete(given, withoutGuesses(facts))
    : await ask(cli, facts, given, judge, targetOf);
  const target = targetOf(answers);
  if (flags.yes) refuse(answers, judge(answers));
  await write(cli, answers, offered, target, home);
  if (cli.flags.json) cli.out(JSON.stringify({ format: 1, file: target, answers }, null, 2));
  else {
    cli.out(target);
    cli.say(`Written. Next: commeshctl check ${target}`);
  }
  return 0;
}

/** Everything `check` would say about these answers. */
export function judgeAnswers(
  answers: Answers,
  services: readonly Service[],
  target: string,
): readonly Diagnostic[] {
  // A missing country must not hide what else is wrong.
  const country = answers.country === '' ? 'KE' : answers.country;
  const text = profileText(
    { ...answers, country },
    services.filter((service) => !service.always),
  );
  const { diagnostics, profile } = checkProfileText(target, text, services);
  const missing: Diagnostic[] =
    answers.mode === 'access-point' && answers.country === ''
      ? [
          {
            severity: 'error',
            code: 'init/country',
            message: 'the country the Wi-Fi is used in is missing',
            hint: 'give its two letters, e.g. KE',
            path: ['network', 'wifi', 'country'],
          },
        ]
      : [];
  return [
    ...missing,
    ...diagnostics,
    ...(profile === null ? [] : assemblePlan(profile.site, services).diagnostics),
  ];
}

async function write(
  cli: Cli,
  answers: Answers,
  offered: readonly Service[],
  target: string,
  home: string,
): Promise<void> {
  if (answers.key.kind !== 'make') return writeNew(target, profileText(answers, offered));
  if (existsSync(target)) throw existsError(target);
  const { key, undo } = await makeKey(cli.host, home, answers.name);
  try {
    await writeNew(target, profileText(answers, offered, key.line));
  } catch (error) {
    await undo();
    throw error;
  }
  cli.say(`Made the SSH key ${key.file}`);
}

/** A flag's name for each question, for what is said when flags do not fit together. */
const FLAG_OF: Readonly<Record<string, string>> = {
  'backup-at': '--backup',
  key: '--ssh-key',
};

function refuse(answers: Answers, found: readonly Diagnostic[]): void {
  const wifi = answers.mode === 'access-point' ? ownWifiRefusal(answers.board, answers.people) : null;
  if (wifi !== null)
    throw new UsageError(wifi, {
      hint:
        answers.board === 'zero2w'
          ? 'take a board with a network socket, e.g. --board pi4 --network lan'
          : 'take --network lan',
    });
  const error = found.find((one) => one.severity === 'error');
  if (!error) return;
  const step = steps.find((one) =>
    one.paths.some((path) => path.every((part, index) => error.path[index] === part)),
  );
  const flag = step === undefined ? '' : `${FLAG_OF[step.id] ?? `--${step.id}`}: `;
  throw new UsageError(`${flag}${error.message}`, error.hint === undefined ? {} : { hint: error.hint });
}

async function ask(
  cli: Cli,
  facts: Facts,
  given: Partial<Answers>,
  judge: (answers: Answers) => readonly Diagnostic[],
  targetOf: (answers: Answers) => string,
): Promise<Answers> {
  const [{ render }, { createElement }, { Wizard }] = await Promise.all([
    import('ink'),
    import('react'),
    import('./init/wizard.js'),
  ]);
  let result: Answers | undefined;
  const screen = render(
    createElement(Wizard, {
      given,
      world: {
        facts,
        judge,
        target: (answers: Answers) => {
          const file = targetOf(answers);
          return existsSync(file)
            ? { file, refusal: `${file} is there already; choose another name` }
            : { file };
        },
      },
      onDone: (answers: Answers) => {
        result = answers;
      },
    }),
    { stdout: process.stderr, stderr: process.stderr, exitOnCtrlC: false, patchConsole: false },
  );
  const stop = (): void => screen.unmount();
  cli.host.signal.addEventListener('abort', stop, { once: true });
  await screen.waitUntilExit();
  cli.host.signal.removeEventListener('abort', stop);
  if (result === undefined) throw new InterruptedError();
  return result;
}

async function fromFlags(flags: Partial<InitFlags>, facts: Facts): Promise<Partial<Answers>> {
  const given: { -readonly [K in keyof Answers]?: Answers[K] } = {};
  const take = (id: string, text: string | undefined): void => {
    if (text === undefined) return;
    const step = steps.find((one) => one.id === id);
    const read = step?.read(text, facts) ?? {};
    if (typeof read === 'string') throw new UsageError(`${FLAG_OF[id] ?? `--${id}`}: ${read}`);
    Object.assign(given, read);
  };
  for (const id of [
    'title',
    'name',
    'languages',
    'timezone',
    'services',
    'ssid',
    'country',
    'address',
  ] as const)
    take(id, flags[id]);
  if (flags.people !== undefined) given.people = flags.people;
  if (flags.board !== undefined) given.board = flags.board;
  if (flags.network !== undefined) given.mode = flags.network;
  // Naming a Wi-Fi asks for one.
  else if (flags.ssid !== undefined) given.mode = 'access-point';
  if (flags.dhcp !== undefined) given.dhcp = flags.dhcp === 'on';
  if (flags.backup === 'off') given.backup = false;
  else if (flags.backup !== undefined && flags.backup !== 'on') {
    given.backup = true;
    given.backupAt = flags.backup;
  }
  switch (flags.sshKey) {
    case undefined:
      break;
    case 'none':
    case 'make':
      given.key = { kind: flags.sshKey };
      break;
    case 'found': {
      const key = facts.keys[0];
      if (!key)
        throw new UsageError('--ssh-key found: there is no public key in ~/.ssh', {
          hint: 'take --ssh-key make or --ssh-key none',
        });
      given.key = { kind: 'found', ...key };
      break;
    }
    default:
      given.key = { kind: 'found', ...(await readKey(flags.sshKey)) };
  }
  return given;
}

/** Time zone and country as this machine is set: proposals for the questions. */
function knownHere(cli: Cli): { timezone: string; country?: string } {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const env = cli.host.env;
  const country = /^[a-z]{2,3}_([A-Z]{2})\b/.exec(env['LC_ALL'] || env['LANG'] || '')?.[1];
  return {
    timezone: /^[A-Z]\w+\/./.test(zone) && !zone.startsWith('Etc/') ? zone : 'UTC',
    ...(country ? { country } : {}),
  };
}

/** Without a person to say yes, nothing about the place is guessed from this machine. */
function withoutGuesses({ country: _country, ...facts }: Facts): Facts {
  return { ...facts, timezone: 'UTC' };
}
