import { SHARD_MAP_KEY, type ShardMap } from '@kvorum/shard';
import type { Host } from '../host.ts';
import { decodeShardMap } from '../member/shard-map-source.ts';
import { explained } from './kv-calls.ts';
import { deadlineOf } from './route-options.ts';
import type { Call } from './service.ts';

/** The map as the meta shard has it now. */
export async function newestMap(host: Host, call: Call): Promise<ShardMap> {
  const request = { op: 'range', key: SHARD_MAP_KEY } as const;
  const response = await host.router
    .onMeta(request, { deadlineMs: deadlineOf(host, call) })
    .catch((error: unknown) => {
      throw explained(error, true);
    });
  const [kv] = response.op === 'range' ? response.kvs : [];
  return kv === undefined ? host.map() : decodeShardMap(kv.value);
}
