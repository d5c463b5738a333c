import { resolve } from 'node:path';
import { readTextIfThere } from '../../host/files.js';
import { runOnTerminal } from '../../host/terminal.js';
import { WorkError } from '../../diagnostics/errors.js';
import { counted } from '../../diagnostics/text.js';
import type { Cli } from '../context.js';
import { commandText } from '../output/errors.js';
import { table } from '../output/table.js';
import { examine, freeIdStart, IDS_NEEDED, parseIdRanges, userName, type Finding } from './doctor/checks.js';

export interface DoctorOptions {
  readonly install: boolean;
}

/** Another apt may be at work, e.g. the machine's own updates: wait for it (seconds). */
const WAIT = ['-o', 'DPkg::Lock::Timeout=300'] as const;

/** Says what this machine lacks; with `install`, gets it. Exit code 1 when building an image cannot work. */
export async function runDoctor(cli: Cli, options: DoctorOptions): Promise<number> {
  let findings = await examine(cli.host, process.cwd(), resolve(cli.flags.cache));
  if (options.install) {
    if (await mend(cli, findings))
      findings = await examine(cli.host, process.cwd(), resolve(cli.flags.cache));
    else cli.say('Nothing to install.');
  }
  const failed = findings.filter((finding) => finding.state === 'fail');
  const warned = findings.filter((finding) => finding.state === 'warn');
  if (cli.flags.json) {
    cli.out(JSON.stringify({ format: 1, ok: failed.length === 0, findings }, null, 2));
  } else {
    cli.out(findingsText(findings, cli));
    cli.out(
      failed.length === 0
        ? `\nThis machine can build images${warned.length > 0 ? ` (${counted(warned.length, 'remark')} above)` : ''}.`
        : `\nThis machine cannot build images yet: ${counted(failed.length, 'thing')} missing.${options.install ? '' : ' "commeshctl doctor --install" gets what can be installed.'}`,
    );
  }
  return failed.length === 0 ? 0 : 1;
}

function findingsText(findings: readonly Finding[], { theme }: Cli): string {
  const marks = { pass: theme.green('ok'), warn: theme.yellow('!!'), fail: theme.red('NO') };
  return table(
    findings.map((finding) => [
      marks[finding.state],
      finding.title,
      finding.hint === undefined ? finding.reason : `${finding.reason}; ${theme.bold(finding.hint)}`,
    ]),
  );
}

/** Installs what is missing. False when there was nothing to do. */
async function mend(cli: Cli, findings: readonly Finding[]): Promise<boolean> {
  const wanted = findings.filter((finding) => finding.state !== 'pass');
  const packages = [...new Set(wanted.flatMap((finding) => finding.package ?? []))].sort();
  const ranges = wanted.filter((finding) => finding.id === 'subuid' || finding.id === 'subgid');
  const commands: (readonly string[])[] = [];
  if (packages.length > 0) {
    const apt = await cli.host.exec(['apt-get', '--version'], { allowFailure: true }).catch(() => null);
    if (apt === null)
      throw new WorkError('this machine has no apt', {
        hint: `install by hand what these packages of Debian bring: ${packages.join(' ')}`,
      });
    commands.push(['apt-get', ...WAIT, 'update']);
    commands.push(['apt-get', ...WAIT, 'install', '--yes', '--no-install-recommends', ...packages]);
  }
  if (ranges.length > 0) {
    const user = userName(cli.host);
    for (const [id, file, flag] of [
      ['subuid', '/etc/subuid', '--add-subuids'],
      ['subgid', '/etc/subgid', '--add-subgids'],
    ] as const) {
      if (!ranges.some((finding) => finding.id === id)) continue;
      const start = freeIdStart(parseIdRanges((await readTextIfThere(file)) ?? ''));
      // usermod(8) refuses the flag as long as the file does not exist.
      commands.push(['touch', file]);
      commands.push(['usermod', flag, `${start}-${start + IDS_NEEDED - 1}`, user]);
    }
  }
  if (commands.length === 0) return false;
  const root = cli.host.uid === 0;
  const full = commands.map((command) => (root ? command : ['sudo', ...command]));
  cli.say(['This will be run:', ...full.map((command) => `  ${commandText(command)}`)].join('\n'));
  for (const command of full) {
    if (cli.host.signal.aborted) return true;
    const code = await runOnTerminal(
      root && command[0] === 'apt-get' ? ['env', 'DEBIAN_FRONTEND=noninteractive', ...command] : command,
    );
    if (code !== 0) {
      const hint =
        command.includes('update') || command.includes('install')
          ? 'look at what apt said above; "apt-get update" must work on this machine'
          : 'run the line yourself and see what it says';
      throw new WorkError(`"${commandText(command)}" failed (exit code ${code})`, { hint });
    }
  }
  return true;
}
