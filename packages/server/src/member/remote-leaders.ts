import { type MemberId, type ShardId, shardId } from '@kvorum/base';
import type { PeerTransport } from '@kvorum/ports';
import type { ShardMap } from '@kvorum/shard';
import { memberIdOf } from './cluster.ts';
import { askMemberships } from './memberships.ts';
import type { ReplicaSet } from './replica-set.ts';

const EVERY_MS = 500;

export interface RemoteLeadersParts {
  readonly self: MemberId;
  readonly map: () => ShardMap | undefined;
  readonly replicas: ReplicaSet;
  readonly peers: Pick<PeerTransport, 'request' | 'isReachable'>;
  readonly changed: () => void;
}

/** Who leads the shards that this member has no replica of, from what their members say. */
export class RemoteLeaders {
  readonly #parts: RemoteLeadersParts;
  #leaders: ReadonlyMap<string, MemberId> = new Map();
  #asking = false;

  constructor(parts: RemoteLeadersParts) {
    this.#parts = parts;
  }

  /** Begins to ask; returns how to stop. */
  start(): () => void {
    const poll = (): void => {
      this.#poll().catch(() => undefined); // an answer that does not come is no news
    };
    poll();
    const timer = setInterval(poll, EVERY_MS);
    return () => clearInterval(timer);
  }

  of(shard: string): MemberId | undefined {
    return this.#leaders.get(shard);
  }

  all(): ReadonlyMap<string, MemberId> {
    return this.#leaders;
  }

  async #poll(): Promise<void> {
    const map = this.#parts.map();
    if (this.#asking || map === undefined) return;
    const foreign = this.#foreign(map);
    if (foreign.length === 0) {
      this.#leaders = new Map();
      return;
    }
    this.#asking = true;
    try {
      const accounts = await askMemberships(map, this.#parts.self, this.#parts.peers);
      const found = new Map<string, MemberId>();
      for (const { shard, leader, leads } of accounts) {
        if (!foreign.includes(shardId(shard)) || leader === undefined) continue;
        if (leads || !found.has(shard)) found.set(shard, memberIdOf(leader));
      }
      const isSame = [...found].every(([shard, leader]) => this.#leaders.get(shard) === leader);
      const isAll = found.size === this.#leaders.size;
      this.#leaders = found;
      if (!isSame || !isAll) this.#parts.changed();
    } finally {
      this.#asking = false;
    }
  }

  #foreign(map: ShardMap): readonly ShardId[] {
    return map.shards
      .map(({ id }) => id)
      .filter((id) => this.#parts.replicas.get(id) === undefined);
  }
}
