import type {
  HandOvers,
  KvorumClient,
  MemberInfo,
  MemberStatus,
  MoveInfo,
  ShardInfo,
} from '@kvorum/client';
import type { Call } from '../context.ts';

/** Where the replicas and slots of a cluster are on their way to. */
export interface Progress {
  readonly moves: readonly MoveInfo[];
  /** Every shard with who votes now and whom the map wants. */
  readonly shards: readonly ShardProgress[];
  /** What is not yet as the shard map wants it, a sentence each; empty: all is. */
  readonly pending: readonly string[];
  /** All members together, since each of them started. */
  readonly handOvers: HandOvers;
}

export interface ShardProgress extends ShardInfo {
  /** Hex ids of who votes now, by the account of its leader; absent while no leader answers. */
  readonly voting?: readonly string[];
}

/** The answers it is made of. */
export interface Answers {
  readonly members: readonly MemberInfo[];
  readonly shards: readonly ShardInfo[];
  readonly moves: readonly MoveInfo[];
  /** Of the members that answer. */
  readonly statuses: readonly MemberStatus[];
}

export async function progressOf(client: KvorumClient, call: () => Call): Promise<Progress> {
  // In this order: a map that changes in between leaves members of two versions, which is not the end.
  const members = await client.members(call());
  const shards = await client.shards(call());
  const moves = await client.moves(call());
  const found = await client.status(call());
  return judge({
    members,
    shards,
    moves,
    statuses: found.flatMap(({ status }) => status ?? []),
  });
}

/** What the answers say together. */
export function judge({ members, shards, moves, statuses }: Answers): Progress {
  const names = new Map(members.map(({ id, name }) => [id, name]));
  const nameOf = (id: string): string => names.get(id) ?? id;
  const list = (ids: readonly string[]): string => ids.map(nameOf).sort().join(', ');
  const newest = Math.max(0, ...statuses.map(({ mapVersion }) => mapVersion));
  const pending = [
    ...members.flatMap(memberPending),
    ...statuses
      .filter(({ mapVersion }) => mapVersion < newest)
      .map(({ member }) => `${member.name} has not read the newest shard map yet`),
    ...moves.map(
      ({ from, to, slots, phase }) => `${slots} slots of shard ${from} go to ${to} (${phase})`,
    ),
  ];
  const progress = shards.map((shard): ShardProgress => {
    const replicas = statuses.flatMap(({ member, replicas: own }) =>
      own
        .filter((one) => one.shard === shard.shard)
        .map((one) => ({ ...one, member: member.name })),
    );
    for (const { member, halted, installing } of replicas) {
      if (halted !== undefined)
        pending.push(`shard ${shard.shard} is halted on ${member}: ${halted}`);
      if (installing !== undefined) {
        pending.push(`shard ${shard.shard}: ${member} installs ${installing}`);
      }
    }
    const leader = replicas.find(({ role }) => role === 'leader');
    if (leader === undefined) {
      pending.push(`shard ${shard.shard} has no leader that answers`);
      return shard;
    }
    const { voters: voting = shard.voters, term, revision } = leader;
    const coming = shard.voters.filter((id) => !voting.includes(id));
    const going = voting.filter((id) => !shard.voters.includes(id));
    if (coming.length > 0)
      pending.push(`shard ${shard.shard}: ${list(coming)} to vote once caught up`);
    if (going.length > 0) pending.push(`shard ${shard.shard}: ${list(going)} to leave`);
    return { ...shard, voting, term, revision };
  });
  return { moves, shards: progress, pending, handOvers: sumOf(statuses) };
}

function sumOf(statuses: readonly MemberStatus[]): HandOvers {
  const none: HandOvers = { done: 0, longestMs: 0, void: 0, moved: 0, aborted: 0 };
  return statuses.reduce((sum, { handOvers: one = none }) => {
    return {
      done: sum.done + one.done,
      longestMs: Math.max(sum.longestMs, one.longestMs),
      void: sum.void + one.void,
      moved: sum.moved + one.moved,
      aborted: sum.aborted + one.aborted,
    };
  }, none);
}

/** What became of slot moves, in a line; undefined when there were none. */
export function handOverLine(all: HandOvers): string | undefined {
  if (all.done + all.void + all.moved + all.aborted === 0) return undefined;
  const longest = all.done === 0 ? '' : ` (longest ${all.longestMs} ms)`;
  return (
    `since the members started: ${all.moved} moves done, ${all.aborted} aborted; ` +
    `${all.done} hand-overs${longest}, ${all.void} put off`
  );
}

function memberPending({ name, state, started }: MemberInfo): readonly string[] {
  if (state === 'leaving') return [`${name} leaves the cluster`];
  return started === false ? [`${name} has not been started yet`] : [];
}
