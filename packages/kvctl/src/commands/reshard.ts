import type { KvorumClient, MoveInfo, ReshardParams } from '@kvorum/client';
import type { Command } from 'commander';
import { type Context, flag, parseCount } from '../context.ts';
import { Unfinished } from '../exit.ts';
import { jsonLine } from '../output.ts';
import { bytesText, printRows } from './rows.ts';
import { handOverLine, type Progress, progressOf } from './shard-status.ts';
import { askUntil } from './until.ts';

const WHAT_IS_LEFT = 'kvctl shard status   # what is left';

function copiedOf({ phase, next, sourceRevision }: MoveInfo): string {
  if (phase !== 'copying' || next === undefined || sourceRevision === undefined) return '';
  if (sourceRevision === 0) return '100%';
  return `${Math.min(100, Math.floor((100 * next) / (sourceRevision + 1)))}%`;
}

function printMoves(context: Context, moves: readonly MoveInfo[], none: string): void {
  if (moves.length === 0 && context.globals().format !== 'json') {
    context.io.out(`${none}\n`);
    return;
  }
  const rows = moves.map((move) => [
    move.id,
    move.from,
    move.to,
    String(move.slots),
    move.phase,
    String(move.attempt),
    copiedOf(move),
    move.copiedRows === undefined ? '' : `${move.copiedRows} rows`,
    move.copiedBytes === undefined ? '' : bytesText(move.copiedBytes),
  ]);
  const head = ['MOVE', 'FROM', 'TO', 'SLOTS', 'PHASE', 'ATTEMPT', 'COPIED', 'ROWS', 'BYTES'];
  printRows(context, head, rows, moves);
}

async function begin(
  context: Context,
  params: ReshardParams,
  flags: { readonly wait?: boolean },
): Promise<void> {
  const moves = await context.withClient((client) => client.reshard(params, context.call()));
  if (flags.wait !== true || moves.length === 0) {
    const isAbort = params.action === 'abort';
    printMoves(context, moves, isAbort ? 'no slots are moving' : 'no slots have to move');
    return;
  }
  await waitForMoves(context);
  if (context.globals().format === 'json') context.io.out(jsonLine({ done: moves.length }));
  else context.io.out(`${moves.length} moves done\n`);
}

/** Returns when no slots move any more. Errors: {@link Unfinished} when a --timeout that was given is over. */
async function waitForMoves(context: Context): Promise<void> {
  const count = ({ length }: readonly MoveInfo[]): string | undefined =>
    length === 0 ? undefined : `${length} ${length === 1 ? 'move' : 'moves'} under way`;
  const left = await context.withClient((client) =>
    askUntil(context, () => client.moves(context.call()), count, { silent: true }),
  );
  const unfinished = count(left);
  if (unfinished !== undefined) throw new Unfinished(unfinished, WHAT_IS_LEFT);
}

/** The commands that change how many shards there are, and where slots live. */
export function addReshard(shard: Command, context: Context): void {
  const command = (name: string, text: string): Command => {
    const added = shard.command(name).description(text);
    flag(added, '--wait', 'return when the slots have moved');
    return added;
  };
  command('scale', 'Change the number of shards while clients go on')
    .argument('<shards>', 'how many')
    .action((text: string, flags: { wait?: boolean }) =>
      begin(context, { action: 'scale', shards: parseCount(text) }, flags),
    );
  command('split', 'Move half of the load of a shard, or of its size, into a new one')
    .argument('<shard>')
    .action((id: string, flags: { wait?: boolean }) =>
      begin(context, { action: 'split', shard: id }, flags),
    );
  command('merge', 'Move all slots of a shard into another one')
    .argument('<from>')
    .argument('<to>')
    .action((from: string, to: string, flags: { wait?: boolean }) =>
      begin(context, { action: 'merge', shard: from, to }, flags),
    );
  command('rebalance', 'Even out the load and the size of the shards there are').action(
    (flags: { wait?: boolean }) => begin(context, { action: 'rebalance' }, flags),
  );
  command(
    'abort',
    'Stop the moves that are not decided yet; their slots stay where they are',
  ).action((flags: { wait?: boolean }) => begin(context, { action: 'abort' }, flags));
  const status = shard
    .command('status')
    .description('What is on its way: slots that move, replicas that come and go');
  flag(status, '--wait', 'return when everything is where the shard map wants it');
  status.action((flags: { wait?: boolean }) => showStatus(context, flags.wait === true));
}

async function showStatus(context: Context, wait: boolean): Promise<void> {
  const progress = await context.withClient((client) =>
    wait ? untilSettled(client, context) : progressOf(client, context.call),
  );
  const { handOvers, moves, pending, shards } = progress;
  if (context.globals().format === 'json') {
    context.io.out(jsonLine({ settled: pending.length === 0, pending, moves, handOvers }));
    return;
  }
  if (moves.length > 0) printMoves(context, moves, '');
  if (pending.length > 0) context.io.out(pending.map((line) => `${line}\n`).join(''));
  else {
    const count = shards.filter(({ slots }) => slots.length > 0).length;
    context.io.out(`all ${count} shards are where they should be\n`);
  }
  const line = wait ? undefined : handOverLine(handOvers);
  if (line !== undefined) context.io.out(`${line}\n`);
}

/** Errors: {@link Unfinished} when a --timeout that was given is over. */
async function untilSettled(client: KvorumClient, context: Context): Promise<Progress> {
  const progress = await askUntil(
    context,
    () => progressOf(client, context.call),
    ({ pending: [first, ...others] }) =>
      first === undefined || others.length === 0 ? first : `${first} (and ${others.length} more)`,
  );
  if (progress.pending.length === 0) return progress;
  throw new Unfinished(progress.pending.join('; '), WHAT_IS_LEFT);
}
