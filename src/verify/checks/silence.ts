import type { Check } from '../check.js';
import { count, fail, list, pass, warn } from '../check.js';
import { AS_ROOT, lines } from '../facts.js';

/** Reads `packets N` of a named counter in `nft list table`; null when the counter is not there. */
export function countedPackets(text: string, counter: string): number | null {
  const match = new RegExp(`counter ${counter} \\{[^}]*?packets (\\d+)`).exec(text);
  return match ? Number(match[1]) : null;
}

/**
 * Where the packets of the firewall's log wanted to go, and whose they were: `ADDRESS PROTOCOL PORT from ACCOUNT`, each once.
 * The log names the sender by number (nft(8), "log flags skuid"); the kernel's own packets have none.
 */
export function destinations(log: string, passwd: string): readonly string[] {
  const names = new Map(
    lines(passwd).map((line) => {
      const [name = '', , uid = ''] = line.split(':');
      return [uid, name];
    }),
  );
  return [
    ...new Set(
      lines(log).map((line) => {
        const field = (name: string): string => new RegExp(`\\b${name}=(\\S+)`).exec(line)?.[1] ?? '?';
        const uid = field('UID');
        const by = uid === '?' ? '' : ` from ${names.get(uid) ?? `account ${uid}`}`;
        return `${field('DST')} ${field('PROTO').toLowerCase()} ${field('DPT')}`.replace(/ \?$/, '') + by;
      }),
    ),
  ];
}

/** The counter of packets that wanted to leave the kit's network, in the table `inet commesh`. */
const COUNTER = 'out_denied';

export const check: Check = {
  kind: 'silence',
  vantage: 'inside',
  always: true,
  title: 'the kit sends nothing outside its network',
  probe: () => 'part table; nft list table inet commesh',
  async run(context) {
    const table = (await context.facts()).of('silence', 'table');
    const packets = countedPackets(table, COUNTER);
    const rebuilt = 'build and flash the card again';
    if (table.trim() === '')
      return [
        fail('', this.title, 'the firewall is not loaded', {
          hint: `switch the kit off and on, or ${rebuilt}`,
        }),
      ];
    if (packets === null)
      return [fail('', this.title, 'the firewall does not count what it keeps in', { hint: rebuilt })];
    if (packets === 0)
      return [pass('', this.title, 'not one packet tried to leave since it was switched on')];
    const ssh = await context.ssh();
    const { stdout } = await ssh.exec(AS_ROOT, {
      stdin: `journalctl -q -k -b -g 'DST=' -o cat --no-pager -n 200 | grep 'commesh out denied'
echo @@; getent passwd`,
      timeoutMs: 30_000,
    });
    const [log = '', accounts = ''] = stdout.split('@@\n');
    const where = destinations(log, accounts);
    return [
      warn(
        '',
        this.title,
        `${count(packets, 'packet')} tried to leave and ${packets === 1 ? 'was' : 'were'} stopped${where.length > 0 ? `, to ${list(where)}` : ''}`,
        {
          hint: 'nothing got out; if the number grows each time, a program on the kit calls somewhere: tell the makers',
        },
      ),
    ];
  },
};
