import type { Acknowledged } from './recorder.ts';

/** Shard → the longest time without an acknowledged write between two moments, milliseconds. */
export function longestGaps(
  acknowledged: readonly Acknowledged[],
  shards: readonly string[],
  fromMs: number,
  toMs: number,
): Readonly<Record<string, number>> {
  const gaps: Record<string, number> = {};
  for (const shard of shards) {
    const ends = acknowledged
      .flatMap((write) =>
        write.shard === shard && write.endMs > fromMs && write.endMs < toMs ? [write.endMs] : [],
      )
      .sort((a, b) => a - b);
    let last = fromMs;
    let longest = 0;
    for (const end of [...ends, toMs]) {
      longest = Math.max(longest, end - last);
      last = end;
    }
    gaps[shard] = Math.round(longest);
  }
  return gaps;
}
