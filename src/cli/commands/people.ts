import { constants } from 'node:fs';
import { access, lstat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { UsageError, WorkError } from '../../diagnostics/errors.js';
import { writeAtomic } from '../../host/files.js';
import { makePassphrase } from '../../pki/secrets.js';
import type { Cli } from '../context.js';
import { table } from '../output/table.js';
import { withKit, type KitOptions } from './backup.js';
import { cardsHtml, dateOf, type Card } from './people/cards.js';
import {
  carryOut,
  chatServices,
  listAccounts,
  type Account,
  type Order,
  type Outcome,
} from './people/kit.js';
import { namedPeople, type Named } from './people/names.js';
import { loadProject } from './project.js';

export type Action = 'add' | 'list' | 'invite' | 'reset' | 'remove';

export interface PeopleOptions extends KitOptions {
  readonly action: Action;
  readonly names: readonly string[];
  /** A list of names: one in each line, or CSV. */
  readonly from?: string;
  /** One chat service; all of the kit when missing. */
  readonly service?: string;
  /** add: they look after the chat server. */
  readonly admin?: boolean;
  /** invite: how many, when no names are given. */
  readonly number?: number;
  /** A sheet of cards to write instead of printing passphrases. */
  readonly cards?: string;
}

/** What is known of one person after the run. */
interface Result {
  readonly name: string | null;
  readonly display?: string;
  /** Only when a service took it. */
  readonly passphrase?: string;
  readonly accounts: readonly ({ readonly service: string } & Omit<Outcome, 'name'>)[];
}

/** Four words: 42 bits, and the server counts who tries. */
const PASSPHRASE_WORDS = 4;

/**
 * `commeshctl people ACTION [NAME…] --profile FILE`: accounts of the chat services over SSH. Passphrases are made here, go to the kit
 * by standard input, and are printed once or written to a sheet of cards. Gives the exit code: 1 when somebody was left out.
 */
export async function runPeople(cli: Cli, options: PeopleOptions): Promise<number> {
  cli.concerns(options.profile);
  refuseOddOptions(options);
  const { plan } = await loadProject(options.profile);
  const services = chosenServices(chatServices(plan), options.service);
  if (options.action === 'list') return list(cli, options, services, plan.site.timezone);

  const people = await namedPeople(options.names, options.from);
  const wanted: readonly (Named | { readonly name: null })[] =
    options.action === 'invite' && people.length === 0
      ? Array.from({ length: options.number ?? 1 }, () => ({ name: null }))
      : people;
  if (wanted.length === 0)
    throw new UsageError(`"people ${options.action}" needs a name`, {
      hint: `for example: commeshctl people ${options.action} anna ben --profile ${options.profile}`,
    });
  if (options.cards !== undefined) await refuseBadSheet(options.cards);

  const action = options.action;
  const orders = wanted.map((person): Order => ({
    ...person,
    ...(action === 'add' && options.admin === true ? { admin: true } : {}),
    ...(action === 'add' || action === 'reset'
      ? { password: makePassphrase(cli.host, PASSPHRASE_WORDS) }
      : {}),
    ...(action === 'invite' ? { word: makePassphrase(cli.host, PASSPHRASE_WORDS) } : {}),
  }));
  const accounts = orders.map((): Result['accounts'][number][] => []);
  let failure: { readonly error: unknown } | null = null;
  try {
    await withKit(cli, options, async (ssh) => {
      for (const service of services) {
        let next = 0;
        await carryOut(cli.host, ssh, service, action, orders, ({ name: _name, ...outcome }) => {
          accounts[next]?.push({ service, ...outcome });
          next += 1;
        });
      }
    });
  } catch (error) {
    failure = { error };
  }

  const results = orders.map(({ name, display, password }, index): Result => {
    const own = accounts[index] ?? [];
    const done = own.some(({ state }) => state === 'done');
    return {
      name,
      ...(display === undefined ? {} : { display }),
      ...(password !== undefined && done ? { passphrase: password } : {}),
      accounts: own,
    };
  });
  await hand(cli, options, plan.site, results);
  return settle(cli, action, services, results, failure);
}

function refuseOddOptions({ action, names, from, admin, number, cards }: PeopleOptions): void {
  const odd = (option: string, belongs: string): never => {
    throw new UsageError(`${option} means nothing to "people ${action}"; it belongs to ${belongs}`);
  };
  if (admin === true && action !== 'add') odd('--admin', '"people add"');
  if (number !== undefined && action !== 'invite') odd('--number', '"people invite"');
  if (cards !== undefined && (action === 'list' || action === 'remove'))
    odd('--cards', '"people add", "people invite" and "people reset"');
  if (action === 'list' && (names.length > 0 || from !== undefined))
    throw new UsageError('"people list" takes no names; it lists everybody');
  if (number !== undefined && (names.length > 0 || from !== undefined))
    throw new UsageError('--number is for invitations without names; give one or the other');
}

/** The services to work on. @throws UsageError when the profile has none, or not the one that is asked for. */
function chosenServices(there: readonly string[], asked: string | undefined): readonly string[] {
  if (there.length === 0)
    throw new UsageError('this profile has no chat service, so there are no accounts', {
      hint: 'the profile\'s "services:" names what the kit offers; "commeshctl services" lists what there is',
    });
  if (asked === undefined) return there;
  if (!there.includes(asked))
    throw new UsageError(`this profile has no chat service "${asked}"`, {
      hint: `it has: ${there.join(', ')}`,
    });
  return [asked];
}

/** Found out before anybody has an account: passphrases that cannot be written are lost. */
async function refuseBadSheet(path: string): Promise<void> {
  if ((await lstat(path).catch(() => null)) !== null)
    throw new UsageError(`${path} exists already`, {
      hint: 'it may hold passphrases that are nowhere else; name another file',
    });
  await access(dirname(path), constants.W_OK).catch((error: unknown) => {
    throw new UsageError(`cards cannot be written to ${dirname(path)}`, {
      hint: 'name a file in a folder that is there and that you may write to',
      cause: error,
    });
  });
}

/** Gives out what the volunteer hands over: only what the kit has taken, all of it, also when the rest failed. */
async function hand(
  cli: Cli,
  { action, cards }: PeopleOptions,
  site: { title: string; domain: string; languages: readonly string[]; timezone: string },
  results: readonly Result[],
): Promise<void> {
  const done = results.filter(({ accounts }) => accounts.some(({ state }) => state === 'done'));
  if (cards !== undefined && done.length > 0) {
    const sheet = { ...site, cards: done.map(cardOf) };
    await writeAtomic(cards, cardsHtml(sheet), 0o600).catch((error: unknown) => {
      throw new WorkError(`the cards could not be written to ${cards}, and their passphrases are lost`, {
        hint: '"commeshctl people reset" with the same names sets new ones; "commeshctl people list" shows who is there',
        cause: error,
      });
    });
  }
  if (cli.flags.json) {
    const shown = cards === undefined ? results : results.map(withoutSecrets);
    cli.out(JSON.stringify({ people: shown, ...(cards === undefined ? {} : { cards }) }, null, 2));
    return;
  }
  if (done.length === 0) return;
  if (cards !== undefined) {
    cli.out(
      `${done.length === 1 ? 'One card is' : `${done.length} cards are`} in ${cards}, readable by you only.\n` +
        'Print it, cut it, hand the cards out, and delete the file: whoever reads it is them.',
    );
    return;
  }
  const rows = done.flatMap((result) =>
    result.accounts
      .filter(({ state }) => state === 'done')
      .map((account) => rowOf(action, result, account, site.timezone)),
  );
  cli.out(table(rows));
}

function rowOf(
  action: Action,
  { name, passphrase }: Result,
  { address, link, word, expires }: Result['accounts'][number],
  timezone: string,
): readonly string[] {
  if (action === 'invite')
    return [
      ...(name === null ? [] : [name]),
      link ?? `token: ${word ?? ''}`,
      expires === undefined ? '' : `until ${dateOf(expires, timezone)}`,
    ];
  return [name ?? '', address ?? '', ...(action === 'remove' ? ['removed'] : [passphrase ?? ''])];
}

function cardOf({ name, display, passphrase, accounts }: Result): Card {
  const done = accounts.filter(({ state }) => state === 'done');
  const expires = done.flatMap((account) => account.expires ?? []);
  return {
    name,
    ...(display === undefined ? {} : { display }),
    addresses: done.flatMap(({ address }) => address ?? []),
    ...(passphrase === undefined ? {} : { passphrase }),
    links: done.flatMap(({ link }) => link ?? []),
    words: done.flatMap(({ word }) => word ?? []),
    ...(expires.length === 0 ? {} : { expires: Math.min(...expires) }),
  };
}

function withoutSecrets({ passphrase: _passphrase, accounts, ...rest }: Result): Result {
  return { ...rest, accounts: accounts.map(({ link: _link, word: _word, ...account }) => account) };
}

const WORDS_FOR: Readonly<Record<Exclude<Outcome['state'], 'done'>, string>> = {
  exists: 'the name is taken; nothing was changed',
  removed: 'an account of this name was removed, and Matrix never gives a name out again; choose another one',
  unknown: 'there is nobody of this name',
  refused: 'refused',
};

/** Says who was left out and why, and gives the exit code; throws what broke the run off. */
function settle(
  cli: Cli,
  action: Action,
  services: readonly string[],
  results: readonly Result[],
  failure: { readonly error: unknown } | null,
): number {
  const faults = results.flatMap(({ name, accounts }) =>
    accounts
      .filter(({ state }) => state !== 'done')
      .map(
        ({ service, state, why }) =>
          `${name ?? 'an invitation'} (${service}): ${why ?? (state === 'done' ? '' : WORDS_FOR[state])}`,
      ),
  );
  for (const fault of faults) cli.say(fault);
  if (failure === null) return faults.length > 0 ? 1 : 0;
  const open = results.filter(({ accounts }) => accounts.length < services.length);
  const [first] = open;
  if (first !== undefined && open.length < results.length)
    cli.say(
      `Done: ${results.length - open.length} of ${results.length}. Not done: ${open.map(({ name }) => name ?? 'an invitation').join(', ')}.`,
    );
  if (first !== undefined && first.name !== null && (action === 'add' || action === 'reset'))
    cli.say(
      `It is not known how far the kit came with ${first.name}: "commeshctl people list" shows who is there, "commeshctl people reset ${first.name}" sets a new passphrase.`,
    );
  throw failure.error;
}

async function list(
  cli: Cli,
  options: PeopleOptions,
  services: readonly string[],
  timezone: string,
): Promise<number> {
  const found = await withKit(cli, options, async (ssh) => {
    const all: { service: string; people: readonly Account[] }[] = [];
    for (const service of services) all.push({ service, people: await listAccounts(ssh, service) });
    return all;
  });
  if (cli.flags.json) {
    cli.out(JSON.stringify(found, null, 2));
    return 0;
  }
  const rows = found.flatMap(({ people }) =>
    people.map(({ address, admin, display, created }) => [
      address,
      display ?? '',
      admin ? 'administrator' : '',
      created === undefined ? '' : `since ${dateOf(created, timezone)}`,
    ]),
  );
  cli.out(rows.length === 0 ? 'Nobody has an account yet.' : table(rows));
  return 0;
}
