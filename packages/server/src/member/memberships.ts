import { formatId, isShardId, type MemberId } from '@kvorum/base';
import type { PeerTransport } from '@kvorum/ports';
import type { ShardMap } from '@kvorum/shard';
import { encodeMembershipsQuestion } from '../router/forward.ts';
import { askMembers } from './ask-members.ts';
import { memberIdOf } from './cluster.ts';

const ASK_MS = 1000;

/** One replica's account of its shard. */
export interface MembershipAccount {
  readonly shard: string;
  /** Hex id of the leader as far as the replica knows. */
  readonly leader: string | undefined;
  /** The replica leads. */
  readonly leads: boolean;
  /** Hex ids, voters and learners. */
  readonly members: readonly string[];
  /** Absent from members of older versions. */
  readonly term?: number;
  readonly revision?: number;
  /** Requests a second that the replica serves, of one who leads; absent from members of older versions. */
  readonly load?: number;
}

/** What is told of a member's replicas. */
export interface ReportedReplicas {
  leads(shard: string): boolean;
  all(): readonly {
    readonly shard: string;
    status(): {
      readonly revision: number;
      readonly raft: {
        readonly leader: MemberId | undefined;
        readonly voters: readonly MemberId[];
        readonly learners: readonly MemberId[];
        readonly term: number;
      };
    };
  }[];
}

/** This member's replicas, for another member and for itself. */
export function ownMemberships(
  replicas: ReportedReplicas,
  loadOf: (shard: string) => number | undefined = () => undefined,
): readonly MembershipAccount[] {
  return replicas.all().map((replica) => {
    const leads = replicas.leads(replica.shard);
    const load = leads ? loadOf(replica.shard) : undefined;
    const { raft, revision } = replica.status();
    const { leader, voters, learners, term } = raft;
    return {
      shard: replica.shard,
      leader: leader === undefined ? undefined : formatId(leader),
      leads,
      members: [...voters, ...learners].map(formatId),
      term,
      revision,
      ...(load === undefined ? {} : { load }),
    };
  });
}

/** Anything but an answer of this form counts as none: an older member does not know the question. */
export function parseMemberships(answer: unknown): readonly MembershipAccount[] {
  if (typeof answer !== 'object' || answer === null || !('memberships' in answer)) return [];
  const { memberships } = answer;
  if (!Array.isArray(memberships)) return [];
  return memberships.flatMap((one: unknown): MembershipAccount[] => {
    if (typeof one !== 'object' || one === null) return [];
    const from = one as Readonly<Record<string, unknown>>;
    const { shard, leader, leads, members, term, revision, load } = from;
    if (!isShardId(shard) || !Array.isArray(members)) return [];
    const ids = members.filter((id): id is string => typeof id === 'string');
    return [
      {
        shard,
        leader: typeof leader === 'string' ? leader : undefined,
        leads: leads === true,
        members: ids,
        ...(typeof term === 'number' ? { term } : {}),
        ...(typeof revision === 'number' ? { revision } : {}),
        ...(typeof load === 'number' && load >= 0 ? { load } : {}),
      },
    ];
  });
}

/** Asks those members of the map that can be reached about their replicas. */
export async function askMemberships(
  map: ShardMap,
  self: MemberId,
  peers: Pick<PeerTransport, 'request' | 'isReachable'>,
): Promise<readonly MembershipAccount[]> {
  const asked = map.members
    .map(({ id }) => memberIdOf(id))
    .filter((id) => id !== self && peers.isReachable(id));
  const question = { members: asked, payload: encodeMembershipsQuestion(), timeoutMs: ASK_MS };
  return [...(await askMembers(peers, question)).values()].flatMap(parseMemberships);
}
