import type { SlotInfo } from '@kvorum/client';
import type { Command } from 'commander';
import { type Context, flag, parseCount } from '../context.ts';
import { jsonLine } from '../output.ts';
import { drawColumns, drawTable } from '../table.ts';
import { bytesText } from './rows.ts';

/** Flags of `shard list` about slots. */
export interface SlotFlags {
  readonly slots?: boolean;
  readonly shard?: string;
  readonly top?: string;
}

const HEAD = ['SHARD', 'SLOTS', 'READS/S', 'WRITES/S', 'TRAFFIC/S', 'KEYS', 'SIZE'];

export function addSlotFlags(list: Command): void {
  flag(list, '--slots', 'load and size of the ranges of slots, and of the busiest slots');
  flag(list, '--shard <shard>', 'with --slots: only this shard');
  flag(list, '--top <count>', 'with --slots: how many of the busiest slots (16)');
}

const rateText = (rate: number): string => (rate < 10 ? rate.toFixed(1) : String(Math.round(rate)));

function rowOf({ shard, from, to, reads, writes, traffic, keys, bytes }: SlotInfo): string[] {
  return [
    shard,
    from === to ? String(from) : `${from}-${to}`,
    rateText(reads),
    rateText(writes),
    bytesText(traffic),
    String(keys),
    bytesText(bytes),
  ];
}

/** `kvctl shard list --slots`: first what shards have, then the slots that are worth a look. */
export async function listSlots(context: Context, { shard, top }: SlotFlags): Promise<void> {
  const params = {
    ...(shard === undefined ? {} : { shard }),
    ...(top === undefined ? {} : { top: parseCount(top) }),
  };
  const view = await context.withClient((client) => client.slots(params, context.call()));
  const { format } = context.globals();
  if (format === 'json') {
    context.io.out(jsonLine(view));
    return;
  }
  const draw = (rows: readonly (readonly string[])[]): string =>
    format === 'table' ? drawTable(HEAD, rows) : drawColumns([HEAD, ...rows]);
  context.io.out(draw(view.ranges.map(rowOf)));
  if (view.slots.length === 0) return;
  context.io.out(`\nbusiest slots\n${draw(view.slots.map(rowOf))}`);
}
