import { KvError, META_SHARD } from '@kvorum/base';
import type { SnapshotView } from '@kvorum/replica';
import { type ShardMap, shardsWithSlots } from '@kvorum/shard';
import type { Host } from '../host.ts';
import { notHere } from '../router/elsewhere.ts';
import { newestMap } from './newest-map.ts';
import { deadlineOf } from './route-options.ts';
import type { Call } from './service.ts';

/**
 * Views of all that the cluster holds, each shard at a moment of its own, the meta shard with its map, users and roles among them. What
 * was acknowledged before is in them. Whoever asks closes them.
 *
 * Errors: KV_UNAVAILABLE while slots move; KV_NOT_FOUND for a shard that this member has no replica of.
 */
export async function snapshotViews(host: Host, call: Call): Promise<readonly SnapshotView[]> {
  const { version, shards } = await quietMap(host, call);
  const views: SnapshotView[] = [];
  try {
    for (const shard of shards) {
      const replica = host.replica(shard);
      if (replica === undefined) throw notHere(host, shard);
      await replica.barrier(deadlineOf(host, call));
      views.push(await replica.snapshotView());
    }
    if ((await quietMap(host, call)).version !== version) throw moved();
    return views;
  } catch (error) {
    await closeAll(views);
    throw error;
  }
}

export async function closeAll(views: readonly SnapshotView[]): Promise<void> {
  await Promise.all(views.map((view) => view.close()));
}

const moved = (): KvError =>
  new KvError('KV_UNAVAILABLE', 'slots are being moved between shards: ask again later');

/** While slots move a key might be in two views, or in none. */
async function quietMap(
  host: Host,
  call: Call,
): Promise<{ readonly version: number; readonly shards: readonly string[] }> {
  const map: ShardMap = await newestMap(host, call);
  if (map.moves !== undefined && map.moves.length > 0) throw moved();
  return { version: map.version, shards: [...shardsWithSlots(map), META_SHARD] };
}
