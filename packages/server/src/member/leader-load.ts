import { formatId, isShardId, META_SHARD, type MemberId, type ShardId } from '@kvorum/base';
import type { Clock, PeerTransport } from '@kvorum/ports';
import { LeaderLoadPlanner, preferLeaders, type ShardMap } from '@kvorum/shard';
import type { Logger } from '../logger.ts';
import { memberIdOf } from './cluster.ts';
import type { MapEditor } from './map-editor.ts';
import { askMemberships, ownMemberships, type ReportedReplicas } from './memberships.ts';

const LOOK_MS = 10_000;

export interface LoadBalancingParts {
  readonly self: MemberId;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly replicas: ReportedReplicas;
  /** Requests a second that this member serves of a shard, smoothed. */
  readonly loadOf: (shard: string) => number;
  readonly peers: Pick<PeerTransport, 'request' | 'isReachable'>;
  readonly editor: Pick<MapEditor, 'update'>;
  readonly map: () => ShardMap;
}

/**
 * Evens out the load of leaders: the leader of the meta group, which is one at a time, changes in the shard map which voter should
 * lead a shard; each member then hands over by the map, as ever. Returns how to stop.
 */
export function startLoadBalancing(parts: LoadBalancingParts): () => void {
  const { clock, logger } = parts;
  const balancing = new LoadBalancing(parts);
  let cancel = (): void => {};
  let stopped = false;
  const again = (): void => {
    if (!stopped) cancel = clock.setTimer(LOOK_MS, tick);
  };
  const tick = (): void => {
    balancing.look().then(again, (error: unknown) => {
      logger.debug({ err: error }, 'the load of leaders was not evened out; trying again');
      again();
    });
  };
  again();
  return () => {
    stopped = true;
    cancel();
  };
}

class LoadBalancing {
  readonly #parts: LoadBalancingParts;
  #planner = new LeaderLoadPlanner();

  constructor(parts: LoadBalancingParts) {
    this.#parts = parts;
  }

  async look(): Promise<void> {
    const { self, clock, logger, replicas, loadOf, peers, editor, map: current } = this.#parts;
    if (!replicas.leads(META_SHARD)) {
      this.#planner = new LeaderLoadPlanner();
      return;
    }
    const map = current();
    const told = [...ownMemberships(replicas, loadOf), ...(await askMemberships(map, self, peers))];
    const leaders = new Map<ShardId, string>();
    const loads = new Map<ShardId, number>();
    for (const { shard, leads, leader, load } of told) {
      if (!leads || leader === undefined || !isShardId(shard)) continue;
      leaders.set(shard, leader);
      if (load !== undefined) loads.set(shard, load);
    }
    const healthy = this.#healthy(map);
    const preferences = this.#planner.look(clock.nowMs(), { map, healthy, leaders, loads });
    if (preferences.length === 0) return;
    await editor.update((present) => preferLeaders(present, preferences));
    logger.info({ preferences }, 'other leaders are wanted, to even out the load');
  }

  #healthy(map: ShardMap): ReadonlySet<string> {
    const { self, peers } = this.#parts;
    const fit = map.members.filter(({ id, state }) => {
      if (state === 'draining' || state === 'leaving') return false;
      return id === formatId(self) || peers.isReachable(memberIdOf(id));
    });
    return new Set(fit.map(({ id }) => id));
  }
}
