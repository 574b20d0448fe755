import { formatId, type MemberId, type ShardId, shardId } from '@kvorum/base';
import type { HaltReport, Replica, ReplicaPort, ReplicaStatus } from '@kvorum/replica';

interface Hosted {
  readonly replica: Replica;
  leader: MemberId | undefined;
  leads: boolean;
  term: number;
  halt: HaltReport | undefined;
  installing: boolean;
  /** Of the membership it has. */
  configIndex: number;
}

const byShard = (a: string, b: string): number =>
  a === b ? 0 : a === 'meta' ? 1 : b === 'meta' ? -1 : Number(a) - Number(b);

/** This member's replicas, with who leads each kept at hand for the hot path. */
export class ReplicaSet {
  readonly #hosted = new Map<string, Hosted>();
  readonly #listeners = new Set<() => void>();
  #sorted: readonly Replica[] = [];

  add(replica: Replica): void {
    const { raft, phase } = replica.status();
    const hosted: Hosted = {
      replica,
      leader: raft.leader,
      leads: raft.role === 'leader',
      term: raft.term,
      halt: raft.halted,
      installing: phase === 'installing',
      configIndex: raft.configIndex,
    };
    this.#hosted.set(replica.shard, hosted);
    this.#sort();
    replica.onChange((status: ReplicaStatus) => {
      const { leader, role, halted, configIndex, term } = status.raft;
      const leads = role === 'leader' && halted === undefined;
      const isSame = hosted.leader === leader && hosted.leads === leads && hosted.halt === halted;
      hosted.installing = status.phase === 'installing';
      hosted.term = term;
      if (isSame && hosted.configIndex === configIndex) return;
      hosted.configIndex = configIndex;
      hosted.halt = halted;
      hosted.leader = leader;
      hosted.leads = leads;
      this.notify();
    });
  }

  /** Its replica is closed by whoever takes it out. */
  remove(shard: string): void {
    this.#hosted.delete(shard);
    this.#sort();
    this.notify();
  }

  #sort(): void {
    this.#sorted = [...this.#hosted.keys()]
      .sort(byShard)
      .flatMap((shard) => this.#hosted.get(shard)?.replica ?? []);
  }

  get(shard: string): Replica | undefined {
    return this.#hosted.get(shard)?.replica;
  }

  /** Data shards in numeric order, then meta. */
  all(): readonly Replica[] {
    return this.#sorted;
  }

  leads(shard: string): boolean {
    return this.#hosted.get(shard)?.leads ?? false;
  }

  leaderOf(shard: string): MemberId | undefined {
    return this.#hosted.get(shard)?.leader;
  }

  /** Undefined: this member has no replica of the shard. */
  termOf(shard: string): number | undefined {
    return this.#hosted.get(shard)?.term;
  }

  /** Whether this member's replica of the shard takes a snapshot and serves nothing meanwhile. */
  isInstalling(shard: string): boolean {
    return this.#hosted.get(shard)?.installing ?? false;
  }

  /** Why this member's replica of the shard stands still, if it does. */
  haltOf(shard: string): HaltReport | undefined {
    return this.#hosted.get(shard)?.halt;
  }

  leaders(): Readonly<Record<string, string>> {
    const leaders: Record<string, string> = {};
    for (const [shard, { leader }] of this.#hosted) {
      if (leader !== undefined) leaders[shard] = formatId(leader);
    }
    return leaders;
  }

  led(): readonly ReplicaPort[] {
    return this.#sorted.filter((replica) => this.leads(replica.shard));
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  notify(): void {
    for (const listener of this.#listeners) listener();
  }

  shards(): readonly ShardId[] {
    return this.#sorted.map((replica) => shardId(replica.shard));
  }
}
