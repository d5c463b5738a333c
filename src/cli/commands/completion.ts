import { commands } from '../commands.js';
import { createProgram } from '../program.js';
import type { CommandSpec, Shell } from '../spec.js';

/** What may stand at a place: fixed words, files of a kind, or nothing known. */
interface Place {
  readonly words: readonly string[];
  readonly files: 'profile' | 'image' | 'path' | 'none';
}

interface Flag {
  readonly names: readonly string[];
  readonly text: string;
  /** What follows the flag; null for a flag without a value. */
  readonly value: Place | null;
}

interface Completed {
  readonly name: string;
  readonly summary: string;
  readonly flags: readonly Flag[];
  readonly places: readonly Place[];
  /** The last place repeats. */
  readonly variadic: boolean;
}

/** A script that completes commands, flags and their values, made from the commander tree. */
export function completionScript(shell: Shell): string {
  const tree = completed();
  if (shell === 'bash') return bash(tree);
  return shell === 'zsh' ? zsh(tree) : fish(tree);
}

function completed(): readonly Completed[] {
  const program = createProgram({ version: '', writeOut: () => {}, helpWidth: 100, onCommand: () => {} });
  const shared = program.options.filter((option) => option.long !== '--version');
  return program.commands.map((command) => {
    const spec = commands.find((entry) => entry.name === command.name());
    const flags = [...command.options.filter((option) => !option.hidden), ...shared].map((option): Flag => ({
      names: [option.short, option.long].filter((name) => name !== undefined),
      text: option.description,
      value:
        option.required || option.optional
          ? {
              words: option.argChoices ?? [],
              files: option.long === '--cache' ? 'path' : filesOf(spec, option.flags),
            }
          : null,
    }));
    flags.push({ names: ['-h', '--help'], text: 'show this help', value: null });
    return {
      name: command.name(),
      summary: command.summary(),
      flags,
      places: command.registeredArguments.map((argument, index) => ({
        words: argument.argChoices ?? [],
        files: spec?.arguments?.[index]?.completes ?? 'none',
      })),
      variadic: command.registeredArguments.at(-1)?.variadic ?? false,
    };
  });
}

function filesOf(spec: CommandSpec | undefined, flags: string): Place['files'] {
  return spec?.options?.find((option) => option.flags === flags)?.completes ?? 'none';
}

const words = (flags: readonly Flag[]): string => flags.flatMap((flag) => flag.names).join(' ');

function bash(tree: readonly Completed[]): string {
  const action = (place: Place): string => {
    if (place.words.length > 0) return `_commeshctl_words '${place.words.join(' ')}'`;
    return place.files === 'none' ? ':' : `_commeshctl_files ${place.files}`;
  };
  const lines: string[] = [
    '# bash completion for commeshctl',
    '_commeshctl_words() { COMPREPLY=($(compgen -W "$1" -- "$cur")); }',
    '_commeshctl_files() {',
    '  local pattern file',
    '  compopt -o filenames 2>/dev/null || true',
    '  case $1 in',
    "    profile) pattern='*.y*ml' ;;",
    "    image) pattern='*.img*' ;;",
    '    *) COMPREPLY=($(compgen -f -- "$cur")); return ;;',
    '  esac',
    "  local IFS=$'\\n'",
    '  COMPREPLY=($(compgen -d -- "$cur"))',
    '  for file in $(compgen -f -- "$cur"); do',
    '    # shellcheck disable=SC2053 # a pattern',
    '    if [[ -f $file && $file == $pattern ]]; then COMPREPLY+=("$file"); fi',
    '  done',
    '}',
    '_commeshctl() {',
    "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' place=0 word index skip=''",
    '  COMPREPLY=()',
    '  for ((index = 1; index < COMP_CWORD; index++)); do',
    '    word=${COMP_WORDS[index]}',
    '    if [[ $skip ]]; then skip=; continue; fi',
    `    case $word in`,
    ...valueFlags(tree).map((names) => `      ${names.join('|')}) skip=1 ;;`),
    '      -*) ;;',
    '      *) if [[ $command ]]; then ((place++)); else command=$word; fi ;;',
    '    esac',
    '  done',
    '  case $command in',
  ];
  for (const command of tree) {
    lines.push(`    ${command.name})`, '      case $prev in');
    for (const flag of command.flags)
      if (flag.value) lines.push(`        ${flag.names.join('|')}) ${action(flag.value)}; return ;;`);
    lines.push('      esac');
    lines.push(`      if [[ $cur == -* ]]; then _commeshctl_words '${words(command.flags)}'; return; fi`);
    lines.push('      case $place in');
    command.places.forEach((place, index) => {
      const last = command.variadic && index === command.places.length - 1;
      lines.push(`        ${last ? '*' : index}) ${action(place)} ;;`);
    });
    lines.push('      esac ;;');
  }
  const shared = tree[0]?.flags.filter((flag) => tree.every((command) => hasFlag(command, flag))) ?? [];
  lines.push(
    `    help) _commeshctl_words '${tree.map((command) => command.name).join(' ')}' ;;`,
    "    '')",
    `      if [[ $cur == -* ]]; then _commeshctl_words '--version ${words(shared)}'`,
    `      else _commeshctl_words 'help ${tree.map((command) => command.name).join(' ')}'; fi ;;`,
    '  esac',
    '}',
    'complete -F _commeshctl commeshctl',
  );
  return `${lines.join('\n')}\n`;
}

function hasFlag(command: Completed, flag: Flag): boolean {
  return command.flags.some((other) => other.names.join() === flag.names.join());
}

/** Flags with a value, over all commands, each once. */
function valueFlags(tree: readonly Completed[]): readonly (readonly string[])[] {
  const found = new Map<string, readonly string[]>();
  for (const flag of tree.flatMap((command) => command.flags))
    if (flag.value) found.set(flag.names.join(), flag.names);
  return [...found.values()];
}

function zsh(tree: readonly Completed[]): string {
  const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
  const escape = (text: string): string => text.replace(/[[\]:\\]/g, '\\$&');
  const action = (place: Place): string => {
    if (place.words.length > 0) return `(${place.words.join(' ')})`;
    switch (place.files) {
      case 'profile':
        return '_files -g "*.y(a|)ml(-.)"';
      case 'image':
        return '_files -g "*.img*(-.)"';
      case 'path':
        return '_files';
      case 'none':
        return ' ';
    }
  };
  const lines = ['#compdef commeshctl', '', '_commeshctl() {', '  local -a commands', '  commands=('];
  for (const command of tree) lines.push(`    ${quote(`${command.name}:${escape(command.summary)}`)}`);
  lines.push(
    '  )',
    '  if (( CURRENT == 2 )); then',
    "    _describe 'command' commands",
    '    return',
    '  fi',
    '  local command=$words[2]',
    '  shift words',
    '  (( CURRENT-- ))',
    '  case $command in',
  );
  for (const command of tree) {
    lines.push(`    ${command.name})`, '      _arguments \\');
    const specs: string[] = [];
    for (const flag of command.flags)
      for (const name of flag.names)
        specs.push(quote(`${name}[${escape(flag.text)}]${flag.value ? `:value:${action(flag.value)}` : ''}`));
    command.places.forEach((place, index) => {
      const last = command.variadic && index === command.places.length - 1;
      specs.push(quote(`${last ? '*' : index + 1}:argument:${action(place)}`));
    });
    lines.push(specs.map((spec) => `        ${spec}`).join(' \\\n'), '      ;;');
  }
  lines.push('  esac', '}', '', 'if [ "$funcstack[1]" = _commeshctl ]; then', '  _commeshctl "$@"', 'else');
  lines.push('  compdef _commeshctl commeshctl', 'fi');
  return `${lines.join('\n')}\n`;
}

function fish(tree: readonly Completed[]): string {
  const quote = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const value = (place: Place): string => {
    if (place.words.length > 0) return ` -x -a ${quote(place.words.join(' '))}`;
    if (place.files === 'none') return ' -x';
    if (place.files === 'path') return ' -r -F';
    return ` -x -a ${quote(`(__fish_complete_suffix ${place.files === 'profile' ? '.yaml .yml' : '.img .img.zst .img.xz'})`)}`;
  };
  const lines = ['# fish completion for commeshctl', 'complete -c commeshctl -f'];
  for (const command of tree)
    lines.push(
      `complete -c commeshctl -n __fish_use_subcommand -a ${command.name} -d ${quote(command.summary)}`,
    );
  for (const command of tree) {
    const when = `-n '__fish_seen_subcommand_from ${command.name}'`;
    for (const flag of command.flags) {
      const names = flag.names.map((name) =>
        name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`,
      );
      lines.push(
        `complete -c commeshctl ${when} ${names.join(' ')} -d ${quote(flag.text)}${flag.value ? value(flag.value) : ''}`,
      );
    }
    const places = command.places.filter((place) => place.words.length > 0 || place.files !== 'none');
    for (const place of places) {
      if (place.words.length > 0) lines.push(`complete -c commeshctl ${when}${value(place)}`);
      else lines.push(`complete -c commeshctl ${when} -F`);
    }
  }
  return `${lines.join('\n')}\n`;
}
