import { formatId, isKvError, isShardId, type MemberId, type ShardId } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import { leadershipTransfers, type ShardMap } from '@kvorum/shard';
import type { Logger } from '../logger.ts';
import { memberIdOf } from './cluster.ts';

const EVERY_MS = 2000;
/** A member must have been fit for so long before it is given a shard: one that flaps gets none. */
const FIT_FOR_MS = 4000;
/** After a transfer that failed. */
const PAUSE_MS = 30_000;
/** Records a successor may be behind. */
const LAG_MAX = 256;

/** What is needed of a replica. */
export interface PlacedReplica {
  status(): {
    readonly raft: {
      readonly accepted: { readonly index: number };
      readonly voters: readonly MemberId[];
      readonly peers: readonly {
        readonly id: MemberId;
        readonly index: number;
        readonly reachable: boolean;
        readonly logReachable: boolean;
      }[];
    };
  };
  transferLeadership(to: MemberId): Promise<void>;
}

export interface PlacementParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly replicas: {
    leaders(): Readonly<Record<string, string>>;
    get(shard: string): PlacedReplica | undefined;
  };
  readonly self: MemberId;
  readonly map: () => ShardMap;
  readonly isReachable: (peer: MemberId) => boolean;
  /** Leaderships moved by hand: they stay. */
  readonly isHeld: (shard: ShardId) => boolean;
}

/** The shards whose leadership somebody moved to this member by hand, each until its time is over. Forgotten at a restart. */
export class HeldShards {
  readonly #clock: Clock;
  readonly #holdMs: number;
  readonly #untilMs = new Map<string, number>();

  /** `holdMs`: `limits.transferHoldMs`. */
  constructor(clock: Clock, holdMs: number) {
    this.#clock = clock;
    this.#holdMs = holdMs;
  }

  /** Returns for how long, milliseconds. */
  hold(shard: string): number {
    this.#untilMs.set(shard, this.#clock.nowMs() + this.#holdMs);
    return this.#holdMs;
  }

  release(shard: string): void {
    this.#untilMs.delete(shard);
  }

  has(shard: string): boolean {
    return this.#clock.nowMs() < (this.#untilMs.get(shard) ?? 0);
  }
}

/**
 * Spreads leadership over the members: every few seconds this member hands over those shards it leads that another fit member
 * should lead. A restarted member so gets its share back. Returns how to stop it.
 */
export function startPlacement(parts: PlacementParts): () => void {
  const placement = new Placement(parts);
  let cancel = (): void => {};
  const tick = (): void => {
    cancel = parts.clock.setTimer(EVERY_MS, tick);
    placement.run();
  };
  cancel = parts.clock.setTimer(EVERY_MS, tick);
  return () => cancel();
}

class Placement {
  readonly #parts: PlacementParts;
  /** Since when each other member has been fit, by hex id. */
  readonly #fitSinceMs = new Map<string, number>();
  readonly #pausedUntilMs = new Map<ShardId, number>();

  constructor(parts: PlacementParts) {
    this.#parts = parts;
  }

  run(): void {
    const { map } = this.#parts;
    const self = formatId(this.#parts.self);
    const leaders = new Map<ShardId, string>();
    for (const [shard, leader] of Object.entries(this.#parts.replicas.leaders())) {
      if (isShardId(shard)) leaders.set(shard, leader);
    }
    const transfers = leadershipTransfers({ map: map(), leaders, healthy: this.#healthy(self) });
    for (const { shard, from, to } of transfers) {
      if (from === self && !this.#parts.isHeld(shard)) this.#move(shard, to);
    }
  }

  /** Members that could lead: reachable for some seconds, and not about to go. */
  #healthy(self: string): ReadonlySet<string> {
    const { clock, map, isReachable } = this.#parts;
    const nowMs = clock.nowMs();
    const healthy = new Set<string>();
    for (const { id, state } of map().members) {
      if (state === 'draining' || state === 'leaving') continue;
      if (id === self) {
        healthy.add(id);
        continue;
      }
      if (!isReachable(memberIdOf(id))) {
        this.#fitSinceMs.delete(id);
        continue;
      }
      const since = this.#fitSinceMs.get(id) ?? nowMs;
      this.#fitSinceMs.set(id, since);
      if (nowMs - since >= FIT_FOR_MS) healthy.add(id);
    }
    return healthy;
  }

  #move(shard: ShardId, to: string): void {
    const { clock, logger, replicas } = this.#parts;
    const nowMs = clock.nowMs();
    const replica = replicas.get(shard);
    if (replica === undefined || nowMs < (this.#pausedUntilMs.get(shard) ?? 0)) return;
    const target = this.#caughtUp(replica, to);
    if (target === undefined) return;
    this.#pausedUntilMs.set(shard, nowMs + PAUSE_MS);
    replica.transferLeadership(target).then(
      () => {
        this.#pausedUntilMs.delete(shard);
        logger.info({ shard, to }, 'leadership handed over to even out the members');
      },
      (error: unknown) => {
        const why = isKvError(error) ? error.message : String(error);
        logger.info({ shard, to, why }, 'leadership not handed over');
      },
    );
  }

  #caughtUp(replica: PlacedReplica, to: string): MemberId | undefined {
    const { raft } = replica.status();
    const peer = raft.peers.find((candidate) => formatId(candidate.id) === to);
    if (peer === undefined || !peer.reachable || !peer.logReachable) return undefined;
    // The map wants it as a voter; it may not be one yet.
    if (!raft.voters.includes(peer.id)) return undefined;
    return raft.accepted.index - peer.index <= LAG_MAX ? peer.id : undefined;
  }
}
