import type { Watch } from '@kvorum/client';
import { Command, CommanderError } from 'commander';
import { plainSwitches } from '../command-words.ts';
import type { Context } from '../context.ts';
import { Exit, reportOf } from '../exit.ts';
import { linesOf } from '../io.ts';
import { printProgress } from '../output.ts';
import { splitWords } from '../txn-grammar.ts';

/** Adds the command `watch` to a program. */
type AddWatch = (program: Command, context: Context, trailing: readonly string[]) => void;

/** Lines of standard input: `watch KEY …` begins one more, `progress` tells how far they are. Ends when the last watch has. */
export async function watchInteractively(context: Context, addWatch: AddWatch): Promise<void> {
  await context.withClient(async (client) => {
    const watches = new Set<Watch>();
    const shared: Context = { ...context, watches, withClient: (run) => run(client) };
    const begun: Promise<Error | undefined>[] = [];
    for await (const line of linesOf(context.io.stdinPieces())) {
      const words = wordsOf(line, context);
      if (words[0] === 'watch') {
        const failed = (error: unknown): Error | undefined => told(error, context);
        begun.push(begin(words, shared, addWatch).then(() => undefined, failed));
      } else {
        answer(words, line, watches, context);
      }
      if (context.io.signal.aborted) break;
    }
    const failure = (await Promise.all(begun)).find((error) => error !== undefined);
    if (failure !== undefined) throw failure;
  });
}

/** What is no watch. */
function answer(
  [name]: readonly string[],
  line: string,
  watches: ReadonlySet<Watch>,
  { io, globals }: Context,
): void {
  if (name === undefined) return;
  if (name !== 'progress') io.err(`Invalid command: ${line} (watch and progress supported)\n`);
  else for (const watch of watches) io.out(printProgress(globals(), watch.resumeAt()));
}

function wordsOf(line: string, { io }: Context): readonly string[] {
  try {
    return splitWords(line);
  } catch (error) {
    io.err(reportOf(error)?.text ?? '');
    return [];
  }
}

async function begin(
  words: readonly string[],
  context: Context,
  addWatch: AddWatch,
): Promise<void> {
  const end = words.indexOf('--');
  const program = new Command('kvctl').exitOverride();
  program.configureOutput({ writeOut: context.io.out, writeErr: context.io.err });
  addWatch(program, context, end < 0 ? [] : words.slice(end + 1));
  for (const command of program.commands) command.exitOverride();
  const own = plainSwitches(end < 0 ? words : words.slice(0, end), program);
  await program.parseAsync([...own], { from: 'user' });
}

/** A mistake in a line ends nothing but the line; undefined then. */
function told(error: unknown, { io }: Context): Error | undefined {
  if (error instanceof CommanderError) return undefined;
  const report = error instanceof Exit || io.signal.aborted ? undefined : reportOf(error);
  if (report === undefined) return error instanceof Error ? error : new Error(String(error));
  io.err(report.text);
  return undefined;
}
