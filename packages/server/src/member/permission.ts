import { META_SHARD } from '@kvorum/base';
import type { ShardMap } from '@kvorum/shard';
import type { KvdConfig } from '../config/schema.ts';
import type { Cluster } from './cluster.ts';
import { type OpenLogOptions, openLogWhenReachable } from './open-log.ts';
import { askPeers, newest } from './own-place.ts';
import { pause } from './system.ts';

const RETRY_MS = 500;

export interface PermissionParts {
  readonly config: KvdConfig;
  readonly cluster: Cluster;
  readonly waiting: OpenLogOptions;
  readonly starting: (what: string) => void;
}

/**
 * Waits until a member with an empty disk may open its replicas. It may when the meta group's log is empty (the cluster is new), when a
 * peer has a shard map (which says whether the disk is the right one), or when all the others have empty disks as well: then nobody is
 * left whom a forgotten vote could deceive, and the log brings everything back.
 */
export async function awaitPermission({
  config,
  cluster,
  waiting,
  starting,
}: PermissionParts): Promise<{ readonly map?: ShardMap; readonly mayReplaceDisk: boolean }> {
  const { signal } = waiting;
  const log = await openLogWhenReachable({ shard: META_SHARD, generation: 0 }, waiting);
  try {
    while (!signal.aborted) {
      const bounds = await log.bounds();
      if (!('kind' in bounds) && bounds.end === 0) return { mayReplaceDisk: false };
      const answers = await askPeers(config, cluster.id, signal);
      const map = newest(answers);
      if (map !== undefined) return { map, mayReplaceDisk: false };
      const others = config.members.filter(({ name }) => name !== config.name);
      const fresh = answers.filter((answer) => answer.fresh).map(({ from }) => from);
      const silent = others.map(({ name }) => name).filter((name) => !fresh.includes(name));
      if (silent.length === 0) return { mayReplaceDisk: true };
      starting(
        `its disk is empty and the log is not: waiting for ${silent.join(', ')} to say whether it may vote`,
      );
      await pause(RETRY_MS, signal);
    }
    return { mayReplaceDisk: false };
  } finally {
    await log.close();
  }
}
