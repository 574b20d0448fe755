import type { MemberId, ShardId } from '@kvorum/base';
import type { Clock } from '@kvorum/ports';
import type { LeaseNetwork, Replica } from '@kvorum/replica';

/** What a member's server does beside its replicas. */
export interface MemberService {
  /** A request of another member's service. */
  answer(payload: unknown): Promise<unknown>;
  stop(): void;
  /** How its replicas reach the leaders of other shards about leases. */
  readonly leases: LeaseNetwork;
}

/** What a member gives its service. */
export interface ServiceParts {
  readonly clock: Clock;
  readonly request: (to: MemberId, payload: unknown, signal: AbortSignal) => Promise<unknown>;
  readonly replica: (shard: ShardId) => Replica | undefined;
}
