import { Counter, Gauge, type Registry } from 'prom-client';

/** What the scheduled copies of a member tell. */
export interface CopyMetrics {
  /** A copy that was found or made, by the wall clock. */
  readonly last: (shard: string, atMs: number) => void;
  readonly copied: (shard: string, bytes: number, atMs: number) => void;
  readonly failed: (shard: string) => void;
}

export function copyMetrics(registry: Registry): CopyMetrics {
  const about = { labelNames: ['shard'] as const, registers: [registry] };
  const last = new Gauge({
    name: 'kv_snapshot_copy_last_timestamp_seconds',
    help: 'When the newest copy of a led shard in snapshots.store was made; its age is time() minus this.',
    ...about,
  });
  const copies = new Counter({
    name: 'kv_snapshot_copies_total',
    help: 'Copies written to snapshots.store.',
    ...about,
  });
  const bytes = new Counter({
    name: 'kv_snapshot_copy_bytes_total',
    help: 'Bytes of copies written to snapshots.store.',
    ...about,
  });
  const failures = new Counter({
    name: 'kv_snapshot_copy_failures_total',
    help: 'Copies that could not be written.',
    ...about,
  });
  const markLast: CopyMetrics['last'] = (shard, atMs) => last.set({ shard }, atMs / 1000);
  return {
    last: markLast,
    copied: (shard, count, atMs) => {
      copies.inc({ shard });
      bytes.inc({ shard }, count);
      markLast(shard, atMs);
    },
    failed: (shard) => failures.inc({ shard }),
  };
}
