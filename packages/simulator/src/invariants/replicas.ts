import { type MemberId, type ShardId, toHex } from '@kvorum/base';
import type { ReplicaStatus } from '@kvorum/replica';
import type { SimMember } from '../member.ts';
import type { Truth } from '../truth.ts';
import type { ToldOfLoss, World } from '../world.ts';
import type { LagChecker } from './learner-lag.ts';
import { checkOwnMembership } from './memberships.ts';
import type { Problems } from './names.ts';
import type { VoteChecker } from './votes.ts';

/** What a replica takes at most to halt once it knows: it needs no waiting for that. */
const HALT_MS = 1000;

/** What was last seen of one replica in one life of its member. */
interface Seen {
  life: number | undefined;
  term: number;
  index: number;
  applied: number;
  revision: number;
  leads: number;
  serves: number;
  voters: readonly MemberId[];
}

/** Everything that the look at one replica goes by: while all of it stays the same, looking again shows nothing new. */
interface Looked {
  readonly life: number | undefined;
  readonly reopened: number;
  readonly status: ReplicaStatus;
  readonly truth: Truth | undefined;
  readonly frozen: boolean | undefined;
  readonly generation: number;
}

function isSame(a: Looked, b: Looked): boolean {
  return (
    a.life === b.life &&
    a.reopened === b.reopened &&
    a.truth === b.truth &&
    a.frozen === b.frozen &&
    a.generation === b.generation &&
    isSameStatus(a.status, b.status) &&
    isSameRaft(a.status.raft, b.status.raft)
  );
}

function isSameStatus(a: ReplicaStatus, b: ReplicaStatus): boolean {
  return (
    a.appliedIndex === b.appliedIndex &&
    a.revision === b.revision &&
    a.queuedCommands === b.queuedCommands &&
    a.queuedBytes === b.queuedBytes &&
    a.phase === b.phase
  );
}

function isSameRaft(a: ReplicaStatus['raft'], b: ReplicaStatus['raft']): boolean {
  return (
    a.role === b.role &&
    a.term === b.term &&
    a.accepted === b.accepted &&
    a.voters === b.voters &&
    a.configIndex === b.configIndex &&
    a.awaitingSnapshot === b.awaitingSnapshot
  );
}

/**
 * What must hold of replicas at every moment: each has accepted the one history of the log, applies in its order, leads only
 * with a barrier that was accepted, goes never back, and holds the same content as the others at the same index.
 */
export class ReplicaChecker {
  readonly #leaders = new Map<string, string>();
  readonly #hashes = new Map<string, { readonly hash: string; readonly member: string }>();
  readonly #seen = new Map<string, Seen>();
  readonly #looked = new Map<SimMember, Map<ShardId, Looked>>();
  readonly #world: World;
  readonly #truths: ReadonlyMap<ShardId, Truth>;
  readonly #votes: VoteChecker;
  readonly #lag: LagChecker | undefined;
  readonly #problems: Problems;

  constructor(
    world: World,
    parts: {
      readonly truths: ReadonlyMap<ShardId, Truth>;
      readonly votes: VoteChecker;
      readonly lag?: LagChecker;
      readonly problems: Problems;
    },
  ) {
    this.#world = world;
    this.#truths = parts.truths;
    this.#votes = parts.votes;
    this.#lag = parts.lag;
    this.#problems = parts.problems;
  }

  /** Looks at the members in which something happened since the last look. */
  step(): void {
    for (const member of this.#world.members) {
      if (!member.dirty) continue;
      member.dirty = false;
      for (const shard of this.#world.shards) this.#look(member, shard);
    }
  }

  /** Looks at every running replica. */
  check(): void {
    for (const member of this.#world.members) member.dirty = true;
    this.step();
    for (const shard of this.#world.shards) this.#checkLogStart(shard);
    this.#world.toldOfLoss = this.#world.toldOfLoss.filter((told) => !this.#checkTold(told));
  }

  /** Whoever was told that the log ends below what it has read halts at once. Returns whether the case is settled. */
  #checkTold({ atMs, generation, life, member, shard }: ToldOfLoss): boolean {
    if (member.life !== life || generation !== this.#world.generation(shard)) return true;
    if (member.paused || this.#world.clock.nowMs() - atMs < HALT_MS) return false;
    const raft = member.replica(shard)?.status().raft;
    if (raft !== undefined && raft.halted === undefined) {
      const text = `${member.name} shard ${shard} goes on though it was told that the log lost records`;
      this.#problems.add('detect-and-halt', text);
    }
    return true;
  }

  /** Takes one replica's state hash: equal to every other one ever taken at that index. */
  hash(member: string, shard: ShardId, { index, hash }: { index: number; hash: string }): void {
    if (this.#truths.get(shard)?.frozen === true) return;
    const key = `${shard}.${this.#world.generation(shard)}@${index}`;
    const known = this.#hashes.get(key);
    if (known === undefined) this.#hashes.set(key, { hash, member });
    else if (known.hash !== hash) {
      const other = `${known.member} has ${known.hash}`;
      const text = `shard ${shard} index ${index}: ${member} has ${hash}, ${other}`;
      this.#problems.add('state-hash', text);
    }
  }

  #look(member: SimMember, shard: ShardId): void {
    const status = member.replica(shard)?.status();
    if (status === undefined) return;
    const { life, reopened } = member;
    const truth = this.#truths.get(shard);
    const generation = this.#world.generation(shard);
    const now = { life, reopened, status, truth, frozen: truth?.frozen, generation };
    const looked = this.#looked.get(member);
    const last = looked?.get(shard);
    if (last !== undefined && isSame(last, now)) return;
    if (looked === undefined) this.#looked.set(member, new Map([[shard, now]]));
    else looked.set(shard, now);
    this.#check(member, shard, status);
  }

  #check(member: SimMember, shard: ShardId, status: ReplicaStatus): void {
    const { role, term, accepted } = status.raft;
    // A generation may stand on another state than the one that this replica had; what was not applied is read again.
    const key = `${shard} ${member.name} ${accepted.generation} ${member.reopened}`;
    const before = this.#seen.get(key) ?? fresh(member.life);
    const seen = before.life === member.life ? before : fresh(member.life);
    this.#seen.set(key, seen);
    const about = `${member.name} shard ${shard}`;
    this.#checkGrowth(about, status, seen);
    const left = accepted.generation !== this.#world.generation(shard);
    if (!left) this.#checkHistory(about, status, seen);
    this.#checkBounds(about, status);
    if (!left) this.#checkMembership(about, status, seen);
    this.#lag?.accepted(member.id, shard, accepted.index);
    seen.term = term;
    seen.index = accepted.index;
    seen.applied = status.appliedIndex;
    seen.revision = status.revision;
    // Later in its term it may change the membership; elected it was by the one at its barrier.
    if (role === 'leader-elect' && seen.leads !== term) {
      seen.leads = term;
      this.#votes.leads(member, shard, { term, votersBefore: seen.voters });
    }
    if (role === 'leader' && seen.serves !== term) {
      seen.serves = term;
      this.#votes.leads(member, shard, { term, votersBefore: [] });
    }
    seen.voters = status.raft.voters;
    if (role === 'leader' && left) {
      this.#problems.add('one-generation', `${about} leads in generation ${accepted.generation}`);
    } else if (role === 'leader') this.#checkLeader(shard, status);
    // The record that begins its generation is accepted, but not applied yet: it may take part, and serves nobody.
    const begins = !left && accepted.generation > 0 && status.raft.awaitingSnapshot === undefined;
    if (status.phase === 'installing' && role !== 'follower' && !begins) {
      this.#problems.add('install-idle', `${about} is ${role} while it installs a snapshot`);
    }
  }

  #checkGrowth(about: string, status: ReplicaStatus, seen: Seen): void {
    const { accepted, term } = status.raft;
    const back =
      term < seen.term ||
      accepted.index < seen.index ||
      status.appliedIndex < seen.applied ||
      status.revision < seen.revision;
    if (!back) return;
    const now = `${term}/${accepted.index}/${status.appliedIndex}/${status.revision}`;
    const then = `${seen.term}/${seen.index}/${seen.applied}/${seen.revision}`;
    this.#problems.add(
      'never-backwards',
      `${about}: ${now} (term/index/applied/revision) after ${then}`,
    );
  }

  #checkHistory(about: string, status: ReplicaStatus, seen: Seen): void {
    const truth = this.#truths.get(status.shard);
    if (truth === undefined || truth.frozen) return;
    const { accepted } = status.raft;
    if (status.appliedIndex > accepted.index) {
      const text = `${about}: applied ${status.appliedIndex} beyond ${accepted.index}`;
      this.#problems.add('applied-behind-accepted', text);
    }
    if (accepted.index !== seen.index) this.#checkAccepted(about, status, truth);
    if (status.appliedIndex === seen.applied) return;
    const [least, most] = [status.appliedIndex, accepted.index].map(
      (at) => truth.revisionAt(at) ?? 0,
    );
    // Records that are applied together move the revision one by one, the applied index at the end.
    if (status.revision >= (least ?? 0) && status.revision <= (most ?? 0)) return;
    const range = `${least}..${most}`;
    const text = `${about}: revision ${status.revision} at index ${status.appliedIndex}, not ${range}`;
    this.#problems.add('revisions', text);
  }

  #checkAccepted(about: string, status: ReplicaStatus, truth: Truth): void {
    const { accepted } = status.raft;
    if (accepted.index > truth.index) truth.extend(this.#world.history(status.shard));
    this.#lag?.check(status.shard, truth);
    if (truth.chainAt(accepted.index) !== toHex(accepted.chainHash)) {
      const text = `${about}: accepted another history at index ${accepted.index}`;
      this.#problems.add('one-history', text);
    }
    const right = truth.positionAt(accepted.index);
    if (right.term === accepted.term && right.leaderId === accepted.leaderId) return;
    const text = `${about}: index ${accepted.index} is of term ${accepted.term}, not ${right.term}`;
    this.#problems.add('old-term-fenced', text);
  }

  #checkMembership(about: string, status: ReplicaStatus, seen: Seen): void {
    const truth = this.#truths.get(status.shard);
    if (truth === undefined || truth.frozen || status.raft.accepted.index === seen.index) return;
    const initial = this.#world.initialVoters;
    const wrong = checkOwnMembership(status, truth, initial);
    if (wrong !== undefined) this.#problems.add('membership', `${about}: ${wrong}`);
  }

  #checkLeader(shard: ShardId, status: ReplicaStatus): void {
    if (this.#truths.get(shard)?.frozen === true) return;
    const { accepted, term } = status.raft;
    const key = `${shard} generation ${accepted.generation} term ${term}`;
    const known = this.#leaders.get(key);
    if (known === undefined) this.#leaders.set(key, accepted.leaderId);
    else if (known !== accepted.leaderId) {
      const text = `shard ${key}: led by ${known} and by ${accepted.leaderId}`;
      this.#problems.add('leader-per-term', text);
    }
  }

  #checkBounds(about: string, status: ReplicaStatus): void {
    const { shardQueueBytesMax, shardQueueCommandsMax } = this.#world.limits;
    const { queuedBytes, queuedCommands } = status;
    if (queuedCommands <= shardQueueCommandsMax && queuedBytes <= shardQueueBytesMax) return;
    this.#problems.add(
      'bounds',
      `${about}: ${queuedCommands} commands, ${queuedBytes} bytes queued`,
    );
  }

  /** Whoever deletes from the head leaves what a healthy disk still needs. */
  #checkLogStart(shard: ShardId): void {
    const start = this.#world.broker.bounds(this.#world.logName(shard))?.start ?? 0;
    if (start === 0 || this.#truths.get(shard)?.startMoved === true) return;
    // Only voters are waited for; whoever becomes one later has its state from a snapshot as well.
    if (this.#truths.get(shard)?.memberships.length !== 0) return;
    for (const member of this.#world.voters) {
      if (member.expendable) continue;
      const next = (member.replica(shard)?.status().raft.accepted.offset ?? start) + 1;
      if (next >= start) continue;
      const text = `shard ${shard} starts at ${start}, ${member.name} needs ${next}`;
      this.#problems.add('log-start', text);
    }
  }
}

function fresh(life: number | undefined): Seen {
  return { life, term: 0, index: 0, applied: 0, revision: 0, leads: 0, serves: 0, voters: [] };
}
