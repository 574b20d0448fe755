import type { Answer } from './recorder.ts';

/** Shard → the longest time without an answer between two moments, milliseconds. */
export function longestGaps(
  answers: readonly Answer[],
  shards: readonly string[],
  fromMs: number,
  toMs: number,
): Readonly<Record<string, number>> {
  const gaps: Record<string, number> = {};
  for (const shard of shards) {
    const ends = answers
      .flatMap((each) =>
        each.shard === shard && each.endMs > fromMs && each.endMs < toMs ? [each.endMs] : [],
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
