import type { MoveInfo } from '@kvorum/wire';
import { Gauge, type Registry } from 'prom-client';

/** Gauges of the slot moves that a member drives; returns how to say where they read from. */
export function moveMetrics(registry: Registry): (source: () => readonly MoveInfo[]) => void {
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
