import type { Check, Finding } from '../check.js';
import { fail, list, pass } from '../check.js';
import { AS_ROOT, lines } from '../facts.js';

/**
 * What `prosodyctl check` complained about: lines that are neither headings nor praise (Prosody 13,
 * util/prosodyctl/check.lua prints "Checking …", indented details, and a verdict at the end).
 */
export function complaints(output: string): readonly string[] {
  const found = lines(output).map((line) => line.trim());
  return found.filter(
    (line) =>
      !/^(Checking |Testing |Done|All checks passed|Problems found|Success!|Feature report|Identified |Skipping |Certificate: |None$|OK\b)/.test(
        line,
      ),
  );
}

/** The features that `prosodyctl check features` marks as missing. */
export function missingFeatures(output: string): readonly string[] {
  return lines(output).flatMap((line) => {
    const match = /^\s*\(!\)\s+(.*)$/.exec(line);
    return match?.[1] === undefined ? [] : [match[1].trim()];
  });
}

// Both at once: starting prosodyctl is what takes the time. `check` alone leaves out "connectivity", which asks the internet.
const SCRIPT = `
t=$(mktemp -d) || exit 1
trap 'rm -rf "$t"' EXIT
{ prosodyctl check >"$t/check" 2>&1 </dev/null; echo "$?" >"$t/check.code"; } &
prosodyctl check features >"$t/features" 2>&1 </dev/null; echo "$?" >"$t/features.code"
wait
for part in check features; do printf '\\n@@ %s ' "$part"; cat "$t/$part.code" "$t/$part"; done`;

export const check: Check = {
  kind: 'prosody-check',
  vantage: 'inside',
  always: false,
  title: 'the chat server finds nothing wrong with itself',
  async run(context) {
    const { stdout } = await (await context.ssh()).exec(AS_ROOT, { stdin: SCRIPT, timeoutMs: 90_000 });
    const parts = new Map(
      stdout
        .split('\n@@ ')
        .slice(1)
        .map((block) => {
          const [, part = '', code = '', output = ''] = /^(\S+) (\d*)\n([\s\S]*)$/.exec(block) ?? [];
          return [part, { code, output }];
        }),
    );
    const findings: Finding[] = [];
    const general = parts.get('check');
    const features = parts.get('features');
    const hint = 'build and flash the card again; if this stays, report it with this text';
    if (general?.code !== '0')
      findings.push(
        fail(
          'check',
          this.title,
          general
            ? `prosodyctl check: ${list(complaints(general.output), 6)}`
            : 'prosodyctl could not be run',
          { hint },
        ),
      );
    else findings.push(pass('check', this.title, 'prosodyctl check: all passed'));
    const missing = missingFeatures(features?.output ?? '');
    if (features?.code !== '0' || missing.length > 0)
      findings.push(
        fail(
          'features',
          this.title,
          missing.length > 0
            ? `prosodyctl check features: missing ${list(missing, 6)}`
            : `prosodyctl check features: ${list(complaints(features?.output ?? 'no answer'), 6)}`,
          { hint },
        ),
      );
    else findings.push(pass('features', this.title, 'prosodyctl check features: all OK'));
    return findings;
  },
};
