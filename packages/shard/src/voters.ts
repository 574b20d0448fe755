import { META_SHARD } from '@kvorum/base';
import type { ShardEntry, ShardMap } from './shard-map.ts';

export function shardEntryOf(map: ShardMap, shard: string): ShardEntry | undefined {
  return map.shards.find((entry) => entry.id === shard);
}

/**
 * Who voted in a shard before the first `config` record of its log, member ids. What a replica without a membership of its own
 * begins with: with the voters wanted now, a new one would take itself for a voter before the log says so.
 */
export function initialVotersOf(map: ShardMap, entry: ShardEntry): readonly string[] {
  if (entry.initialVoters !== undefined) return entry.initialVoters;
  // The meta group of a cluster whose map was never edited is all its members.
  return entry.id === META_SHARD ? map.members.map(({ id }) => id) : entry.voters;
}

/** Whoever edits a map says which voters are wanted from now on; with whom each log began is kept here. */
export function keepInitialVoters(before: ShardMap, after: ShardMap): ShardMap {
  const shards = after.shards.map((entry): ShardEntry => {
    const earlier = shardEntryOf(before, entry.id);
    // A new shard or a new generation of its log begins with the voters it is given.
    if (earlier === undefined || earlier.generation !== entry.generation) return entry;
    return { ...entry, initialVoters: initialVotersOf(before, earlier) };
  });
  return { ...after, shards };
}
