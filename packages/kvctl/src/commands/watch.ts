import { spawn } from 'node:child_process';
import type { Bytes, KeyRange, Watch, WatchEvent, WatchOptions } from '@kvorum/client';
import type { Command } from 'commander';
import { type Context, flag, parseCount } from '../context.ts';
import { advise, EXIT, Exit, InputError, IoError, Unfinished } from '../exit.ts';
import type { Io } from '../io.ts';
import { printEvent, printProgress, progressText, shown } from '../output.ts';
import { targetOf } from '../txn-grammar.ts';

interface WatchFlags {
  readonly interactive?: boolean;
  readonly progressNotify?: boolean;
  readonly prefix?: boolean;
  readonly fromKey?: boolean;
  readonly rev?: string;
  readonly shardRev?: string;
  readonly prevKv?: boolean;
  readonly exec?: string;
  readonly count?: string;
}

const HELP = `
Goes on through failovers until interrupted, until --count events came, or until --timeout is over
when it is given: with --count that is a failure (exit code 4), else the planned end (0). With --exec, or words after --, a command runs for
each event, one after the other, with KVCTL_WATCH_KEY, KVCTL_WATCH_VALUE, KVCTL_WATCH_REVISION,
KVCTL_WATCH_SHARD and KVCTL_WATCH_EVENT_TYPE (PUT or DELETE) in its environment; and etcdctl's
ETCD_WATCH_… with the texts in quotes.

With -i standard input holds one watch a line, "watch KEY [END] [flags] [-- COMMAND…]", and "progress"
prints how far they are; they go on when the input has ended. Without KEY it is KVCTL_WATCH_KEY (and
KVCTL_WATCH_RANGE_END).

Examples:
  kvctl watch config/ --prefix
  kvctl watch config/app -- systemctl reload app
  kvctl watch config/ --prefix --exec 'echo "$KVCTL_WATCH_KEY changed"'`;

export function addWatch(program: Command, context: Context, trailing: readonly string[]): void {
  const command = program
    .command('watch')
    .argument('[key]')
    .argument('[rangeEnd]', 'first key behind the range')
    .description('Print changes as they happen')
    .addHelpText('after', HELP);
  flag(command, '--prefix', 'every key that starts with KEY');
  flag(command, '--from-key', 'every key from KEY on, in byte order');
  flag(command, '--rev <revision>', 'begin with this revision instead of now (one shard)');
  flag(command, '--shard-rev <list>', 'begin with these revisions, e.g. 0=17,1=5 (several shards)');
  flag(command, '--prev-kv', 'print what each key held before');
  flag(command, '--exec <command>', 'shell command to run for each event');
  flag(command, '--count <n>', 'end after this many events; 0: once the watch stands');
  flag(command, '--progress-notify', 'print how far the watch is when nothing else tells');
  flag(command, '-i, --interactive', 'read watches from standard input');
  command.action(async (given: string | undefined, end: string | undefined, flags: WatchFlags) => {
    if (flags.interactive === true) {
      const { watchInteractively } = await import('./watch-interactive.ts');
      await watchInteractively(context, addWatch);
      return;
    }
    const { KVCTL_WATCH_KEY: envKey, KVCTL_WATCH_RANGE_END: envEnd } = context.io.env;
    const key = given ?? envKey;
    if (key === undefined) throw new InputError('watch needs a key', 'kvctl watch KEY');
    const rangeEnd = given === undefined ? envEnd : end;
    await watchOne(
      context,
      targetOf(key, rangeEnd, flags.prefix === true, flags.fromKey === true),
      {
        flags,
        trailing,
      },
    );
  });
}

async function watchOne(
  context: Context,
  target: Bytes | KeyRange,
  { flags, trailing }: { readonly flags: WatchFlags; readonly trailing: readonly string[] },
): Promise<void> {
  const timed = timeLimit(context);
  const options: WatchOptions = {
    signal: timed.signal,
    prevKv: flags.prevKv,
    startRevision: flags.rev === undefined ? undefined : parseCount(flags.rev) || undefined,
    revisions: flags.shardRev === undefined ? undefined : parseShardRevisions(flags.shardRev),
  };
  const handler = handlerOf(context, flags, trailing);
  const limit = flags.count === undefined ? Number.POSITIVE_INFINITY : parseCount(flags.count);
  const follower = new Follower(handler, limit);
  await context.withClient(async (client) => {
    let stopTelling = (): void => {};
    try {
      const crossShard = advise('KV_CROSS_SHARD', 'kvctl watch --shard-rev 0=17,1=5 …');
      const watch = await client.watch(target, options).catch(crossShard);
      context.watches?.add(watch);
      if (flags.progressNotify === true) stopTelling = tellProgress(context, watch, follower);
      await follower.follow(watch);
    } catch (error) {
      if (!timed.isOver()) throw error;
      follower.timeIsOver();
    } finally {
      stopTelling();
      timed.cancel();
    }
  });
}

const PROGRESS_MS = 500;

/** Says so when a watch has come further without an event. */
function tellProgress(context: Context, watch: Watch, follower: Follower): () => void {
  let told = '';
  let seen = 0;
  const timer = setInterval(() => {
    const now = progressText(watch.resumeAt());
    if (now === told || now === '') return;
    const isByEvents = follower.seen !== seen;
    seen = follower.seen;
    told = now;
    if (!isByEvents) context.io.out(printProgress(context.globals(), watch.resumeAt()));
  }, PROGRESS_MS);
  return () => clearInterval(timer);
}

export interface TimeLimit {
  readonly signal: AbortSignal;
  readonly isOver: () => boolean;
  readonly cancel: () => void;
}

/** --timeout bounds a watch only when somebody said so: its default is meant for questions. */
export function timeLimit(context: Context): TimeLimit {
  const { timeoutGiven, timeoutMs } = context.globals();
  const { signal } = context.io;
  if (!timeoutGiven) return { signal, isOver: () => false, cancel: () => {} };
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(), timeoutMs).unref();
  return {
    signal: AbortSignal.any([signal, over.signal]),
    isOver: () => over.signal.aborted && !signal.aborted,
    cancel: () => clearTimeout(timer),
  };
}

type Handler = (event: WatchEvent) => Promise<void>;

/** Hands events on, `limit` at most. */
class Follower {
  readonly #handler: Handler;
  readonly #limit: number;
  /** Events that came. */
  seen = 0;

  constructor(handler: Handler, limit: number) {
    this.#handler = handler;
    this.#limit = limit;
  }

  async follow(watch: Watch): Promise<void> {
    if (this.#limit === 0) {
      await watch.ready;
      watch.close();
      return;
    }
    for await (const event of watch) {
      await this.#handler(event);
      this.seen += 1;
      if (this.seen >= this.#limit) return;
    }
  }

  timeIsOver(): void {
    if (this.#limit === Number.POSITIVE_INFINITY) return;
    const came = `${this.seen} of ${this.#limit} events came within --timeout`;
    throw new Unfinished(came, 'watch again, with a longer --timeout');
  }
}

export function parseShardRevisions(text: string): Readonly<Record<string, number>> {
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
  const look = context.globals();
  return async (event) => io.out(printEvent(look, event));
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
      ETCD_WATCH_KEY: JSON.stringify(shown(event.kv.key)),
      ETCD_WATCH_VALUE: JSON.stringify(shown(event.kv.value)),
      ETCD_WATCH_EVENT_TYPE: JSON.stringify(event.type.toUpperCase()),
      ETCD_WATCH_REVISION: String(event.kv.modRevision),
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
