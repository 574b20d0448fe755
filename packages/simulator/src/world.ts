import {
  assert,
  DEFAULT_LIMITS,
  type Limits,
  logIndex,
  logTopic,
  type MemberId,
  memberId,
  type ShardId,
  shardId,
} from '@kvorum/base';
import type { LogEntry, LogName, Rng } from '@kvorum/ports';
import type { Membership } from '@kvorum/raft';
import type { AutoCompactionPolicy, GenesisPlan, Replica, ReplicaOptions } from '@kvorum/replica';
import {
  MemoryLogBroker,
  MemoryPeerNetwork,
  type PeerLinkFaults,
  seededRng,
  VirtualClock,
} from '@kvorum/testkit';
import { drain } from './drain.ts';
import { type Alarm, SimMember } from './member.ts';
import type { MemberService, ServiceParts } from './member-service.ts';
import type { Plant } from './plant.ts';
import { Trace } from './trace.ts';

export interface WorldOptions {
  /** Decides everything that is left to chance. */
  readonly seed: number;
  readonly members?: number;
  /** The first so many members vote at first; default all. */
  readonly voters?: number;
  readonly shards?: number;
  readonly limits?: Partial<Limits>;
  readonly autoCompaction?: AutoCompactionPolicy | undefined;
  /** Time until an append lands, [min, max] ms. */
  readonly appendMs?: readonly [number, number];
  /** Time until a landed record is committed, [min, max] ms. */
  readonly replicationMs?: readonly [number, number];
  /** Time until a waiting reader sees a new record, [min, max] ms. */
  readonly readMs?: readonly [number, number];
  /** A store call takes up to this long before and after it touches the data. */
  readonly storeMsMax?: number;
  /** Decides the time of each store call instead. */
  readonly storeMs?: (member: SimMember, call: 'read' | 'write') => number;
  readonly peerFaults?: Partial<PeerLinkFaults>;
  /** How many days each member's wall clock is ahead; default drawn from the seed. */
  readonly wallSkewDays?: readonly number[];
  /** How far the speed of a member's clocks may be off, in 1/1024. */
  readonly driftMax?: number;
  /** How keys lie in slots, for shards whose slots move. */
  readonly slots?: (shard: ShardId) => NonNullable<ReplicaOptions['slots']>;
  /** What each member's server does beside its replicas, anew in each of its lives. */
  readonly service?: (world: World, member: SimMember, parts: ServiceParts) => MemberService;
  readonly print?: (line: string) => void;
  readonly plant?: Plant;
}

/** Streams of chance that must not disturb each other: a fault more must not move everybody's elections. */
const STREAMS = [
  'broker',
  'network',
  'stores',
  'members',
  'faults',
  'clients',
  'damage',
  'moves',
  'leases',
] as const;
export type Stream = (typeof STREAMS)[number];

/** What a recovery raises the revision by, over the highest that is known. */
const REVISION_BUMP = 1_000_000_000;

/** How long a cluster may take for what it must do at once in a healthy world. */
const SETTLE_MS_MAX = 30_000;

export interface ToldOfLoss {
  readonly member: SimMember;
  readonly life: number | undefined;
  readonly shard: ShardId;
  /** Of the log that told it. */
  readonly generation: number;
  readonly atMs: number;
}

/** Sees what leaves a member and what becomes of it; for checkers. */
export interface WorldObserver {
  readonly sent?: (member: SimMember, shard: ShardId, payload: unknown, to: MemberId) => void;
  readonly crashed?: (member: SimMember) => void;
  /** A leader is about to delete the records below `before`. */
  readonly truncated?: (leader: SimMember, shard: ShardId, before: number) => void;
}

/**
 * A whole cluster in one thread: the unmodified replica code of members × shards on simulated ports, under one seed. Time moves only
 * in `run`; between two timers everything that can happen happens.
 */
export class World {
  readonly clock: VirtualClock = new VirtualClock();
  readonly trace: Trace;
  readonly broker: MemoryLogBroker;
  readonly network: MemoryPeerNetwork;
  readonly members: readonly SimMember[];
  /** Who voted before the first `config` record: with the members themselves, and by the ids they had then. */
  readonly voters: readonly SimMember[];
  readonly initialVoters: readonly MemberId[];
  readonly shards: readonly ShardId[];
  /** What the shard map wants of each shard. */
  readonly wanted: Map<ShardId, Membership> = new Map();
  /** Generations of logs above 0, as the shard map has them: each begun by one member. */
  readonly #generations = new Map<
    ShardId,
    { readonly number: number; readonly plan: GenesisPlan }
  >();
  #replacements = 0;
  /** Shards and ids whose votes are lost: nobody may vote as them again. */
  readonly lostVotes: Set<string> = new Set();
  readonly limits: Limits;
  readonly autoCompaction: AutoCompactionPolicy | undefined;
  /** Breaks and halts reported by replicas. A run in which neither log nor disks are damaged must have none. */
  readonly alarms: Alarm[] = [];
  /** Replicas that were told that the log ends below what they have read: each must halt. */
  toldOfLoss: ToldOfLoss[] = [];
  /** Up to where leaders asked for a log to be cut, by shard. */
  readonly #askedStart = new Map<ShardId, number>();
  readonly #observers: WorldObserver[] = [];
  readonly #options: WorldOptions;
  readonly #streams: ReadonlyMap<Stream, Rng>;
  /** Checks after every event; throws when the world is wrong. */
  #watcher: () => void = () => undefined;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.autoCompaction = options.autoCompaction;
    this.trace = new Trace(() => this.clock.nowMs(), options.print);
    const root = seededRng(options.seed);
    this.#streams = new Map(STREAMS.map((name) => [name, seededRng(root.integer(0, 2 ** 48))]));
    const { appendMs = [1, 5], readMs = [0, 3], replicationMs = [0, 0], driftMax = 0 } = options;
    this.broker = new MemoryLogBroker({
      clock: this.clock,
      rng: this.rng('broker'),
      limits: this.limits,
      appendMs,
      readMs,
      replicationMs,
    });
    this.network = new MemoryPeerNetwork({
      clock: this.clock,
      rng: this.rng('network'),
      ...(options.peerFaults === undefined ? {} : { faults: options.peerFaults }),
    });
    this.shards = Array.from({ length: options.shards ?? 1 }, (_, i) => shardId(i));
    const memberRng = this.rng('members');
    this.members = Array.from({ length: options.members ?? 3 }, (_, i) => {
      const own = seededRng(memberRng.integer(0, 2 ** 48));
      const drift = driftMax === 0 ? 0 : own.integer(-driftMax, driftMax + 1);
      return new SimMember(this, i, { rng: own, wallSkewDays: options.wallSkewDays?.[i], drift });
    });
    this.voters = this.members.slice(0, options.voters ?? this.members.length);
    this.initialVoters = this.voters.map(({ id }) => id);
  }

  /** The shard map wants other voters of a shard from now on; every member hears of it at once. */
  want(shard: ShardId, voters: readonly SimMember[], learners: readonly SimMember[] = []): void {
    const ids = (members: readonly SimMember[]): MemberId[] => members.map(({ id }) => id);
    this.#want(shard, { voters: ids(voters), learners: ids(learners) });
  }

  #want(shard: ShardId, wanted: Membership): void {
    this.wanted.set(shard, wanted);
    for (const member of this.members) member.replica(shard)?.wantMembership(wanted);
  }

  /** A member that is down comes back on an empty disk under a new id, and the map wants that one in the place of the old. */
  replace(member: SimMember): void {
    const old = member.id;
    const id = memberId(BigInt(this.members.length + 1 + this.#replacements));
    this.#replacements += 1;
    for (const shard of this.shards) this.lostVotes.add(`${shard} ${old}`);
    member.replace(id);
    for (const { id: other } of this.members) {
      if (other === id) continue;
      const whole = { cut: false, clogged: false };
      this.network.setFaults(id, other, { ...this.network.faultsOf(old, other), ...whole });
      this.network.setFaults(other, id, { ...this.network.faultsOf(other, old), ...whole });
    }
    for (const shard of this.shards) {
      const renamed = (ids: readonly MemberId[]): MemberId[] =>
        ids.map((one) => (one === old ? id : one));
      const { voters, learners } = this.wanted.get(shard) ?? {
        voters: this.initialVoters,
        learners: [],
      };
      this.#want(shard, { voters: renamed(voters), learners: renamed(learners) });
    }
  }

  /** A member that is down loses the files of one of its replicas, and nothing else. */
  deleteFiles(member: SimMember, shard: ShardId): void {
    this.lostVotes.add(`${shard} ${member.id}`);
    member.deleteFiles(shard);
  }

  /**
   * Whether a member may lose its disk for good: of each shard the voters are those that are wanted, all of them sound, and a majority is
   * left without it; and what the logs have lost is on another disk.
   */
  maySpare(member: SimMember): boolean {
    if (this.members.some((one) => one.damaged || one.bereft.size > 0)) return false;
    const living = this.members.map(({ id }) => id);
    const isSafe = (shard: ShardId): boolean => {
      const raft = this.leader(shard)?.replica(shard)?.status().raft;
      const wanted = this.wanted.get(shard)?.voters ?? this.initialVoters;
      if (raft?.role !== 'leader') return false;
      const { voters } = raft;
      const settled = voters.length === wanted.length && wanted.every((id) => voters.includes(id));
      if (!settled || !voters.every((id) => living.includes(id))) return false;
      return voters.length >= 3 || !voters.includes(member.id);
    };
    return this.shards.every(isSafe) && this.hasSpare(member);
  }

  /** A member misses files, or somebody who is gone for good still votes as far as anybody knows. */
  awaitsReplacement(): boolean {
    const living = new Set(this.members.map(({ id }) => id));
    return this.members.some((member) => {
      const statuses = this.shards.map((shard) => member.replica(shard)?.status().raft);
      const voters = statuses.flatMap((raft) => raft?.voters ?? []);
      return member.bereft.size > 0 || voters.some((id) => !living.has(id));
    });
  }

  /** An operator recovers a shard from a member; who runs and is not `late` sees the map at once. */
  recover(shard: ShardId, from: SimMember, late: readonly SimMember[] = []): GenesisPlan {
    const statuses = this.members.flatMap((member) => member.replica(shard)?.status() ?? []);
    const revision = Math.max(0, ...statuses.map((one) => one.revision)) + REVISION_BUMP;
    const index = from.replica(shard)?.status().appliedIndex ?? logIndex(0);
    const plan: GenesisPlan = { member: from.id, index, revision };
    this.#generations.set(shard, { number: this.generation(shard) + 1, plan });
    for (const member of this.members) if (!late.includes(member)) member.reopen(shard);
    return plan;
  }

  generation(shard: ShardId): number {
    return this.#generations.get(shard)?.number ?? 0;
  }

  /** @internal */
  genesis(shard: ShardId): GenesisPlan | undefined {
    return this.#generations.get(shard)?.plan;
  }

  rng(stream: Stream): Rng {
    const rng = this.#streams.get(stream);
    assert(rng !== undefined, `no stream ${stream}`);
    return rng;
  }

  onEvent(watcher: () => void): void {
    this.#watcher = watcher;
  }

  observe(observer: WorldObserver): void {
    this.#observers.push(observer);
  }

  /** @internal */
  sent(member: SimMember, shard: ShardId, payload: unknown, to: MemberId): void {
    for (const observer of this.#observers) observer.sent?.(member, shard, payload, to);
  }

  /** @internal */
  truncated(leader: SimMember, shard: ShardId, before: number): void {
    this.#askedStart.set(shard, Math.max(this.#askedStart.get(shard) ?? 0, before));
    for (const observer of this.#observers) observer.truncated?.(leader, shard, before);
  }

  /** Whether the log's records that are gone are held by another member than this one, whose disk is good. */
  hasSpare(member: SimMember): boolean {
    return this.shards.every((shard) => {
      // A truncation may be on its way.
      const begins = this.broker.bounds(this.logName(shard))?.start ?? 0;
      const start = Math.max(begins, this.#askedStart.get(shard) ?? 0);
      return (
        start === 0 ||
        this.members.some(
          (other) => other !== member && !other.damaged && other.durableOffset(shard) + 1 >= start,
        )
      );
    });
  }

  /** @internal */
  crashed(member: SimMember): void {
    for (const observer of this.#observers) observer.crashed?.(member);
  }

  /** @internal */
  alarm(alarm: Omit<Alarm, 'excused' | 'atMs'>): void {
    const excused = alarm.member.diskTrouble;
    this.alarms.push({ ...alarm, excused, atMs: this.clock.nowMs() });
  }

  start(): void {
    for (const member of this.members) member.start();
  }

  async stop(): Promise<void> {
    const stopping = Promise.all(this.members.map((member) => member.stop()));
    let stopped = false;
    void stopping.then(() => {
      stopped = true;
    });
    assert(await this.runUntil(() => stopped, SETTLE_MS_MAX), 'the members do not stop');
  }

  /** Lets `ms` of virtual time pass. */
  async run(ms: number): Promise<void> {
    await this.runUntil(() => false, ms);
  }

  /** Lets time pass until `done`, at most `msMax`; returns whether it came. */
  async runUntil(done: () => boolean, msMax: number = SETTLE_MS_MAX): Promise<boolean> {
    const untilMs = this.clock.nowMs() + msMax;
    await drain();
    for (;;) {
      this.#watcher();
      if (done()) return true;
      const nextMs = this.clock.nextTimerMs();
      if (nextMs === undefined || nextMs > untilMs) {
        this.clock.advance(untilMs - this.clock.nowMs());
        return false;
      }
      this.clock.advanceToNextTimer();
      await drain();
    }
  }

  /** The member that serves a shard as its leader; of several that think so, the one of the highest term. */
  leader(shard: ShardId): SimMember | undefined {
    let best: SimMember | undefined;
    let bestTerm = -1;
    for (const member of this.members) {
      const raft = member.replica(shard)?.status().raft;
      if (raft?.role !== 'leader' || raft.term <= bestTerm) continue;
      best = member;
      bestTerm = raft.term;
    }
    return best;
  }

  /** Runs until the shard has a leader (another one than `not`, when given). */
  async awaitLeader(shard: ShardId, not?: SimMember): Promise<SimMember> {
    const led = (): boolean => {
      const leader = this.leader(shard);
      return leader !== undefined && leader !== not;
    };
    assert(await this.runUntil(led), `shard ${shard} elects no leader`);
    const leader = this.leader(shard);
    assert(leader !== undefined, 'a leader was just there');
    return leader;
  }

  replica(member: SimMember, shard: ShardId): Replica {
    const replica = member.replica(shard);
    assert(replica !== undefined, `${member.name} has no replica of shard ${shard}`);
    return replica;
  }

  logName(shard: ShardId): LogName {
    return logTopic('raft-log-', shard, this.generation(shard));
  }

  /** Every committed record of a shard's log, below `end`, deleted ones too. */
  history(shard: ShardId): { readonly entries: readonly LogEntry[]; readonly end: number } {
    return this.broker.history(this.logName(shard));
  }

  /** @internal */
  storeDelayMs(member: SimMember, call: 'read' | 'write'): number {
    const { storeMs, storeMsMax = 0 } = this.#options;
    if (storeMs !== undefined) return storeMs(member, call);
    return storeMsMax === 0 ? 0 : this.rng('stores').integer(0, storeMsMax + 1);
  }

  /** @internal */
  slotsOf(shard: ShardId): ReplicaOptions['slots'] {
    return this.#options.slots?.(shard);
  }

  /** @internal */
  serviceOf(member: SimMember, parts: ServiceParts): MemberService | undefined {
    return this.#options.service?.(this, member, parts);
  }

  /** @internal */
  get plant(): Plant {
    return this.#options.plant ?? {};
  }
}
