import type { ProfilePath } from '../../../diagnostics/diagnostic.js';
import type { Board } from '../../../services/contract.js';
import { OWN_WIFI_PEOPLE, ownWifiRefusal, type Answers, type Facts, type KeyChoice } from './answers.js';

export interface Choice {
  readonly value: string;
  readonly label: string;
  readonly note?: string;
  /** Why it cannot be chosen. */
  readonly refusal?: string;
}

/** One question. Answers travel as text; `read` turns them into settings, or says what is wrong with them. */
export interface Step {
  readonly id: string;
  readonly kind: 'text' | 'one' | 'many';
  readonly question: string;
  readonly help: string;
  /** Settings asked here: what the profile's own rules say about them is told here. */
  readonly paths: readonly ProfilePath[];
  when?(answers: Answers): boolean;
  choices?(answers: Answers, facts: Facts): readonly Choice[];
  /** The answer so far, or the one proposed. */
  value(answers: Answers, facts: Facts): string;
  read(text: string, facts: Facts): Partial<Answers> | string;
}

const BOARDS: readonly (readonly [Board, string, string])[] = [
  ['zero2w', 'Raspberry Pi Zero 2 W', '512 MB'],
  ['pi3', 'Raspberry Pi 3', '1 GB'],
  ['pi4', 'Raspberry Pi 4', '2 GB or more'],
  ['pi5', 'Raspberry Pi 5', '4 GB or more; needs the Raspberry Pi archive'],
  ['pc', 'PC or laptop', 'any 64-bit one with 2 GB or more'],
];

function list(text: string): readonly string[] {
  return text.split(/[\s,]+/).filter(Boolean);
}

/** Questions in the order they are asked: what decides comes before what follows from it. */
export const steps: readonly Step[] = [
  {
    id: 'title',
    kind: 'text',
    question: 'What do people call the place?',
    help: 'Shown on the join page: "Dispensaire de Goma", "Moyo relief camp".',
    paths: [['site', 'title']],
    value: (answers) => answers.title,
    read: (text) => (text.trim() === '' ? 'give the place a name' : { title: text.trim() }),
  },
  {
    id: 'name',
    kind: 'text',
    question: 'A short name for it?',
    help: 'Small letters, digits and hyphens. Becomes part of addresses: <name>.home.arpa',
    paths: [
      ['site', 'name'],
      ['site', 'domain'],
    ],
    value: (answers) => answers.name,
    read: (text) => (text.trim() === '' ? 'give the place a short name' : { name: text.trim() }),
  },
  {
    id: 'languages',
    kind: 'text',
    question: 'Which languages are read there?',
    help: 'Language codes, the main one first: "fr, sw, en".',
    paths: [['site', 'languages']],
    value: (answers) => answers.languages.join(', '),
    read: (text) =>
      list(text).length === 0 ? 'name at least one language, e.g. en' : { languages: list(text) },
  },
  {
    id: 'timezone',
    kind: 'text',
    question: 'Which time zone is the place in?',
    help: 'Area and city: "Africa/Nairobi". "UTC" does no harm.',
    paths: [['site', 'timezone']],
    value: (answers) => answers.timezone,
    read: (text) => ({ timezone: text.trim() }),
  },
  {
    id: 'people',
    kind: 'text',
    question: 'How many people will use the kit?',
    help: 'All who will have an account, on a busy day.',
    paths: [['people']],
    value: (answers) => String(answers.people),
    read: (text) =>
      /^\s*\d{1,6}\s*$/.test(text) ? { people: Number(text) } : 'write a whole number, e.g. 20',
  },
  {
    id: 'services',
    kind: 'many',
    question: 'What shall the kit offer?',
    help: 'Space marks and unmarks.',
    paths: [['services']],
    choices: (_answers, facts) =>
      facts.services.map((service) => ({ value: service.id, label: service.title, note: service.summary })),
    value: (answers) => answers.services.join(','),
    read: (text, facts) => {
      const known = facts.services.map((service) => service.id);
      const wanted = text === 'none' ? [] : list(text);
      const strange = wanted.find((id) => !known.includes(id));
      return strange === undefined
        ? { services: known.filter((id) => wanted.includes(id)) }
        : `there is no service "${strange}"; there are: ${known.join(', ')}`;
    },
  },
  {
    id: 'board',
    kind: 'one',
    question: 'What will it run on?',
    help: 'The smallest model of each is reckoned with.',
    paths: [['board'], ['memory']],
    choices: (answers) =>
      BOARDS.map(([value, label, note]) => {
        const refusal = value === 'zero2w' ? ownWifiRefusal(value, answers.people) : null;
        return {
          value,
          label,
          note,
          ...(refusal === null
            ? {}
            : { refusal: `it has no network socket, and its Wi-Fi carries about ${OWN_WIFI_PEOPLE} people` }),
        };
      }),
    value: (answers) => answers.board,
    read: (text) => ({ board: text as Board }),
  },
  {
    id: 'network',
    kind: 'one',
    question: 'How do people reach it?',
    help: "Phones come in by Wi-Fi either way: the kit's own, or that of a router plugged into it.",
    paths: [['network', 'mode']],
    choices: (answers) => {
      const refusal = ownWifiRefusal(answers.board, answers.people);
      return [
        {
          value: 'access-point',
          label: 'The kit makes its own Wi-Fi',
          note: 'nothing else needed; for a handful of people near by',
          ...(refusal === null ? {} : { refusal }),
        },
        {
          value: 'lan',
          label: 'By cable, with its own router or switch',
          note: 'the kit gives out the addresses; the router brings the Wi-Fi',
        },
        {
          value: 'existing',
          label: 'By cable, into a network that is there already',
          note: 'that network goes on giving out its addresses',
        },
      ];
    },
    value: (answers) =>
      answers.mode === 'access-point' ? 'access-point' : answers.dhcp ? 'lan' : 'existing',
    read: (text) =>
      text === 'access-point'
        ? { mode: 'access-point', dhcp: true }
        : { mode: 'lan', dhcp: text !== 'existing' },
  },
  {
    id: 'ssid',
    kind: 'text',
    question: 'What shall the Wi-Fi be called?',
    help: 'The name people see on their phones. Its passphrase is made at the first build.',
    paths: [['network', 'wifi', 'ssid']],
    when: (answers) => answers.mode === 'access-point',
    value: (answers) => answers.ssid,
    read: (text) => (text.trim() === '' ? 'give the Wi-Fi a name' : { ssid: text.trim() }),
  },
  {
    id: 'country',
    kind: 'text',
    question: 'In which country will it be used?',
    help: 'Two letters, e.g. KE, CD, UA: decides which radio channels are lawful.',
    paths: [['network', 'wifi', 'country']],
    when: (answers) => answers.mode === 'access-point',
    value: (answers) => answers.country,
    read: (text) => ({ country: text.trim().toUpperCase() }),
  },
  {
    id: 'address',
    kind: 'text',
    question: 'Which address shall the kit have?',
    help: 'It must be free in that network and outside the range its router gives out, e.g. 192.168.1.250/24.',
    paths: [
      ['network', 'address'],
      ['network', 'dhcp'],
    ],
    when: (answers) => answers.mode === 'lan' && !answers.dhcp,
    value: (answers) => answers.address,
    read: (text) => ({ address: text.trim() }),
  },
  {
    id: 'backup',
    kind: 'one',
    question: 'Daily backups?',
    help: 'Encrypted; the key stays with the profile. "commeshctl backup" pulls them to your machine.',
    paths: [],
    choices: () => [
      {
        value: 'on',
        label: 'Yes',
        note: 'onto a USB disk labelled COMMESH-BACKUP, or onto the card while there is none',
      },
      { value: 'off', label: 'No', note: 'what the card loses is lost' },
    ],
    value: (answers) => (answers.backup ? 'on' : 'off'),
    read: (text) => ({ backup: text === 'on' }),
  },
  {
    id: 'backup-at',
    kind: 'text',
    question: 'At what time?',
    help: 'Local time, when the kit is on and few people write: "02:30", or "12:30" where it is dark at night.',
    paths: [['backup']],
    when: (answers) => answers.backup,
    value: (answers) => answers.backupAt,
    read: (text) => ({ backupAt: text.trim() }),
  },
  {
    id: 'key',
    kind: 'one',
    question: 'Which SSH key may administer the kit?',
    help: "Besides the site's operator key, which is made at the first build and kept beside the profile.",
    paths: [['admin']],
    choices: (_answers, facts) => [
      ...facts.keys.map((key) => ({
        value: key.file,
        label: key.file,
        note: key.line.split(' ').slice(2).join(' ') || (key.line.split(' ')[0] ?? ''),
      })),
      { value: 'none', label: "Only the site's operator key" },
      { value: 'make', label: 'Make a new key in ~/.ssh', note: 'made when the profile is written' },
    ],
    value: ({ key }) => (key.kind === 'found' ? key.file : key.kind),
    read: (text, facts) => ({ key: keyFrom(text, facts) }),
  },
];

function keyFrom(text: string, facts: Facts): KeyChoice {
  const found = facts.keys.find((key) => key.file === text);
  if (found) return { kind: 'found', ...found };
  return text === 'make' ? { kind: 'make' } : { kind: 'none' };
}

/** Whether a diagnostic's path belongs to a step. */
export function belongs(step: Step, path: ProfilePath): boolean {
  return step.paths.some((own) => own.every((part, index) => path[index] === part));
}
