import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { addAuth, addRole, addUser } from './commands/auth.ts';
import { addBackup } from './commands/backup.ts';
import { addBench } from './commands/bench.ts';
import { addCompaction, addEndpoint, addLeader, addShard } from './commands/cluster.ts';
import { addCompletion } from './commands/completion.ts';
import { addDev } from './commands/dev.ts';
import { addDiff } from './commands/diff.ts';
import { addHistory } from './commands/history.ts';
import { addDel, addGet, addPut } from './commands/kv.ts';
import { addAudit, addLog, withAuditKey } from './commands/log.ts';
import { addLogExclude } from './commands/log-exclude.ts';
import { addMember, addShardMove } from './commands/member.ts';
import { addRecover } from './commands/recover.ts';
import { addReshard } from './commands/reshard.ts';
import { addRestore } from './commands/restore.ts';
import { addStatus } from './commands/status.ts';
import { addDu, addTree } from './commands/tree.ts';
import { addTxn } from './commands/txn.ts';
import { addWatch } from './commands/watch.ts';
import { addGlobals, contextOf } from './context.ts';
import { EXIT, Exit, type ExitCode, IoError, reportOf } from './exit.ts';
import type { Io } from './io.ts';
import { jsonLine } from './output.ts';
import { kvctlVersion } from './version.ts';

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

/** The whole command line. `trailing` = the words after `--` of a watch. */
export function buildProgram(io: Io, trailing: readonly string[]): Command {
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
  addTree(program, context);
  addDu(program, context);
  addHistory(program, context);
  addDiff(program, context);
  addCompaction(program, context);
  addEndpoint(program, context);
  addMember(program, context);
  const shard = addShard(program, context);
  addShardMove(shard, context);
  addReshard(shard, context);
  addRecover(shard, context);
  addLeader(program, context);
  addLogExclude(addLog(program, context), context);
  addAudit(program, context);
  addStatus(program, context);
  addAuth(program, context);
  addUser(program, context);
  addRole(program, context);
  addBackup(program, context);
  addRestore(program, context);
  addBench(program, context);
  addDev(program, context);
  addCompletion(program, context);
  program
    .command('version')
    .description('Print the version')
    .action(() => {
      const version = kvctlVersion();
      io.out(
        context.globals().format === 'json'
          ? jsonLine({ kvctl: version })
          : `kvctl version: ${version}\n`,
      );
    });
  for (const command of everyCommand(program)) command.exitOverride();
  return program;
}

function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}

/** Runs one command line (without `node kvctl`) and returns its exit code. Bugs are thrown. */
export async function run(args: readonly string[], io: Io): Promise<ExitCode> {
  const [own, trailing] = splitTrailing(args);
  try {
    const program = buildProgram(io, trailing);
    const names = program.commands.map((command) => command.name());
    await program.parseAsync([...withAuditKey(own, names)], { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    return exitCodeFor(error, io);
  }
}

/** `watch KEY -- CMD…`: what stands after `--` is no operand of ours. */
function splitTrailing(args: readonly string[]): readonly [readonly string[], readonly string[]] {
  const at = args.includes('watch') ? args.indexOf('--') : -1;
  return at === -1 ? [args, []] : [args.slice(0, at), args.slice(at + 1)];
}

function exitCodeFor(error: unknown, io: Io): ExitCode {
  if (error instanceof Exit) return error.code;
  // commander has printed its message; help and version are no errors.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.badInput;
  const report = reportOf(error);
  if (report === undefined) throw error;
  io.err(report.text);
  const interrupted = io.signal.aborted && report.code !== EXIT.unknownOutcome;
  return interrupted ? EXIT.unhealthyOrInterrupted : report.code;
}
