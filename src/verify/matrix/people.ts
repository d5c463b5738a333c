import { WorkError } from '../../diagnostics/errors.js';
import { tail } from '../../host/host.js';
import type { Ssh } from '../../host/ssh.js';
import type { CheckContext } from '../check.js';
import { isObject, type MatrixRoute, type MatrixSession, openMatrix } from '../clients/matrix.js';
import { AS_ROOT } from '../facts.js';
import { PREFIX } from '../people.js';

/** Makes and removes accounts of the Matrix server on the kit: a verb, JSON in, JSON out. */
const PEOPLE = '/usr/libexec/commesh/people.d/synapse';

export interface MatrixPerson {
  readonly login: { readonly name: string; readonly password: string };
  readonly session: MatrixSession;
}

export interface MatrixPeople {
  readonly anna: MatrixPerson;
  readonly ben: MatrixPerson;
  /** Accounts of earlier, aborted runs that were removed. */
  readonly leftovers: readonly string[];
  /** What is to be removed with the accounts. */
  readonly made: Made;
}

interface Made {
  readonly names: Set<string>;
  readonly rooms: Set<string>;
  readonly media: Set<string>;
}

async function ask(ssh: Ssh, verb: string, input: object): Promise<unknown> {
  const { code, stdout, stderr } = await ssh.exec(AS_ROOT, {
    stdin: `exec ${PEOPLE} ${verb} <<'@@'\n${JSON.stringify(input)}\n@@\n`,
    timeoutMs: 110_000,
  });
  if (code !== 0)
    throw new WorkError(`${PEOPLE} ${verb} on the kit: ${tail(stderr || stdout, 3) || `exit code ${code}`}`, {
      hint: 'is the Matrix server running? See the services above',
    });
  try {
    return JSON.parse(stdout) as unknown;
  } catch {
    throw new WorkError(`${PEOPLE} ${verb} on the kit did not answer with JSON: ${tail(stdout, 2)}`);
  }
}

const own = new RegExp(`^${PREFIX}[0-9a-f]{10}$`);

function entries(answer: unknown): readonly { name: string; password: string }[] {
  const list = Array.isArray(answer) ? (answer as unknown[]) : isObject(answer) ? answer['people'] : [];
  return (Array.isArray(list) ? (list as unknown[]) : []).flatMap((entry) =>
    isObject(entry) ? [{ name: String(entry['name']), password: String(entry['password'] ?? '') }] : [],
  );
}

/**
 * Two people with temporary accounts, logged in. Made once and shared by the checks; the accounts, and the rooms and
 * files noted in `made`, are removed after all checks, whatever happens.
 */
export function matrixPeople(context: CheckContext, route: MatrixRoute): Promise<MatrixPeople> {
  return context.once('matrix-people', async () => {
    const made: Made = { names: new Set(), rooms: new Set(), media: new Set() };
    let asked = false;
    context.cleanup(async (undo) => {
      if (!asked) return;
      const ssh = await undo.ssh();
      // Accounts whose making was interrupted are known by their names only.
      const names = new Set([...made.names, ...(await leftOf(ssh))]);
      if (names.size > 0)
        await ask(ssh, 'tidy', { names: [...names], rooms: [...made.rooms], media: [...made.media] });
    });
    const ssh = await context.ssh();
    const leftovers = await leftOf(ssh);
    if (leftovers.length > 0) await ask(ssh, 'tidy', { names: leftovers, rooms: [], media: [] });
    asked = true;
    const [one, two] = entries(await ask(ssh, 'temporary', { count: 2 }));
    if (!one || !two) throw new WorkError('the kit did not make two temporary accounts');
    for (const { name } of [one, two]) made.names.add(name);
    const join = async (login: typeof one): Promise<MatrixPerson> => ({
      login,
      session: await openMatrix(route, login),
    });
    const [anna, ben] = await Promise.all([join(one), join(two)]);
    return { anna, ben, leftovers, made };
  });
}

async function leftOf(ssh: Ssh): Promise<readonly string[]> {
  return entries(await ask(ssh, 'list', {}))
    .map(({ name }) => name)
    .filter((name) => own.test(name));
}

/** Removes an account that should not have come to be. */
export async function removeStranger(context: CheckContext, name: string): Promise<void> {
  context.cleanup(async (undo) => {
    await ask(await undo.ssh(), 'tidy', { names: [name], rooms: [], media: [] });
  });
}
