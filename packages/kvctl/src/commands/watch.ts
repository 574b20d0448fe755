import { spawn } from 'node:child_process';
import type { Watch, WatchEvent, WatchOptions } from '@kvorum/client';
import type { Command } from 'commander';
import { type Context, flag, parseCount } from '../context.ts';
import { advise, EXIT, Exit, InputError, IoError } from '../exit.ts';
import type { Io } from '../io.ts';
import { printEvent, shown } from '../output.ts';
import { targetOf } from '../txn-grammar.ts';

interface WatchFlags {
  readonly prefix?: boolean;
  readonly fromKey?: boolean;
  readonly rev?: string;
  readonly shardRev?: string;
  readonly prevKv?: boolean;
  readonly exec?: string;
  readonly count?: string;
}

const HELP = `
Goes on through failovers until interrupted. With --exec, or words after --, a command runs for
each event, one after the other, with KVCTL_WATCH_KEY, KVCTL_WATCH_VALUE, KVCTL_WATCH_REVISION,
KVCTL_WATCH_SHARD and KVCTL_WATCH_EVENT_TYPE (PUT or DELETE) in its environment.

Examples:
  kvctl watch config/ --prefix
  kvctl watch config/app -- systemctl reload app
  kvctl watch config/ --prefix --exec 'echo "$KVCTL_WATCH_KEY changed"'`;

export function addWatch(program: Command, context: Context, trailing: readonly string[]): void {
  const command = program
    .command('watch')
    .argument('<key>')
    .argument('[rangeEnd]', 'first key behind the range')
    .description('Print changes as they happen')
    .addHelpText('after', HELP);
  flag(command, '--prefix', 'every key that starts with KEY');
  flag(command, '--from-key', 'every key from KEY on, in byte order');
  flag(command, '--rev <revision>', 'begin with this revision instead of now (one shard)');
  flag(command, '--shard-rev <list>', 'begin with these revisions, e.g. 0=17,1=5 (several shards)');
  flag(command, '--prev-kv', 'print what each key held before');
  flag(command, '--exec <command>', 'shell command to run for each event');
  flag(command, '--count <n>', 'end after this many events');
  command.action(async (key: string, rangeEnd: string | undefined, flags: WatchFlags) => {
    const target = targetOf(key, rangeEnd, flags.prefix === true, flags.fromKey === true);
    const options: WatchOptions = {
      signal: context.io.signal,
      prevKv: flags.prevKv,
      startRevision: flags.rev === undefined ? undefined : parseCount(flags.rev),
      revisions: flags.shardRev === undefined ? undefined : parseShardRevisions(flags.shardRev),
    };
    const handler = handlerOf(context, flags, trailing);
    const limit = flags.count === undefined ? Number.POSITIVE_INFINITY : parseCount(flags.count);
    await context.withClient(async (client) => {
      const crossShard = advise('KV_CROSS_SHARD', 'kvctl watch --shard-rev 0=17,1=5 …');
      await follow(await client.watch(target, options).catch(crossShard), handler, limit);
    });
  });
}

type Handler = (event: WatchEvent) => Promise<void>;

async function follow(watch: Watch, handler: Handler, limit: number): Promise<void> {
  let left = limit;
  for await (const event of watch) {
    await handler(event);
    left -= 1;
    if (left <= 0) return;
  }
}

function parseShardRevisions(text: string): Readonly<Record<string, number>> {
  return Object.fromEntries(
    text.split(',').map((part) => {
      const [shard, revision, ...rest] = part.split('=');
      if (shard === undefined || revision === undefined || rest.length > 0) {
        throw new InputError(`"${part}" is not SHARD=REVISION`, 'write e.g. --shard-rev 0=17,1=5');
      }
      return [shard, parseCount(revision)];
    }),
  );
}

function handlerOf(context: Context, flags: WatchFlags, trailing: readonly string[]): Handler {
  const { io } = context;
  const [program, ...args] = trailing;
  if (program !== undefined) return (event) => run(io, { program, args, shell: false }, event);
  const { exec } = flags;
  if (exec !== undefined)
    return (event) => run(io, { program: exec, args: [], shell: true }, event);
  const { format } = context.globals();
  return async (event) => io.out(printEvent(format, event));
}

interface Program {
  readonly program: string;
  readonly args: readonly string[];
  readonly shell: boolean;
}

/** Waits for the command to end; its output joins ours. */
async function run(io: Io, what: Program, event: WatchEvent): Promise<void> {
  const { program } = what;
  const child = spawn(program, what.args, {
    shell: what.shell,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...io.env,
      KVCTL_WATCH_KEY: shown(event.kv.key),
      KVCTL_WATCH_VALUE: shown(event.kv.value),
      KVCTL_WATCH_EVENT_TYPE: event.type.toUpperCase(),
      KVCTL_WATCH_REVISION: String(event.kv.modRevision),
      KVCTL_WATCH_SHARD: event.shard,
    },
  });
  child.stdout.setEncoding('utf8').on('data', (text: string) => io.out(text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => io.err(text));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error) => reject(new IoError(`cannot run ${program}: ${error.message}`)));
    child.once('close', resolve);
  });
  if (code === 0) return;
  io.err(`Error: the watch command ended with ${code === null ? 'a signal' : `code ${code}`}\n`);
  throw new Exit(EXIT.error);
}
