import { formatId, toHex } from '@kvorum/base';
import type { Rng } from '@kvorum/ports';
import { initialShardMap, placeReplicas, type ShardMap } from '@kvorum/shard';
import type { KvdConfig } from '../config/schema.ts';
import type { Cluster } from './cluster.ts';
import { deriveMetaUid } from './identity.ts';

/** The shard map that the first leader of the meta shard writes. */
export function firstMap(config: KvdConfig, cluster: Cluster, rng: Rng): ShardMap {
  const map = initialShardMap({
    clusterId: formatId(cluster.id),
    shardCount: config.shards,
    members: cluster.members.map(({ id, name, peer, client }) => ({
      id: formatId(id),
      name,
      peer,
      client,
      shards: config.shards,
    })),
    rules: config.routing.rules,
    replicas: config.replicas === 0 ? cluster.members.length : config.replicas,
    uids: Array.from({ length: config.shards }, () => toHex(rng.bytes(16))),
    metaUid: toHex(deriveMetaUid(cluster.id)),
  });
  return placeReplicas({ ...map, replicas: config.replicas });
}
