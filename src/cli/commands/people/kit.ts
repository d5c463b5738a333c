import { PassThrough } from 'node:stream';
import { createInterface } from 'node:readline';
import { WorkError } from '../../../diagnostics/errors.js';
import { timed, type Host } from '../../../host/host.js';
import type { Ssh } from '../../../host/ssh.js';
import type { Plan } from '../../../plan/types.js';

/** Where a chat service puts the program that looks after its accounts, on the kit. */
const FOLDER = '/usr/libexec/commesh/people.d/';
const HOUR_MS = 3_600_000;

export type Verb = 'add' | 'invite' | 'reset' | 'remove';

/** What the kit is to do for one person. Holds a secret: goes to the kit by standard input, and nowhere else. */
export interface Order {
  readonly name: string | null;
  readonly display?: string;
  readonly admin?: boolean;
  readonly password?: string;
  /** invite: what the person types when the service has no links. */
  readonly word?: string;
}

/** What became of an order. */
export interface Outcome {
  readonly name: string | null;
  /**
   * done. exists: the name is taken. removed: it was given to somebody whose account was removed. unknown: there is nobody of
   * that name. refused: `why`.
   */
  readonly state: 'done' | 'exists' | 'removed' | 'unknown' | 'refused';
  readonly address?: string;
  readonly why?: string;
  /** invite: a link to open, or a word to type. */
  readonly link?: string;
  readonly word?: string;
  /** invite: until when, seconds since 1970. */
  readonly expires?: number;
}

/** An account as a service lists it. */
export interface Account {
  readonly name: string;
  readonly address: string;
  readonly admin: boolean;
  readonly display?: string;
  /** Seconds since 1970. */
  readonly created?: number;
  readonly seen?: number;
}

/** The chat services of a kit that have accounts, by what the plan puts on it. */
export function chatServices(plan: Pick<Plan, 'files'>): readonly string[] {
  return plan.files
    .filter(({ path }) => path.startsWith(FOLDER))
    .map(({ path }) => path.slice(FOLDER.length))
    .toSorted();
}

/** The accounts of a service. @throws WorkError in the kit's words. */
export async function listAccounts(ssh: Ssh, service: string): Promise<readonly Account[]> {
  const { code, stdout, stderr } = await ssh.exec(`sudo -n ${FOLDER}${service} list`, { timeoutMs: HOUR_MS });
  if (code !== 0) throw failure(service, stderr);
  return (JSON.parse(stdout) as { people: readonly Account[] }).people;
}

/**
 * Has a service carry out orders, one after the other. Outcomes go to `onOutcome` as they come, so that they are known even when the
 * connection breaks or somebody presses Ctrl-C.
 * @throws WorkError in the kit's words; SshError; InterruptedError.
 */
export async function carryOut(
  host: Host,
  ssh: Ssh,
  service: string,
  verb: Verb,
  orders: readonly Order[],
  onOutcome: (outcome: Outcome) => void,
): Promise<void> {
  const id = `people-${service}`;
  await timed(host, id, `${TITLES[verb]} (${service})`, async () => {
    const stdout = new PassThrough();
    // A connection that breaks may write after its end; its own error is the one to tell.
    stdout.on('error', () => {});
    let done = 0;
    const reading = (async () => {
      for await (const line of createInterface({ input: stdout, crlfDelay: Infinity })) {
        onOutcome(JSON.parse(line) as Outcome);
        done += 1;
        host.emit({ type: 'progress', id, done, total: orders.length, unit: 'items' });
      }
    })();
    reading.catch(() => {});
    try {
      const { code, stderr } = await ssh.exec(`sudo -n ${FOLDER}${service} ${verb}`, {
        stdin: JSON.stringify({ people: orders }),
        stdout,
        timeoutMs: HOUR_MS,
      });
      if (code !== 0) throw failure(service, stderr);
    } finally {
      stdout.end();
      await reading;
    }
    if (done !== orders.length)
      throw new WorkError(`${service} on the kit answered for ${done} of ${orders.length} people only`);
  });
}

const TITLES: Readonly<Record<Verb, string>> = {
  add: 'make accounts',
  invite: 'make invitations',
  reset: 'set new passphrases',
  remove: 'remove accounts',
};

function failure(service: string, stderr: string): WorkError {
  const said = stderr.trim().split('\n').at(-1) ?? '';
  if (/sudo: .*command not found/.test(said))
    return new WorkError(`the kit has no program for the accounts of ${service}`, {
      hint: 'the card was built from another profile, or by an older commeshctl: build and flash it again',
    });
  return new WorkError(said === '' ? `${service} on the kit gave no reason` : said, {
    hint: '"commeshctl verify" looks at the kit\'s services',
  });
}
