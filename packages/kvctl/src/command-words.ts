import type { Command } from 'commander';

const TRUE = ['true', '1', 't', 'T', 'TRUE', 'True'];
const FALSE = ['false', '0', 'f', 'F', 'FALSE', 'False'];

/** Whether what stands behind this flag is its value. */
function takesNext(word: string, among: readonly Command[]): boolean {
  return among.some((command) =>
    command.options.some(
      ({ long, short, required }) => required && (long === word || short === word),
    ),
  );
}

/** The words that are neither flags nor their values, up to `--`, by their places. */
function operands(args: readonly string[], among: readonly Command[]): number[] {
  const found: number[] = [];
  for (let at = 0; at < args.length; at += 1) {
    const word = args[at] ?? '';
    if (word === '--') break;
    if (word.startsWith('-') && word !== '-') at += takesNext(word, among) ? 1 : 0;
    else found.push(at);
  }
  return found;
}

/** The name of the command: the first word that is no flag of kvctl itself. */
export function commandName(args: readonly string[], program: Command): string | undefined {
  const [at] = operands(args, [program]);
  return at === undefined ? undefined : args[at];
}

/** kvctl and the commands that these words name: `kvctl`, `user`, `add`. */
function named(args: readonly string[], program: Command): readonly Command[] {
  const path = [program];
  for (const at of operands(args, [program])) {
    const next = path.at(-1)?.commands.find((command) => command.name() === args[at]);
    if (next === undefined) break;
    path.push(next);
  }
  return path;
}

/** `--name=value` of a switch as the switch itself, if it is one of these. */
function plainSwitch(word: string, switches: ReadonlySet<string>): readonly string[] {
  const [, name = '', value = ''] = /^(--[a-z][a-z-]*)=(.*)$/.exec(word) ?? [];
  const opposite = name.replace(/^--/, '--no-');
  const [on, off] = switches.has(name)
    ? [[name], switches.has(opposite) ? [opposite] : []]
    : switches.has(opposite)
      ? [[], [opposite]]
      : [[word], [word]];
  if (TRUE.includes(value)) return on;
  return FALSE.includes(value) ? off : [word];
}

/**
 * `--prefix=true` and `--prefix=false`, as Go's flags have it and scripts for etcdctl give it: the first is the switch, the second
 * leaves it off, or is `--no-prefix` where there is one.
 */
export function plainSwitches(args: readonly string[], program: Command): readonly string[] {
  const end = args.indexOf('--');
  const head = end < 0 ? args : args.slice(0, end);
  const switches = named(args, program).flatMap((command) =>
    command.options.flatMap(({ long, required, optional }) =>
      long === undefined || long === null || required || optional ? [] : [long],
    ),
  );
  const known = new Set(switches);
  return [...head.flatMap((word) => plainSwitch(word, known)), ...args.slice(head.length)];
}
