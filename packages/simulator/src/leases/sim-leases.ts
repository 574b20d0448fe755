import { KvError, type MemberId, type ShardId } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import {
  type LeaseNetwork,
  type LeaseRequest,
  leaseAnswers,
  parseLeaseRequest,
  type Replica,
  serveLeaseRequest,
} from '@kvorum/replica';
import type { ShardMap } from '@kvorum/shard';

const ASK_MS = 3000;
const RETRY_MS = 50;

/** What a member's lease service asks another's. */
export interface AskedLeases {
  readonly kind: 'lease';
  readonly shard: ShardId;
  readonly request: LeaseRequest;
}

export interface SimLeasesHost {
  readonly self: () => MemberId;
  readonly clock: Clock;
  readonly request: (to: MemberId, payload: unknown, signal: AbortSignal) => Promise<unknown>;
  readonly replica: (shard: ShardId) => Replica | undefined;
  readonly map: () => ShardMap;
  readonly readMap: () => Promise<ShardMap>;
}

/** What a member's server does for leases, around the unmodified replicas: brings requests to whoever leads the shard. */
export class SimLeases {
  readonly #host: SimLeasesHost;
  readonly network: LeaseNetwork;

  constructor(host: SimLeasesHost) {
    this.#host = host;
    this.network = {
      map: host.map,
      readMap: host.readMap,
      at: (shard) => ({
        permit: async (ids) =>
          leaseAnswers.permission(await this.#ask(shard, { kind: 'permit', ids })),
        drop: async (drop) =>
          leaseAnswers.isDone(await this.#ask(shard, { kind: 'drop', ...drop })),
        keys: async (id) => leaseAnswers.keys(await this.#ask(shard, { kind: 'keys', id })),
      }),
    };
  }

  /** Answers another member, on the leader of the shard. */
  async serve({ shard, request: asked }: AskedLeases): Promise<unknown> {
    const { clock, replica: replicaOf } = this.#host;
    const request = parseLeaseRequest(asked);
    if (!request.ok) throw request.error;
    const replica = replicaOf(shard);
    if (replica === undefined) throw new KvError('KV_NOT_LEADER');
    return serveLeaseRequest(replica.leases, request.value, clock.nowMs() + ASK_MS);
  }

  async #ask(shard: ShardId, request: LeaseRequest): Promise<unknown> {
    const { clock, self, replica, request: ask } = this.#host;
    const leader = replica(shard)?.status().raft.leader;
    if (leader === undefined) {
      await new Promise<void>((resolve) => {
        clock.setTimer(RETRY_MS, resolve);
      });
      throw new KvError('KV_NO_LEADER');
    }
    const asked: AskedLeases = { kind: 'lease', shard, request };
    if (leader === self()) return this.serve(asked);
    const controller = new AbortController();
    const cancel = clock.setTimer(ASK_MS, () => controller.abort(new KvError('KV_TIMEOUT')));
    try {
      return await ask(leader, asked, controller.signal);
    } finally {
      cancel();
    }
  }
}
