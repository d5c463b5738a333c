import { UsageError } from '../../diagnostics/errors.js';
import { tail } from '../../host/host.js';
import type { Check } from '../check.js';
import { fail, pass } from '../check.js';
import { AS_ROOT, quote } from '../facts.js';

/** Runs a command of a service on the kit: it must end well, and print `expect` when that is given. */
export const check: Check = {
  kind: 'command',
  vantage: 'inside',
  always: false,
  title: 'a command of the service succeeds',
  async run(context, options) {
    const { argv, expect } = options;
    if (!Array.isArray(argv) || argv.length === 0) throw new UsageError('the check "command" needs "argv"');
    const words = (argv as readonly unknown[]).map(String);
    const title = words.join(' ');
    const { code, stdout, stderr } = await (
      await context.ssh()
    ).exec(AS_ROOT, { stdin: `exec ${words.map(quote).join(' ')} </dev/null`, timeoutMs: 60_000 });
    const what = words[0]?.split('/').at(-1) ?? '';
    if (code !== 0)
      return [fail(what, this.title, `"${title}" ended with ${code}: ${tail(stderr || stdout, 3)}`)];
    if (typeof expect === 'string' && !stdout.includes(expect))
      return [fail(what, this.title, `"${title}" did not print "${expect}" but: ${tail(stdout, 3)}`)];
    return [pass(what, this.title, `"${title}" succeeds`)];
  },
};
