import { assert, type ShardId } from '@kvorum/base';
import type { ShardMap } from './shard-map.ts';

export interface LeadershipTransfer {
  readonly shard: ShardId;
  /** Member ids, 16 hex digits. */
  readonly from: string;
  readonly to: string;
}

export interface PlacementInput {
  readonly map: ShardMap;
  /** Member that leads each shard now; shards without a known leader are absent. */
  readonly leaders: ReadonlyMap<ShardId, string>;
  /** Members fit to lead. Whoever fills it debounces: this function follows every change of it at once. */
  readonly healthy: ReadonlySet<string>;
}

/** Moves one shard from a member to one that has at least two leaders less; false when nothing helps. */
function evenOut(
  targets: Map<ShardId, string>,
  loads: Map<string, number>,
  preferences: ReadonlyMap<ShardId, readonly string[]>,
): boolean {
  const loadOf = (member: string): number => loads.get(member) ?? 0;
  for (const [shard, voters] of preferences) {
    const from = targets.get(shard);
    assert(from !== undefined, `no target for shard ${shard}`);
    const to = voters.find((voter) => loadOf(from) - loadOf(voter) >= 2);
    if (to === undefined) continue;
    targets.set(shard, to);
    loads.set(from, loadOf(from) - 1);
    loads.set(to, loadOf(to) + 1);
    return true;
  }
  return false;
}

/**
 * Where every shard should be led: at its first healthy preference, evened out where that leaves one member two leaders above
 * another that could take one. Depends on the map and the healthy members only, never on where leaders are now: so it is a
 * fixed point, and transfers towards it end.
 */
export function leaderTargets(
  map: ShardMap,
  healthy: ReadonlySet<string>,
): ReadonlyMap<ShardId, string> {
  const preferences = new Map<ShardId, readonly string[]>();
  const targets = new Map<ShardId, string>();
  const loads = new Map<string, number>();
  for (const { id, voters } of map.shards) {
    const fit = voters.filter((voter) => healthy.has(voter));
    const [first] = fit;
    if (first === undefined) continue;
    preferences.set(id, fit);
    targets.set(id, first);
    loads.set(first, (loads.get(first) ?? 0) + 1);
  }
  // Every move lowers the sum of the squared loads: this ends.
  while (evenOut(targets, loads, preferences)) {
    // evenOut does the work
  }
  return targets;
}

/** The transfers that bring each shard's leadership where {@link leaderTargets} wants it; none when all is well. */
export function leadershipTransfers(input: PlacementInput): readonly LeadershipTransfer[] {
  const transfers: LeadershipTransfer[] = [];
  for (const [shard, to] of leaderTargets(input.map, input.healthy)) {
    const from = input.leaders.get(shard);
    // Without a leader there is nobody to ask: the election comes first.
    if (from !== undefined && from !== to) transfers.push({ shard, from, to });
  }
  return transfers;
}
