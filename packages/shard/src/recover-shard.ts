import { KvError } from '@kvorum/base';
import type { GenesisEntry, ShardMap } from './shard-map.ts';
import { shardEntryOf } from './voters.ts';

/**
 * The map in which a shard goes on in the next generation of its log. Its voters are those wanted now.
 *
 * @param from - the generation that the decision was made for; another one means that somebody else was faster.
 * Errors: KV_NOT_FOUND; KV_INVALID_ARGUMENT when the generation is another one by now.
 */
export function recoverShard(
  map: ShardMap,
  shard: string,
  { from, genesis }: { readonly from: number; readonly genesis: GenesisEntry },
): ShardMap {
  const found = shardEntryOf(map, shard);
  if (found === undefined) throw new KvError('KV_NOT_FOUND', `no shard ${shard}`);
  if (found.generation !== from) {
    const now = `shard ${shard} is at generation ${found.generation} by now, not at ${from}`;
    throw new KvError('KV_INVALID_ARGUMENT', now, {
      details: { shard, hint: 'look again: somebody else has recovered it' },
    });
  }
  const { initialVoters: _, ...entry } = found;
  const next = { ...entry, generation: from + 1, genesis };
  return { ...map, shards: map.shards.map((one) => (one.id === shard ? next : one)) };
}
