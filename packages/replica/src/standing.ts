import { KvError, type MemberId, type ShardId } from '@kvorum/base';
import type { HaltReport, Role } from '@kvorum/raft';
import { haltError, notLeaderError } from './halt-error.ts';

/**
 * Where a replica stands, and the error it answers with because of that. Mirrors of the core's state for the hot path: a status object per
 * command would cost more than the command.
 */
export class Standing {
  readonly #shard: ShardId;
  readonly #self: MemberId;
  role: Role = 'follower';
  leader: MemberId | undefined;
  halt: HaltReport | undefined;
  stopped = false;
  /** It waits for a snapshot. */
  awaiting = false;

  constructor(shard: ShardId, self: MemberId) {
    this.#shard = shard;
    this.#self = self;
  }

  /** It applies its log and may answer for what it holds. */
  get follows(): boolean {
    return !this.stopped && !this.awaiting && this.halt === undefined;
  }

  /** Why it takes no write. */
  writeRefusal(): KvError | undefined {
    return this.readRefusal() ?? (this.role === 'leader' ? undefined : this.notLeader());
  }

  /** Why it answers no linearizable read. */
  readRefusal(): KvError | undefined {
    if (this.halt !== undefined) return this.halted();
    if (this.stopped) return new KvError('KV_STOPPED');
    return this.awaiting ? this.notLeader() : undefined;
  }

  /** It stands still for a cause of its own. */
  fail(detail: string, { index, offset }: Pick<HaltReport, 'index' | 'offset'>): void {
    this.halt = { reason: 'apply-failed', detail, index, offset, expected: '', found: '' };
  }

  halted(): KvError {
    return this.halt === undefined ? new KvError('KV_HALTED') : haltError(this.#shard, this.halt);
  }

  notLeader(): KvError {
    return notLeaderError(this.#shard, this.leader === this.#self ? undefined : this.leader);
  }
}
