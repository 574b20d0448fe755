import type { MoveInfo, ReshardParams } from '@kvorum/client';
import type { Command } from 'commander';
import { type Context, flag, parseCount } from '../context.ts';
import { jsonLine } from '../output.ts';
import { printRows } from './rows.ts';

const POLL_MS = 250;

const megabytes = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MB`;

function progressOf({ phase, next, sourceRevision }: MoveInfo): string {
  if (phase !== 'copying' || next === undefined || sourceRevision === undefined) return '';
  if (sourceRevision === 0) return '100%';
  return `${Math.min(100, Math.floor((100 * next) / (sourceRevision + 1)))}%`;
}

function printMoves(context: Context, moves: readonly MoveInfo[]): void {
  if (moves.length === 0 && context.globals().format !== 'json') {
    context.io.out('no slots are moving\n');
    return;
  }
  const rows = moves.map((move) => [
    move.id,
    move.from,
    move.to,
    String(move.slots),
    move.phase,
    String(move.attempt),
    progressOf(move),
    move.copiedRows === undefined ? '' : `${move.copiedRows} rows`,
    move.copiedBytes === undefined ? '' : megabytes(move.copiedBytes),
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
    printMoves(context, moves);
    return;
  }
  await waitForMoves(context);
  if (context.globals().format === 'json') context.io.out(jsonLine({ done: moves.length }));
  else context.io.out(`${moves.length} moves done\n`);
}

/** Returns when no slots move any more; asks again and again, since a member may go away meanwhile. */
async function waitForMoves(context: Context): Promise<void> {
  await context.withClient(async (client) => {
    while ((await client.moves(context.call())).length > 0) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  });
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
  command('split', 'Move half of a shard into a new one')
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
  command('rebalance', 'Spread the slots evenly over the shards there are').action(
    (flags: { wait?: boolean }) => begin(context, { action: 'rebalance' }, flags),
  );
  command(
    'abort',
    'Stop the moves that are not decided yet; their slots stay where they are',
  ).action((flags: { wait?: boolean }) => begin(context, { action: 'abort' }, flags));
  shard
    .command('status')
    .description('Slots that are moving, and how far they are')
    .action(async () => {
      printMoves(context, await context.withClient((client) => client.moves(context.call())));
    });
}
