import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { commandName, plainSwitches } from './command-words.ts';
import { addDel, addGet, addPut } from './commands/kv.ts';
import { addTxn } from './commands/txn.ts';
import { addWatch } from './commands/watch.ts';
import { addGlobals, askForPassword, type Context, contextOf } from './context.ts';
import { EXIT, Exit, IoError, reportOf } from './exit.ts';
import type { Io } from './io.ts';

const HELP = `
Every flag can be set by a variable: --endpoints by KVCTL_ENDPOINTS, --prefix of get by
KVCTL_GET_PREFIX.

Exit codes: 0 ok · 1 error · 2 cannot connect · 3 bad input · 4 the server refused
            5 unhealthy or interrupted · 6 input/output · 8 unknown outcome (the write may have
            happened)

Examples:
  kvctl put greeting hello
  kvctl get greeting
  kvctl watch greeting
  kvctl status`;

function readTextFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new IoError(`cannot read ${path}: ${(error as Error).message}`);
  }
}

/** What scripts run most starts without loading the others. */
const QUICK: readonly (string | undefined)[] = ['put', 'get', 'del', 'txn', 'watch'];

type AddMore = (program: Command, context: Context) => void;

/** The command line. `trailing` = the words after `--` of a watch; `addMore` adds all other commands. */
function buildProgram(io: Io, trailing: readonly string[], addMore: AddMore): Command {
  const program = new Command('kvctl')
    .description('Command line client of Kvorum')
    .addHelpText('after', HELP)
    .showHelpAfterError('(kvctl help shows the commands)')
    .configureOutput({ writeOut: io.out, writeErr: io.err, getOutHelpWidth: () => 100 })
    .exitOverride()
    .enablePositionalOptions(false);
  addGlobals(program);
  const context = contextOf(program, io, readTextFile);
  addPut(program, context);
  addGet(program, context);
  addDel(program, context);
  addTxn(program, context, readTextFile);
  addWatch(program, context, trailing);
  addMore(program, context);
  program.hook('preAction', () => askForPassword(program, io));
  for (const command of everyCommand(program)) command.exitOverride();
  return program;
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

/** Runs one command line (without `node kvctl`) and returns its exit code. Bugs are thrown. */
export async function run(args: readonly string[], io: Io): Promise<number> {
  const globals = new Command();
  addGlobals(globals);
  const name = commandName(args, globals);
  const [own, trailing] = name === 'watch' ? splitTrailing(args) : [args, []];
  const more = QUICK.includes(name) ? undefined : await import('./commands/all.ts');
  try {
    const program = buildProgram(io, trailing, more?.addMore ?? (() => undefined));
    const words = plainSwitches(own, program);
    await program.parseAsync(more?.withAuditKey(words, program) ?? [...words], { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    return exitCodeFor(error, io);
  }
}

/** `watch KEY -- CMD…`: what stands after `--` is no operand of ours. */
function splitTrailing(args: readonly string[]): readonly [readonly string[], readonly string[]] {
  const at = args.indexOf('--');
  return at === -1 ? [args, []] : [args.slice(0, at), args.slice(at + 1)];
}

function exitCodeFor(error: unknown, io: Io): number {
  if (error instanceof Exit) return error.code;
  // commander has printed its message; help and version are no errors.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.badInput;
  const report = reportOf(error);
  if (report === undefined) throw error;
  io.err(report.text);
  const interrupted = io.signal.aborted && report.code !== EXIT.unknownOutcome;
  return interrupted ? EXIT.unhealthyOrInterrupted : report.code;
}
