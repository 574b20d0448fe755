import { formatId, isShardId, META_SHARD, type MemberId, type ShardId } from '@kvorum/base';
import type { Clock, PeerTransport } from '@kvorum/ports';
import { LeaderLoadPlanner, preferLeaders, type ShardMap, SmoothedRate } from '@kvorum/shard';
import type { Logger } from '../logger.ts';
import { memberIdOf } from './cluster.ts';
import type { MapEditor } from './map-editor.ts';
import { askMemberships, ownMemberships, type ReportedReplicas } from './memberships.ts';

const MEASURE_MS = 5000;
const LOOK_MS = 10_000;

interface Measured {
  readonly rate: SmoothedRate;
  commands: number;
  atMs: number;
}

/** Commands a second of the shards that this member leads, smoothed; a shard that it takes over begins anew. */
export class LedLoads {
  readonly #clock: Clock;
  readonly #led: () => readonly string[];
  readonly #commandsOf: (shard: string) => number;
  readonly #measured = new Map<string, Measured>();

  /** `commandsOf` counts what was ever executed. */
  constructor(clock: Clock, led: () => readonly string[], commandsOf: (shard: string) => number) {
    this.#clock = clock;
    this.#led = led;
    this.#commandsOf = commandsOf;
  }

  /** Returns how to stop. */
  start(): () => void {
    let cancel = (): void => {};
    const tick = (): void => {
      cancel = this.#clock.setTimer(MEASURE_MS, tick);
      this.measure();
    };
    tick();
    return () => cancel();
  }

  measure(): void {
    const led = new Set(this.#led());
    for (const shard of this.#measured.keys()) if (!led.has(shard)) this.#measured.delete(shard);
    const atMs = this.#clock.nowMs();
    for (const shard of led) {
      const commands = this.#commandsOf(shard);
      const known = this.#measured.get(shard);
      known?.rate.add(commands - known.commands, atMs - known.atMs);
      this.#measured.set(shard, { rate: known?.rate ?? new SmoothedRate(), commands, atMs });
    }
  }

  /** Undefined: not led here, or not for long enough. */
  of(shard: string): number | undefined {
    return this.#measured.get(shard)?.rate.perSecond;
  }
}

export interface LoadBalancingParts {
  readonly self: MemberId;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly replicas: ReportedReplicas;
  readonly loads: Pick<LedLoads, 'of'>;
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
    const { self, clock, logger, replicas, loads: own, peers, editor, map: current } = this.#parts;
    if (!replicas.leads(META_SHARD)) {
      this.#planner = new LeaderLoadPlanner();
      return;
    }
    const map = current();
    const told = [
      ...ownMemberships(replicas, (shard) => own.of(shard)),
      ...(await askMemberships(map, self, peers)),
    ];
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
