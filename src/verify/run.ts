import type { ProfilePath } from '../diagnostics/diagnostic.js';
import { CommeshError, InterruptedError, UsageError, WorkError } from '../diagnostics/errors.js';
import type { Host } from '../host/host.js';
import type { Ssh } from '../host/ssh.js';
import type { Plan } from '../plan/types.js';
import {
  type Check,
  type CheckContext,
  type CheckOptions,
  type SecretValues,
  type Undo,
  words,
} from './check.js';
import { deadline } from './deadline.js';
import type { Dialer } from './dialer.js';
import { offset, span } from './checks/clock.js';
import { AS_ROOT, gatherFacts } from './facts.js';
import { loadChecks } from './registry.js';
import type { CheckResult, CheckState, Report } from './types.js';

export interface VerifyInput {
  readonly plan: Plan;
  readonly secrets: SecretValues;
  /** The site CA's certificate, PEM. */
  readonly caPem: string;
  /** Connects to the kit. Given a signal, that one ends the connection instead of the host's. */
  ssh(signal?: AbortSignal): Promise<Ssh>;
  readonly dialer: Dialer;
  /** Called for each result as soon as it is known. */
  readonly onResult?: (result: CheckResult) => void;
  /** Kinds of checks to run; all of them when empty or missing. */
  readonly only?: readonly string[];
  readonly vantage?: 'inside' | 'outside';
  /** Longest time for one check, milliseconds. */
  readonly checkTimeoutMs?: number;
}

interface Job {
  readonly check: Check;
  readonly because: ProfilePath;
  readonly options: CheckOptions;
  readonly title: string;
}

const CHECK_TIMEOUT_MS = 240_000;
const UNDO_TIMEOUT_MS = 120_000;
/** How long a kit may take to start all services: the first time it makes its databases. Seconds. */
const START_SECONDS = 300;

/** Waits for a kit that has only just been switched on (systemctl(1), `is-system-running`); what does not start, the checks tell. */
async function untilStarted(host: Host, ssh: Ssh): Promise<void> {
  const { stdout } = await ssh.exec('systemctl is-system-running');
  if (!/^(?:initializing|starting)/.test(stdout)) return;
  host.emit({ type: 'log', level: 'info', text: 'the kit is still starting; waiting for it' });
  await ssh.exec(`timeout ${START_SECONDS} systemctl is-system-running --wait`, {
    timeoutMs: (START_SECONDS + 10) * 1000,
  });
}

/**
 * Runs the checks the plan asks for, side by side, and undoes whatever they made on the kit.
 * A check that cannot be carried out is a failure in the report, not an error.
 * @throws UsageError for unknown kinds in `only`; InterruptedError after Ctrl-C, once all is undone.
 */
export async function verify(host: Host, input: VerifyInput): Promise<Report> {
  const begin = host.now();
  const checks = await loadChecks();
  const jobs = select(checks, input);
  const results: CheckResult[] = [];
  const report = (result: CheckResult): void => {
    results.push(result);
    input.onResult?.(result);
  };
  const whole = deadline(null, host.signal);
  const session = createSession(host, input, jobs, whole.signal);

  try {
    const inside = jobs.filter(({ check }) => check.vantage === 'inside');
    let sshFault: unknown = null;
    if (inside.length > 0) {
      const from = host.now();
      try {
        await untilStarted(host, await session.ssh());
        report({
          id: 'ssh',
          title: 'the kit answers over SSH',
          state: 'pass',
          reason: 'it has the host key of this profile and accepts the operator',
          vantage: 'inside',
          because: ['admin'],
          milliseconds: host.now() - from,
        });
      } catch (error) {
        if (error instanceof InterruptedError) throw error;
        sshFault = error;
        report({
          id: 'ssh',
          title: 'the kit answers over SSH',
          state: 'fail',
          reason: words(error),
          ...(error instanceof CommeshError && error.hint !== undefined ? { hint: error.hint } : {}),
          vantage: 'inside',
          because: ['admin'],
          milliseconds: host.now() - from,
        });
      }
    }
    await Promise.all(
      jobs.map(async (job) => {
        const found =
          sshFault !== null && job.check.vantage === 'inside'
            ? [without(job)]
            : await runJob(host, session, job, input.checkTimeoutMs ?? CHECK_TIMEOUT_MS);
        for (const result of found) report(result);
      }),
    );
  } finally {
    for (const result of await session.undo()) report(result);
    whole.done();
  }
  if (host.signal.aborted) throw new InterruptedError();

  const order = new Map(jobs.map(({ check }, index) => [check.kind, index]));
  const rank = (result: CheckResult): number =>
    result.id === 'ssh' ? -1 : (order.get(result.id.split('/')[0] ?? '') ?? jobs.length);
  results.sort((a, b) => a.vantage.localeCompare(b.vantage) || rank(a) - rank(b));
  const counts: Record<CheckState, number> = { pass: 0, warn: 0, fail: 0, skip: 0 };
  for (const { state } of results) counts[state] += 1;
  const { site } = input.plan;
  return {
    format: 1,
    site: site.name,
    domain: site.domain,
    address: site.network.address,
    started: new Date(begin).toISOString(),
    milliseconds: host.now() - begin,
    counts,
    results,
  };
}

function select(checks: ReadonlyMap<string, Check>, input: VerifyInput): readonly Job[] {
  const jobs: Job[] = [];
  const asked = new Set<string>();
  for (const wish of input.plan.checks) {
    const check = checks.get(wish.kind);
    // The contract test of the services finds this; here it must not be passed over in silence.
    if (!check)
      throw new Error(`the service "${wish.service}" asks for a check "${wish.kind}" that does not exist`);
    asked.add(wish.kind);
    jobs.push({ check, because: wish.because, options: wish.options, title: wish.title });
  }
  for (const check of checks.values())
    if (check.always && !asked.has(check.kind))
      jobs.push({ check, because: [], options: {}, title: check.title });
  const only = input.only ?? [];
  const unknown = only.filter((kind) => !checks.has(kind));
  if (unknown.length > 0)
    throw new UsageError(`there is no check "${unknown[0]}"`, {
      hint: `checks: ${[...checks.keys()].join(', ')}`,
    });
  return jobs.filter(
    ({ check }) =>
      (only.length === 0 || only.includes(check.kind)) &&
      (input.vantage === undefined || input.vantage === check.vantage),
  );
}

function without({ check, because, title }: Job): CheckResult {
  return {
    id: check.kind,
    title,
    state: 'skip',
    reason: 'cannot be seen without SSH',
    vantage: check.vantage,
    because,
    milliseconds: 0,
  };
}

async function runJob(
  host: Host,
  session: Session,
  { check, because, options, title }: Job,
  timeoutMs: number,
): Promise<readonly CheckResult[]> {
  const from = host.now();
  host.emit({ type: 'begin', id: check.kind, title });
  const base = { vantage: check.vantage, because } as const;
  const limit = deadline(timeoutMs, session.interrupted);
  const ended = new Promise<never>((_, reject) => {
    limit.signal.addEventListener(
      'abort',
      () =>
        reject(
          host.signal.aborted
            ? new InterruptedError()
            : new Error(`no end after ${Math.round(timeoutMs / 1000)} seconds`),
        ),
      { once: true },
    );
  });
  try {
    const work = check.run(session.context(limit.signal), options);
    const findings = await Promise.race([work, ended]);
    const milliseconds = host.now() - from;
    const failed = findings.some(({ state }) => state === 'fail');
    host.emit({ type: 'end', id: check.kind, state: failed ? 'failed' : 'done', milliseconds });
    return findings.map(({ what, ...rest }) => ({
      ...base,
      ...rest,
      id: what === '' ? check.kind : `${check.kind}/${what}`,
      milliseconds,
    }));
  } catch (error) {
    const milliseconds = host.now() - from;
    host.emit({ type: 'end', id: check.kind, state: 'failed', milliseconds });
    if (host.signal.aborted) throw new InterruptedError();
    return [
      {
        ...base,
        id: check.kind,
        title,
        state: 'fail',
        reason: `this could not be checked: ${words(error)}`,
        ...(error instanceof CommeshError && error.hint !== undefined ? { hint: error.hint } : {}),
        milliseconds,
      },
    ];
  } finally {
    limit.done();
  }
}

interface Session {
  readonly interrupted: AbortSignal;
  ssh(): Promise<Ssh>;
  context(signal: AbortSignal): CheckContext;
  /** Runs what was registered for cleaning up; what could not be undone comes back as failures. */
  undo(): Promise<readonly CheckResult[]>;
}

function createSession(
  host: Host,
  input: VerifyInput,
  jobs: readonly Job[],
  interrupted: AbortSignal,
): Session {
  const shared = new Map<string, Promise<unknown>>();
  const actions: ((undo: Undo) => Promise<void>)[] = [];
  const once = <T>(key: string, make: () => Promise<T>): Promise<T> => {
    const known = shared.get(key);
    if (known) return known as Promise<T>;
    const made = make();
    made.catch(() => {});
    shared.set(key, made);
    return made;
  };
  const ssh = (): Promise<Ssh> => once('ssh', () => input.ssh());
  return {
    interrupted,
    ssh,
    context: (signal) => ({
      host,
      plan: input.plan,
      secrets: input.secrets,
      caPem: input.caPem,
      dialer: input.dialer,
      signal,
      interrupted,
      ssh,
      facts: () =>
        once('facts', async () => {
          const probes = jobs.flatMap(({ check, options }) =>
            check.probe ? [{ kind: check.kind, script: check.probe(input.plan, options) }] : [],
          );
          return gatherFacts(host, await ssh(), probes);
        }),
      once,
      cleanup: (action) => actions.push(action),
    }),
    async undo() {
      const failures: CheckResult[] = [];
      // Not the host's signal: undoing goes on after Ctrl-C.
      const limit = deadline(UNDO_TIMEOUT_MS);
      const { signal } = limit;
      let own: Promise<Ssh> | null = null;
      const undo: Undo = {
        signal,
        interrupted: host.signal.aborted,
        ssh: () => {
          if (!host.signal.aborted && shared.has('ssh')) return ssh();
          own ??= input.ssh(signal);
          return own;
        },
      };
      for (const action of actions.reverse()) {
        const from = host.now();
        try {
          await action(undo);
        } catch (error) {
          failures.push({
            id: 'cleanup',
            title: 'what verify made on the kit is removed',
            state: 'fail',
            reason: words(error),
            hint: 'run verify again: it removes what an earlier run left behind',
            vantage: 'inside',
            because: [],
            milliseconds: host.now() - from,
          });
        }
      }
      for (const connection of [own, shared.get('ssh') as Promise<Ssh> | undefined])
        (await connection?.catch(() => null))?.close();
      limit.done();
      return failures;
    },
  };
}

/**
 * Sets the kit's clock to this computer's, and its battery clock when it has one.
 * @returns how far it was off, in words.
 */
export async function setTime(host: Host, connect: () => Promise<Ssh>): Promise<string> {
  const ssh = await connect();
  try {
    const sent = host.now();
    const { code, stdout, stderr } = await ssh.exec(AS_ROOT, {
      // The fraction makes up for most of the way there.
      stdin: `date +%s.%N && date -u -s @${((host.now() + 100) / 1000).toFixed(3)} >&2 || exit 1
[ ! -x /usr/libexec/commesh/clock ] || /usr/libexec/commesh/clock save >&2`,
      timeoutMs: 30_000,
    });
    if (code !== 0)
      throw new WorkError(`the kit's clock could not be set: ${stderr.trim()}`, {
        hint: 'was the card built by this tool? The operator must be allowed to use sudo',
      });
    const was = offset(Number(stdout.trim().split('\n')[0]) * 1000, sent, host.now());
    return was === 0 ? 'right' : `${span(was)} ${was > 0 ? 'ahead' : 'behind'}`;
  } finally {
    ssh.close();
  }
}
