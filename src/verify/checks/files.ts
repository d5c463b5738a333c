import type { FileWish } from '../../services/contract.js';
import type { Planned } from '../../plan/types.js';
import type { Check } from '../check.js';
import { count, fail, pass } from '../check.js';
import { lines, quote } from '../facts.js';

export interface FileState {
  /** Type and permissions as in `st_mode`. */
  readonly mode: number;
  readonly owner: string;
  readonly group: string;
  readonly size: number;
  /** Of a symbolic link. */
  readonly target: string;
}

const TYPE = 0o170000;
const TYPES: Readonly<Record<number, string>> = {
  0o040000: 'a folder',
  0o100000: 'a file',
  0o120000: 'a link',
};

/** Reads `stat --printf='%f|%U|%G|%s|%N\n'` with literal quoting. */
export function parseStat(text: string): ReadonlyMap<string, FileState> {
  const states = new Map<string, FileState>();
  for (const line of lines(text)) {
    const [mode = '', owner = '', group = '', size = '', ...rest] = line.split('|');
    const [path = '', target = ''] = rest.join('|').split(' -> ');
    states.set(path, { mode: Number.parseInt(mode, 16), owner, group, size: Number(size), target });
  }
  return states;
}

/** What is wrong with a planned file, in words; null when it is as planned. */
export function fileFault(wish: Planned<FileWish>, state: FileState | undefined): string | null {
  if (!state) return 'is missing';
  const wanted = wish.kind === 'directory' ? 0o040000 : wish.kind === 'symlink' ? 0o120000 : 0o100000;
  const found = state.mode & TYPE;
  if (found !== wanted) return `is ${TYPES[found] ?? 'something else'} instead of ${TYPES[wanted]}`;
  if (wish.kind === 'symlink')
    return wish.target !== undefined && state.target !== wish.target
      ? `leads to ${state.target} instead of ${wish.target}`
      : null;
  const faults: string[] = [];
  const mode = state.mode & 0o7777;
  const planned = Number.parseInt(wish.mode, 8);
  if (mode !== planned) {
    const open = wish.sensitive === true && (mode & 0o007) !== 0;
    faults.push(
      `has mode ${octal(mode)} instead of ${octal(planned)}${open ? ', so that everybody on the kit can read this secret' : ''}`,
    );
  }
  if (state.owner !== wish.owner || state.group !== wish.group)
    faults.push(`belongs to ${state.owner}:${state.group} instead of ${wish.owner}:${wish.group}`);
  if (state.size === 0 && (wish.sensitive === true || wish.kind === 'secret')) faults.push('is empty');
  return faults.length === 0 ? null : faults.join(' and ');
}

const octal = (mode: number): string => mode.toString(8).padStart(4, '0');

export const check: Check = {
  kind: 'files',
  vantage: 'inside',
  always: true,
  title: 'planned files are there, with their owners and modes',
  probe: (plan) =>
    `part stat\nQUOTING_STYLE=literal stat --printf='%f|%U|%G|%s|%N\\n' -- ${plan.files.map(({ path }) => quote(path)).join(' ')}`,
  async run(context) {
    const states = parseStat((await context.facts()).of('files', 'stat'));
    const findings = context.plan.files.flatMap((wish) => {
      const fault = fileFault(wish, states.get(wish.path));
      return fault === null
        ? []
        : [
            fail(wish.path, this.title, `${wish.path} ${fault}`, {
              because: wish.because,
              hint: 'somebody changed the kit by hand, or the card is damaged; build and flash it again',
            }),
          ];
    });
    return findings.length > 0
      ? findings
      : [pass('', this.title, `${count(context.plan.files.length, 'file')} as planned`)];
  },
};
