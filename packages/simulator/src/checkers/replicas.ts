import { type ShardId, toHex } from '@kvorum/base';
import type { Truth } from '../truth.ts';
import type { World } from '../world.ts';

/**
 * What must hold of replicas at every moment: each has accepted the one history of the log, applies in its order, leads only
 * with a barrier that was accepted, and holds the same content as the others at the same index.
 */
export class ReplicaChecker {
  readonly problems: string[] = [];
  readonly #leaders = new Map<string, string>();
  readonly #hashes = new Map<string, { readonly hash: string; readonly member: string }>();
  readonly #world: World;
  readonly #truths: ReadonlyMap<ShardId, Truth>;

  constructor(world: World, truths: ReadonlyMap<ShardId, Truth>) {
    this.#world = world;
    this.#truths = truths;
  }

  /** Looks at every running replica. */
  check(): void {
    for (const shard of this.#world.shards) {
      this.#truths.get(shard)?.extend(this.#world.records(shard));
      for (const member of this.#world.members) this.#checkReplica(member.name, shard);
    }
  }

  /** Takes one replica's state hash: equal to every other one ever taken at that index. */
  hash(member: string, shard: ShardId, index: number, hash: string): void {
    const key = `${shard}@${index}`;
    const known = this.#hashes.get(key);
    if (known === undefined) this.#hashes.set(key, { hash, member });
    else if (known.hash !== hash) {
      const other = `${known.member} has ${known.hash}`;
      this.problems.push(`shard ${shard} index ${index}: ${member} has ${hash}, ${other}`);
    }
  }

  #checkReplica(name: string, shard: ShardId): void {
    const member = this.#world.members.find((one) => one.name === name);
    const status = member?.replica(shard)?.status();
    const truth = this.#truths.get(shard);
    if (status === undefined || truth === undefined) return;
    const { accepted, role, term } = status.raft;
    const about = `${name} shard ${shard}`;
    const chain = truth.chainAt(accepted.index);
    if (chain !== toHex(accepted.chainHash)) {
      this.problems.push(`${about}: accepted another history at index ${accepted.index}`);
    }
    if (status.appliedIndex > accepted.index) {
      this.problems.push(`${about}: applied ${status.appliedIndex} beyond ${accepted.index}`);
    }
    if (role !== 'leader') return;
    const key = `${shard} term ${term}`;
    const known = this.#leaders.get(key);
    if (known !== undefined && known !== accepted.leaderId) {
      this.problems.push(`shard ${key}: led by ${known} and by ${accepted.leaderId}`);
    }
    this.#leaders.set(key, accepted.leaderId);
  }
}
