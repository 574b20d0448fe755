import type { ShardId } from '@kvorum/base';
import { recordSimulation } from './checkers/from-simulation.ts';
import type { RecordedHistory } from './checkers/recorded-history.ts';
import type { History } from './history.ts';
import type { World } from './world.ts';

/** For people: seed, commit. */
type RunText = Readonly<Record<string, string | number | boolean>>;

/** A run as a history of these shards, with their logs. */
export function recordShards(
  world: World,
  shards: readonly ShardId[],
  { ops, leasePuts, watches }: History,
  run: RunText,
): RecordedHistory {
  const told = ({ shard }: { readonly shard: ShardId }): boolean => shards.includes(shard);
  const logs = shards.map((shard) => {
    const { entries, end } = world.history(shard);
    return [shard, entries.slice(0, end)] as const;
  });
  const seen = {
    ops: ops.filter(told),
    leasePuts: leasePuts.filter(told),
    watches: watches.filter(told),
  };
  return recordSimulation(seen, new Map(logs), run);
}

/**
 * A run whose slots move as a history of its groups of keys: the revisions of each rise wherever it lives, and no one log tells them. A compaction
 * is of whatever shard a group is in at the moment, and so is the revision in its answer.
 */
export function recordGroups({ ops, leasePuts, watches }: History, run: RunText): RecordedHistory {
  const ofKeys = ops.filter(({ op }) => op.kind !== 'compact');
  return recordSimulation({ ops: ofKeys, leasePuts, watches }, new Map(), run);
}
