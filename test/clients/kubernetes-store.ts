import { type System, startMember } from '../differential/systems.ts';

/** So many revisions of history are kept where a client cannot compact. */
const RETENTION = '500';

/**
 * A store as Kubernetes wants it, with bookmarks within a second. With several shards each kind of resource lies in one: it has its own
 * revisions, and the store compacts by itself, since one number means nothing to all of them.
 */
export function startKubernetesStore(shards: number): Promise<System> {
  const perKind = {
    'routing-rules': JSON.stringify([{ prefix: '/registry/', depth: 2 }]),
    'auto-compaction-mode': 'revision',
    'auto-compaction-retention': RETENTION,
  };
  return startMember({
    shards: String(shards),
    'limits-watch-progress-ms': '1000',
    ...(shards === 1 ? {} : perKind),
  });
}
