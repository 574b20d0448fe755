import type { HandOverEvent } from '@kvorum/replica';
import type { HandOvers, MoveInfo } from '@kvorum/wire';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Around the second that a slot may be away. */
const SECONDS = [0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 0.8, 1, 2, 4, 8, 16];

/** What slot moves tell. */
export interface MoveMetrics {
  /** Where the gauges of the moves that this member drives read from. */
  readonly source: (source: () => readonly MoveInfo[]) => void;
  readonly told: (event: HandOverEvent) => void;
  /** All of that since the start. */
  readonly totals: () => HandOvers;
}

export function moveMetrics(registry: Registry): MoveMetrics {
  const registers = [registry];
  const took = new Histogram({
    name: 'kv_slot_hand_over_seconds',
    help: 'For how long nobody served the slots of a move, from the freeze on until they were adopted.',
    buckets: SECONDS,
    registers,
  });
  const voided = new Counter({
    name: 'kv_slot_hand_overs_void_total',
    help: 'Hand-overs that took too long, or were put off since they would have; another attempt followed.',
    registers,
  });
  const ended = new Counter({
    name: 'kv_slot_moves_total',
    help: 'Slot moves that ended.',
    labelNames: ['outcome'] as const,
    registers,
  });
  const outcomes = ['moved', 'aborted'] as const;
  for (const outcome of outcomes) ended.inc({ outcome }, 0);
  let totals: HandOvers = { done: 0, longestMs: 0, void: 0, moved: 0, aborted: 0 };
  return {
    source: moveGauges(registry),
    totals: () => totals,
    told: (event) => {
      if (event.kind === 'done') {
        took.observe(event.tookMs / 1000);
        const longestMs = Math.max(totals.longestMs, Math.round(event.tookMs));
        totals = { ...totals, longestMs };
      } else if (event.kind === 'void') voided.inc();
      else ended.inc({ outcome: event.kind });
      totals = { ...totals, [event.kind]: totals[event.kind] + 1 };
    },
  };
}

function moveGauges(registry: Registry): MoveMetrics['source'] {
  let read: () => readonly MoveInfo[] = () => [];
  const add = (name: string, help: string, value: (move: MoveInfo) => number): void => {
    const gauge: Gauge<'from' | 'to' | 'phase'> = new Gauge({
      name,
      help,
      labelNames: ['from', 'to', 'phase'],
      registers: [registry],
      collect() {
        gauge.reset();
        for (const move of read()) {
          const { from, to, phase, copiedRows } = move;
          if (copiedRows !== undefined) gauge.set({ from, to, phase }, value(move));
        }
      },
    });
  };
  add('kv_slot_move_rows', 'Rows copied by this driver.', (move) => move.copiedRows ?? 0);
  add('kv_slot_move_bytes', 'Bytes copied by this driver.', (move) => move.copiedBytes ?? 0);
  add('kv_slot_move_attempt', 'Hand-overs begun, with the one to come.', (move) => move.attempt);
  add('kv_slot_move_lag_revisions', 'Revisions of the source that are not copied yet.', (move) =>
    Math.max(0, (move.sourceRevision ?? 0) + 1 - (move.next ?? 0)),
  );
  return (source) => {
    read = source;
  };
}
