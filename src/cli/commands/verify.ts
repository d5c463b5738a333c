import { readFile } from 'node:fs/promises';
import { UsageError } from '../../diagnostics/errors.js';
import { writeAtomic } from '../../host/files.js';
import type { Host } from '../../host/host.js';
import { connectSsh, type Ssh } from '../../host/ssh.js';
import { readIdentity } from '../../pki/identity.js';
import { ADMIN_USER } from '../../services/contract.js';
import { createDialer, type Dialer } from '../../verify/dialer.js';
import { setTime, verify } from '../../verify/run.js';
import type { CheckResult, Forwards, Report } from '../../verify/types.js';
import type { Cli } from '../context.js';
import { reportJson, reportText } from '../output/report.js';
import { createTheme } from '../output/theme.js';
import { loadProject } from './project.js';

export interface VerifyOptions {
  /** Path of the profile the kit was built from; its secrets lie beside it. */
  readonly profile: string;
  /** Address or name to reach the kit at; the site's own address when missing. */
  readonly hostname?: string;
  /** A file with a `Forwards` object, as `try` writes one. */
  readonly forwards?: string;
  /** Writes `<name>.json` and `<name>.txt`. */
  readonly report?: string;
  /** Kinds of checks. */
  readonly only?: readonly string[];
  readonly vantage?: 'inside' | 'outside';
  /** Sets the kit's clock to this computer's before checking. */
  readonly setTime?: boolean;
}

/**
 * Checks a running kit against its profile and prints the report. Gives the exit code: 0 when nothing failed.
 * @throws CommeshError for a wrong profile, missing secrets, or Ctrl-C (after removing what was made on the kit).
 */
export async function runVerify(cli: Cli, options: VerifyOptions): Promise<number> {
  cli.concerns(options.profile);
  const { host } = cli;
  const forwards = options.forwards === undefined ? undefined : await readForwards(options.forwards);
  const { plan, profile } = await loadProject(options.profile);
  const { caPem, secrets } = await readIdentity(host, options.profile);
  const dialer = createDialer(options.hostname ?? plan.site.network.address, forwards);
  const values = { value: (id: string) => (secrets.ids().includes(id) ? secrets.value(id) : undefined) };
  const ssh = (signal?: AbortSignal): Promise<Ssh> => connectKit(host, dialer, secrets, signal);

  if (options.setTime === true) cli.say(`The kit's clock has been set; it was ${await setTime(host, ssh)}.`);
  const found = await verify(host, {
    plan,
    secrets: values,
    caPem,
    ssh,
    dialer,
    ...(options.only === undefined ? {} : { only: options.only }),
    ...(options.vantage === undefined ? {} : { vantage: options.vantage }),
  });
  const report = withoutSecrets(found, (text) => secrets.redact(text));

  const text = reportText(report, createTheme(false), profile.locate);
  const json = reportJson(report, profile.locate);
  if (options.report !== undefined) {
    const base = options.report.replace(/\.(json|txt)$/, '');
    await writeAtomic(`${base}.json`, json);
    await writeAtomic(`${base}.txt`, `${text}\n`);
    cli.say(`The report is in ${base}.txt and ${base}.json.`);
  }
  cli.out(cli.flags.json ? json : `${reportText(report, cli.theme, profile.locate)}\n`);
  return report.counts.fail > 0 ? 1 : 0;
}

/** Connects to the kit as its operator, with the host key of the site's secrets. */
export function connectKit(
  host: Host,
  dialer: Dialer,
  secrets: { value(id: string): string },
  signal?: AbortSignal,
): Promise<Ssh> {
  const { host: hostname, port } = dialer.tcp(SSH_PORT);
  return connectSsh(host, {
    hostname,
    port,
    user: ADMIN_USER,
    privateKey: secrets.value('ssh-operator'),
    hostKeyPublic: secrets.value('ssh-host.pub'),
    ...(signal === undefined ? {} : { signal }),
  });
}

const SSH_PORT = 22;

/** Programs may say a secret in their last words; the report is handed over with the kit. */
function withoutSecrets(report: Report, redact: (text: string) => string): Report {
  return {
    ...report,
    results: report.results.map((result): CheckResult => ({
      ...result,
      id: redact(result.id),
      reason: redact(result.reason),
      ...(result.hint === undefined ? {} : { hint: redact(result.hint) }),
    })),
  };
}

/** Reads a `Forwards` file. @throws UsageError when it is none. */
export async function readForwards(path: string): Promise<Forwards> {
  let value: Partial<Forwards>;
  try {
    value = JSON.parse(await readFile(path, 'utf8')) as Partial<Forwards>;
  } catch (error) {
    throw new UsageError(`the file with the forwarded ports cannot be read: ${path}`, {
      hint: '"commeshctl try" writes one and says where',
      cause: error,
    });
  }
  const ports = (table: unknown): boolean =>
    typeof table === 'object' &&
    table !== null &&
    Object.entries(table).every(([port, to]) => /^\d+$/.test(port) && Number.isInteger(to));
  if (typeof value.address !== 'string' || !ports(value.tcp) || !ports(value.udp))
    throw new UsageError(`${path} does not hold forwarded ports`, {
      hint: 'it looks like {"address": "127.0.0.1", "tcp": {"22": 2222}, "udp": {"53": 5353}}',
    });
  return value as Forwards;
}
