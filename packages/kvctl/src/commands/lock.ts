import type { CallOptions, Entry, KvorumClient, Lock } from '@kvorum/client';
import type { Command } from 'commander';
import { type Context, flag, parseCount } from '../context.ts';
import { EXIT, Exit, InputError, Unfinished } from '../exit.ts';
import { printRange, shown } from '../output.ts';

const HELP_LOCK = `
Waits for the lock, for as long as it takes unless a --timeout is given, and prints its key; Ctrl-C
releases it. With a command it is held while that runs, and the command's exit code is kvctl's. The
command has KVCTL_LOCK_KEY and KVCTL_LOCK_REV (a fencing token: greater for each holder) in its
environment, also as ETCD_LOCK_…; it gets SIGTERM when the lock is lost.

Examples:
  kvctl lock jobs/nightly -- ./nightly.sh
  kvctl lock jobs/nightly --ttl 30`;

const HELP_ELECT = `
Campaigns with a proposal, and prints it once elected; Ctrl-C resigns. With -l prints each leader's key
and proposal as they come.

Examples:
  kvctl elect scheduler host7:8080
  kvctl elect -l scheduler`;

/** etcd's sessions have so many seconds. */
const ELECT_TTL_SECONDS = 60;

/** Waiting is bounded by --timeout only when somebody said so. */
function waiting(context: Context): CallOptions {
  const { timeoutGiven, timeoutMs } = context.globals();
  return { signal: context.io.signal, timeoutMs: timeoutGiven ? timeoutMs : undefined };
}

function printEntry({ io, globals }: Context, entry: Entry): void {
  const result = { entries: [entry], count: 1, more: false, shards: [] };
  io.out(printRange(globals(), result, { valueOnly: false, countOnly: false }));
}

/** Until it is lost, or somebody interrupts. Errors: why it was lost. */
function untilOver(lost: AbortSignal, { io }: Context): Promise<void> {
  const signal = AbortSignal.any([lost, io.signal]);
  return new Promise((resolve, reject) => {
    const end = (): void => {
      if (io.signal.aborted) resolve();
      else reject(lost.reason as Error);
    };
    if (signal.aborted) end();
    else signal.addEventListener('abort', end, { once: true });
  });
}

export function addLock(program: Command, context: Context): void {
  const command = program
    .command('lock')
    .argument('<name>')
    .argument('[command...]', 'run while the lock is held; its flags stand behind --')
    .description('Hold a lock, until interrupted or while a command runs')
    .addHelpText('after', HELP_LOCK);
  flag(command, '--ttl <seconds>', 'others get it so long after this process is gone', (option) =>
    option.default('10'),
  );
  command.action(
    async (name: string, words: readonly string[], flags: { readonly ttl: string }) => {
      const ttlSeconds = parseCount(flags.ttl);
      if (ttlSeconds < 1) throw new InputError('--ttl must be at least 1');
      const code = await context.withClient(async (client) => {
        const lock = await client.lock(name, { ...waiting(context), ttlSeconds });
        try {
          return await holding(client, lock, words, context);
        } finally {
          await lock.release({ timeoutMs: context.globals().timeoutMs }).catch(() => undefined);
        }
      });
      if (code !== 0) throw new Exit(code);
    },
  );
}

async function holding(
  client: KvorumClient,
  lock: Lock,
  [program, ...args]: readonly string[],
  context: Context,
): Promise<number> {
  if (program === undefined) {
    const entry = await client.get(lock.key, context.call());
    if (entry !== undefined) printEntry(context, entry);
    await untilOver(lock.signal, context);
    return EXIT.ok;
  }
  const { runProgram } = await import('../run-program.ts');
  const [key, token] = [shown(lock.key), String(lock.token)];
  const env = {
    ...{ KVCTL_LOCK_KEY: key, KVCTL_LOCK_REV: token },
    ...{ ETCD_LOCK_KEY: key, ETCD_LOCK_REV: token },
  };
  const signal = AbortSignal.any([lock.signal, context.io.signal]);
  const code = await runProgram(context.io, { program, args, env, signal });
  // What it did may have met with what the next holder does: that is no success.
  if (code === 0 && !context.io.signal.aborted) lock.check();
  return code;
}

export function addElect(program: Command, context: Context): void {
  const command = program
    .command('elect')
    .argument('<election>')
    .argument('[proposal]', 'what the others see of the leader')
    .description('Campaign in an election, or watch who leads')
    .addHelpText('after', HELP_ELECT);
  flag(command, '-l, --listen', 'only watch who leads');
  command.action(
    async (name: string, proposal: string | undefined, flags: { readonly listen?: boolean }) => {
      if (flags.listen === true && proposal !== undefined) {
        throw new InputError('proposal given but -l is set', 'kvctl elect -l NAME');
      }
      if (flags.listen !== true && proposal === undefined) {
        throw new InputError('no proposal argument but -l not set', 'kvctl elect NAME PROPOSAL');
      }
      await context.withClient((client) =>
        proposal === undefined
          ? observe(client, name, context)
          : campaign(client, name, proposal, context),
      );
    },
  );
}

async function campaign(
  client: KvorumClient,
  name: string,
  proposal: string,
  context: Context,
): Promise<void> {
  const options = { ...waiting(context), ttlSeconds: ELECT_TTL_SECONDS };
  const leadership = await client.election(name).campaign(proposal, options);
  try {
    const entry = await client.get(leadership.key, context.call());
    if (entry !== undefined) printEntry(context, entry);
    await untilOver(leadership.signal, context);
  } finally {
    await leadership.resign({ timeoutMs: context.globals().timeoutMs }).catch(() => undefined);
  }
}

/** Until interrupted, or until a --timeout is over. */
async function observe(client: KvorumClient, name: string, context: Context): Promise<void> {
  const { timeoutGiven, timeoutMs } = context.globals();
  const over = new AbortController();
  const timer = timeoutGiven ? setTimeout(() => over.abort(), timeoutMs) : undefined;
  const signal = AbortSignal.any([context.io.signal, over.signal]);
  try {
    for await (const leader of client.election(name).observe({ signal })) {
      printEntry(context, leader);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    clearTimeout(timer);
  }
  if (!signal.aborted) throw new Unfinished('elect: observer lost', 'kvctl elect -l NAME');
}
