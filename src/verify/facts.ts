import { WorkError } from '../diagnostics/errors.js';
import type { Host } from '../host/host.js';
import { tail } from '../host/host.js';
import type { Ssh } from '../host/ssh.js';

/** What the probes of the inside checks printed. */
export interface Facts {
  /** Output of one part (`part name` in the probe) of a check's probe; empty when it printed nothing. */
  of(kind: string, part: string): string;
  /** This computer's clock before and after the script ran, ms since 1970. */
  readonly from: number;
  readonly to: number;
}

export interface Probe {
  readonly kind: string;
  /** Shell lines (POSIX sh, as root). `part NAME` begins a part of the output. */
  readonly script: string;
}

const PROBE_TIMEOUT_MS = 90_000;

/** Text as one word of a POSIX shell. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** A command line that runs the shell script on its standard input as root, whoever logs in. */
export const AS_ROOT = 'if [ "$(id -u)" = 0 ]; then exec sh -s; else exec sudo -n sh -s; fi';

/**
 * Runs all probes as one script in one round trip: an emulated or small kit is slow to log in to.
 * A probe that fails leaves its parts empty; that is for its check to judge.
 */
export async function gatherFacts(host: Host, ssh: Ssh, probes: readonly Probe[]): Promise<Facts> {
  // Nothing a probe prints can look like this line.
  const mark = `@@${host.random(8).toString('hex')}`;
  const script = [
    'export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"',
    `part() { printf '\\n${mark} %s %s\\n' "$kind" "$1"; }`,
    ...probes.map(({ kind, script }) => `kind=${quote(kind)}\n(\n${script}\n) 2>/dev/null </dev/null`),
    `printf '\\n${mark} end end\\n'`,
    '',
  ].join('\n');
  const from = host.now();
  const { code, stdout, stderr } = await ssh.exec(AS_ROOT, { stdin: script, timeoutMs: PROBE_TIMEOUT_MS });
  const to = host.now();
  const parts = new Map<string, string>();
  for (const block of stdout.split(`\n${mark} `).slice(1)) {
    const end = block.indexOf('\n');
    parts.set(block.slice(0, end < 0 ? undefined : end), end < 0 ? '' : block.slice(end + 1));
  }
  if (!parts.has('end end'))
    throw new WorkError(
      `the kit did not answer the questions about itself (exit code ${code}): ${tail(stderr, 3)}`,
      {
        hint: 'the operator must be allowed to use sudo on the kit; was the card built by this tool?',
      },
    );
  return { from, to, of: (kind, part) => parts.get(`${kind} ${part}`) ?? '' };
}

/** The lines of a text that are not empty. */
export function lines(text: string): string[] {
  return text.split('\n').filter((line) => line.trim() !== '');
}
