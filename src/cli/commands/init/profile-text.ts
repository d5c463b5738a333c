import { stringify } from 'yaml';
import type { Answers } from './answers.js';

/** A text as a YAML scalar on one line, in quotation marks where YAML would read something else. */
function scalar(text: string): string {
  return stringify(text, { lineWidth: 0, defaultStringType: 'PLAIN', defaultKeyType: 'PLAIN' }).trimEnd();
}

const quoted = (text: string): string => JSON.stringify(text);

/**
 * The answers as a commented profile. Pure: the same answers give the same bytes.
 * @param madeKey public key that was made for the answer `make`.
 * @param offered services the profile could ask for, in order.
 */
export function profileText(
  answers: Answers,
  offered: readonly { readonly id: string; readonly title: string }[],
  madeKey?: string,
): string {
  const key =
    answers.key.kind === 'found' ? answers.key.line : answers.key.kind === 'make' ? madeKey : undefined;
  const lines = [
    '# Site profile for commeshctl. Change what you like, then: commeshctl check <this file>',
    '# Lines with # in front are explanations, or settings with their usual value.',
    '',
    'site:',
    '  # Short name: part of host names and file names. Everything of this site is named after it.',
    `  name: ${scalar(answers.name)}`,
    '  # The name as people say it; shown on the join page.',
    `  title: ${scalar(answers.title)}`,
    `  # domain: ${answers.name}.home.arpa`,
    '  # Languages of the place, the main one first.',
    `  languages: [${answers.languages.map(scalar).join(', ')}]`,
    `  timezone: ${scalar(answers.timezone)}`,
    '',
    '# zero2w, pi3, pi4, pi5 or pc (any old 64-bit PC).',
    `board: ${answers.board}`,
    '# How many people the kit is for; memory, addresses and limits follow from it.',
    `people: ${answers.people}`,
    '',
    'network:',
    ...networkLines(answers),
    '',
    'admin:',
    '  # Public SSH keys that may log in as "kit". The site\'s own operator key, made at the first build and kept',
    '  # in the .secrets folder beside this file, may always.',
    ...(key === undefined ? ['  keys: []'] : ['  keys:', `    - ${scalar(key)}`]),
    '',
    ...backupLines(answers),
    '',
    '# What the kit offers. "true" takes all defaults; "commeshctl services" lists the settings.',
    ...(offered.length === 0 ? ['services: {}'] : ['services:']),
    ...offered.flatMap((service) => [
      `  # ${service.title}`,
      `  ${service.id}: ${answers.services.includes(service.id)}`,
    ]),
    '',
  ];
  return lines.join('\n');
}

function networkLines(answers: Answers): readonly string[] {
  const address = `  address: ${answers.address}`;
  if (answers.mode === 'access-point') {
    return [
      '  # The kit makes its own Wi-Fi; its network sockets belong to the same network.',
      '  mode: access-point',
      "  # The kit's own address, with the length of the network part.",
      address,
      '  wifi:',
      `    ssid: ${scalar(answers.ssid)}`,
      '    # Country the kit is used in: decides which radio channels are lawful.',
      `    country: ${quoted(answers.country)}`,
      '    # Left out, a passphrase is made at the first build and kept beside this file.',
      '    # passphrase: four plain words here',
    ];
  }
  return answers.dhcp
    ? [
        '  # The kit is plugged into a Wi-Fi router or a switch and gives out the addresses. Switch off DHCP on the',
        '  # router, and put the cable into one of its LAN sockets, not into the one marked WAN or Internet.',
        '  mode: lan',
        address,
        '  dhcp: true',
      ]
    : [
        '  # The kit joins a network that gives out its own addresses. This one must be free there, and must lie',
        '  # outside the range the router gives out.',
        '  mode: lan',
        address,
        '  dhcp: false',
      ];
}

function backupLines(answers: Answers): readonly string[] {
  if (!answers.backup) return ['# No backups: what the card loses is lost.', 'backup: false'];
  return [
    '# Daily, encrypted: onto a USB disk labelled COMMESH-BACKUP when one is plugged in, onto the card otherwise.',
    'backup:',
    '  # Local time of the kit.',
    `  at: ${quoted(answers.backupAt)}`,
    '  # keep: { daily: 7, weekly: 4, monthly: 6 }',
  ];
}
