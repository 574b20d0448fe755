import type { MemberId, ShardId } from '@kvorum/base';
import { HARD_STATE_KEY } from '@kvorum/mvcc';
import type { SimMember } from '../member.ts';
import type { Truth } from '../truth.ts';
import type { World, WorldObserver } from '../world.ts';
import { membershipAt } from './memberships.ts';
import type { Problems } from './names.ts';

/** A vote as it was seen to leave its member. */
interface Vote {
  readonly candidate: MemberId;
  /** Disks of the member that were lost before it: a new one knows nothing of older votes. */
  readonly wipes: number;
}

interface Ballot {
  readonly pre: boolean;
  readonly term: number;
  readonly transfer: boolean;
  readonly granted: boolean | undefined;
  /** Accepted index of whoever asks; -1 in an answer. */
  readonly index: number;
}

const HARD_STATE_BYTES = 17;

/** Watches the votes on their way: who votes for whom in which term, and that a leader has a majority of them. */
export class VoteChecker implements WorldObserver {
  readonly #world: World;
  readonly #truths: ReadonlyMap<ShardId, Truth>;
  readonly #problems: Problems;
  /** By shard, term and voter. */
  readonly #votes = new Map<string, Vote>();
  /** Newest vote of each member and shard. */
  readonly #latest = new Map<string, Vote & { readonly term: number }>();
  /** Members that voted, by shard, term and candidate; the same for pre-votes. */
  readonly #supporters = new Map<string, Set<MemberId>>();

  constructor(world: World, truths: ReadonlyMap<ShardId, Truth>, problems: Problems) {
    this.#world = world;
    this.#truths = truths;
    this.#problems = problems;
  }

  readonly sent = (member: SimMember, shard: ShardId, payload: unknown, to: MemberId): void => {
    const ballot = ballotOf(payload);
    if (ballot === undefined) return;
    if (ballot.granted !== false && this.#world.lostVotes.has(`${shard} ${member.id}`)) {
      const text = `${member.name} shard ${shard} votes as ${member.id}, whose votes are lost`;
      this.#problems.add('wiped-vote', text);
    }
    if (ballot.granted === undefined) {
      this.#support(shard, ballot, { voter: member, candidate: member.id });
      if (ballot.pre) return;
      this.#vote(member, shard, { term: ballot.term, candidate: member.id });
      if (!ballot.transfer) this.#checkPreVotes(member, shard, ballot);
    } else if (ballot.granted) {
      this.#support(shard, ballot, { voter: member, candidate: to });
      if (!ballot.pre) this.#vote(member, shard, { term: ballot.term, candidate: to });
    }
  };

  readonly crashed = (member: SimMember): void => {
    for (const shard of this.#world.shards) {
      const cast = this.#latest.get(`${shard} ${member.name}`);
      if (cast === undefined || cast.wipes !== member.wipes || member.damaged) continue;
      const kept = voteOnDisk(member, shard);
      const holds =
        kept.term > cast.term || (kept.term === cast.term && kept.vote === cast.candidate);
      if (holds) continue;
      const text = `${member.name} shard ${shard} voted in term ${cast.term}, its disk says ${kept.term}`;
      this.#problems.add('vote-durable', text);
    }
  };

  /**
   * A member was seen to lead: it needs the votes of a majority. `votersBefore`: as it was last seen, when it may have read of others in
   * the same moment as it was elected; it does not serve then.
   */
  leads(
    member: SimMember,
    shard: ShardId,
    { term, votersBefore }: { readonly term: number; readonly votersBefore: readonly MemberId[] },
  ): void {
    const votes = this.#supporters.get(supportKey(shard, { pre: false, term }, member.id));
    const voters = member.replica(shard)?.status().raft.voters ?? [];
    if (isMajority(member, voters, votes) || isMajority(member, votersBefore, votes)) return;
    const text = `${member.name} leads shard ${shard} in term ${term} with ${votes?.size ?? 0} votes`;
    this.#problems.add('elected-by-majority', text);
  }

  #vote(
    member: SimMember,
    shard: ShardId,
    { term, candidate }: { readonly term: number; readonly candidate: MemberId },
  ): void {
    const { wipes } = member;
    const key = `${shard} ${term} ${member.name}`;
    const known = this.#votes.get(key);
    if (known !== undefined && known.wipes === wipes && known.candidate !== candidate) {
      const both = `${known.candidate} and ${candidate}`;
      this.#problems.add('vote-once', `${member.name} shard ${shard} term ${term}: for ${both}`);
    }
    this.#votes.set(key, { candidate, wipes });
    const latest = this.#latest.get(`${shard} ${member.name}`);
    if (latest === undefined || latest.wipes !== wipes || latest.term <= term) {
      this.#latest.set(`${shard} ${member.name}`, { candidate, wipes, term });
    }
  }

  #support(
    shard: ShardId,
    ballot: Ballot,
    { voter, candidate }: { readonly voter: SimMember; readonly candidate: MemberId },
  ): void {
    const key = supportKey(shard, ballot, candidate);
    const supporters = this.#supporters.get(key);
    if (supporters === undefined) this.#supporters.set(key, new Set([voter.id]));
    else supporters.add(voter.id);
  }

  /**
   * The request leaves once the own vote is synced; the replica may have read of other voters by then, and even of a new log. So the
   * campaign is judged by the voters at the index that it names.
   */
  #checkPreVotes(member: SimMember, shard: ShardId, { term, index }: Ballot): void {
    const truth = this.#truths.get(shard);
    const generation = member.replica(shard)?.status().raft.accepted.generation;
    if (truth === undefined || truth.frozen) return;
    if (generation !== this.#world.generation(shard)) return;
    truth.extend(this.#world.history(shard));
    const { voters } = membershipAt(truth, index, this.#world.initialVoters);
    const agreed = this.#supporters.get(supportKey(shard, { pre: true, term }, member.id));
    if (isMajority(member, voters, agreed)) return;
    const text = `${member.name} campaigns on shard ${shard} in term ${term} with ${agreed?.size ?? 0}`;
    this.#problems.add('pre-vote-majority', text);
  }
}

/** Alone it asks nobody: there is nothing to see on the way. */
function isMajority(
  member: SimMember,
  voters: readonly MemberId[],
  supporters: ReadonlySet<MemberId> | undefined,
): boolean {
  if (voters.length === 1 && voters[0] === member.id) return true;
  return 2 * voters.filter((id) => supporters?.has(id)).length > voters.length;
}

function supportKey(
  shard: ShardId,
  { pre, term }: { readonly pre: boolean; readonly term: number },
  candidate: MemberId,
): string {
  return `${shard} ${pre ? 'pre' : 'vote'} ${term} ${candidate}`;
}

function ballotOf(payload: unknown): Ballot | undefined {
  if (typeof payload !== 'object' || payload === null || !('kind' in payload)) return undefined;
  const { kind } = payload;
  if (kind !== 'vote-request' && kind !== 'vote-response') return undefined;
  if (!('pre' in payload && 'term' in payload)) return undefined;
  return {
    pre: payload.pre === true,
    term: Number(payload.term),
    transfer: 'transfer' in payload && payload.transfer === true,
    granted: 'granted' in payload ? payload.granted === true : undefined,
    index: 'history' in payload ? indexOf(payload.history) : -1,
  };
}

function indexOf(history: unknown): number {
  const isPoint = typeof history === 'object' && history !== null && 'index' in history;
  return isPoint ? Number(history.index) : -1;
}

/** format u8 · term u64 · vote u64, as replica's hard-state-codec writes them. */
function voteOnDisk(member: SimMember, shard: ShardId): { term: number; vote: MemberId } {
  const row = member.stores
    .rows(shard, 'now')
    .find(([key]) => key.length === HARD_STATE_KEY.length && key[0] === HARD_STATE_KEY[0]);
  if (row === undefined || row[1].length !== HARD_STATE_BYTES)
    return { term: 0, vote: 0n as MemberId };
  const view = new DataView(row[1].buffer, row[1].byteOffset);
  return { term: Number(view.getBigUint64(1)), vote: view.getBigUint64(9) as MemberId };
}
