import { Argument, type Command } from 'commander';
import type { Context } from '../context.ts';

const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

/** A command as completion sees it: its words after `kvctl`, sub-commands, flags. */
interface Node {
  readonly path: readonly string[];
  readonly words: readonly { readonly word: string; readonly help: string }[];
  readonly flags: readonly { readonly word: string; readonly help: string }[];
}

function nodesOf(command: Command, path: readonly string[]): Node[] {
  const words = command.commands.map((sub) => ({
    word: sub.name(),
    help: sub.summary() || sub.description(),
  }));
  const flags = command.options.flatMap(({ long, description, hidden }) =>
    long === undefined || long === null || hidden ? [] : [{ word: long, help: description }],
  );
  return [
    { path, words, flags },
    ...command.commands.flatMap((sub) => nodesOf(sub, [...path, sub.name()])),
  ];
}

const quote = (text: string): string => `'${text.replace(/'/g, "'\\''")}'`;

function bash(nodes: readonly Node[], program: string): string {
  const global = nodes[0]?.flags.map(({ word }) => word) ?? [];
  const cases = nodes.map(({ path, words, flags }) => {
    const all = [...words, ...flags].map(({ word }) => word);
    const own = path.length === 0 ? all : [...all, ...global];
    return `    ${quote(path.join(' '))}) words=${quote(own.join(' '))} ;;`;
  });
  const commands = nodes.map(({ path }) => path.join(' ')).filter((path) => path !== '');
  return `# ${program} completion for bash: source <(${program} completion bash)
_${program}() {
  local path="" word next words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -* ]] && continue
    next="\${path:+$path }$word"
    case "$next" in
      ${commands.map(quote).join('|')}) path="$next" ;;
    esac
  done
  case "$path" in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _${program} ${program}
`;
}

function zsh(nodes: readonly Node[], program: string): string {
  return `#compdef ${program}
# ${program} completion for zsh: source <(${program} completion zsh)
autoload -U +X bashcompinit && bashcompinit
${bash(nodes, program)}`;
}

function fish(nodes: readonly Node[], program: string): string {
  const lines = nodes.flatMap(({ path, words, flags }) => {
    const seen = path.map((word) => `__fish_seen_subcommand_from ${word}`).join('; and ');
    const condition = path.length === 0 ? '__fish_use_subcommand' : seen;
    return [
      ...words.map(
        ({ word, help }) =>
          `complete -c ${program} -f -n ${quote(condition)} -a ${word} -d ${quote(help)}`,
      ),
      ...flags.map(({ word, help }) => {
        const when = path.length === 0 ? '' : ` -n ${quote(condition)}`;
        return `complete -c ${program}${when} -l ${word.slice(2)} -d ${quote(help)}`;
      }),
    ];
  });
  return `# ${program} completion for fish: ${program} completion fish | source\n${lines.join('\n')}\n`;
}

const WRITERS: Readonly<Record<Shell, (nodes: readonly Node[], program: string) => string>> = {
  bash,
  zsh,
  fish,
};

export function addCompletion(program: Command, context: Context): void {
  program
    .command('completion')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .description('Print a completion script for a shell')
    .addHelpText('after', '\nExample:\n  source <(kvctl completion bash)')
    .action((shell: Shell) => {
      context.io.out(WRITERS[shell](nodesOf(program, []), program.name()));
    });
}
