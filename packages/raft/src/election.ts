import type { MemberId } from '@kvorum/base';
import { term as toTerm } from '@kvorum/base';
import type { Core } from './core.ts';
import {
  announce,
  isLeading,
  isVoter,
  lacksHistory,
  resetElectionTimer,
  send,
  setHardState,
} from './core.ts';
import type { RaftMessage } from './message.ts';
import { tallyVotes } from './quorum.ts';
import { becomeFollower, becomeLeaderElect, becomePatientFollower, leaveRole } from './role.ts';

type VoteRequest = Extract<RaftMessage, { kind: 'vote-request' }>;
type VoteResponse = Extract<RaftMessage, { kind: 'vote-response' }>;

/**
 * The leader is silent: ask the others whether they miss it too, if this replica may and can lead
 * at all.
 */
export function onElectionTimeout(core: Core): void {
  const noLog = core.logUnreachableSinceMs !== undefined || lacksHistory(core);
  if (!isVoter(core, core.config.self) || noLog) {
    // A leader needs a barrier in the log; without the log a campaign would only disturb.
    becomeFollower(core, core.hard.term);
    return;
  }
  if (core.verifyingLast) {
    // Until the last accepted record was seen again this may be another log, which must not get a record of ours.
    core.electionAtMs = core.nowMs + core.config.heartbeatMs;
    return;
  }
  leaveRole(core, core.hard.term);
  core.role = 'pre-candidate';
  announce(core);
  core.votes.set(core.config.self, true);
  requestVotes(core, true, false);
  tally(core);
}

/** A real election: the term rises, the own vote counts once it is synced. */
export function campaign(core: Core, transfer: boolean): void {
  leaveRole(core, core.hard.term);
  const term = toTerm(core.hard.term + 1);
  setHardState(core, { term, vote: core.config.self });
  core.role = 'candidate';
  announce(core);
  requestVotes(core, false, transfer);
}

function requestVotes(core: Core, pre: boolean, transfer: boolean): void {
  const { index, chainHash } = core.accepted;
  const term = pre ? toTerm(core.hard.term + 1) : core.hard.term;
  const history = { index, chainHash };
  const request: RaftMessage = { kind: 'vote-request', pre, term, transfer, history };
  for (const id of core.voters) {
    if (id === core.config.self) continue;
    send(core, id, request, 'persist');
  }
}

export function onVotePersisted(core: Core, term: number, vote: MemberId | undefined): void {
  if (core.role !== 'candidate' || term !== core.hard.term || vote !== core.config.self) return;
  core.votes.set(core.config.self, true);
  tally(core);
}

export function onVoteRequest(core: Core, from: MemberId, message: VoteRequest): void {
  const { pre, term } = message;
  const ignoresLoyalty = message.transfer && !pre;
  if (!isVoter(core, core.config.self)) return;
  // Without the history it cannot tell whether the candidate's is the right one.
  if (lacksHistory(core)) {
    refuse(core, from, pre);
    return;
  }
  if (!ignoresLoyalty && isLoyal(core)) {
    refuse(core, from, pre);
    return;
  }
  if (!pre && term > core.hard.term) becomeFollower(core, term);
  // A candidate with another history must not lead; and one term has at most one accepted barrier.
  const barred =
    core.ring.contradicts(message.history) ||
    term <= core.accepted.term ||
    // Its idea of who votes is older than this one's: two of its steps ago majorities need not have met.
    message.history.index < core.configIndex;
  const free = pre ? term > core.hard.term : term === core.hard.term && isVoteFreeFor(core, from);
  if (barred || !free) {
    refuse(core, from, pre);
    return;
  }
  if (!pre && core.hard.vote === undefined) setHardState(core, { term, vote: from });
  if (!pre) resetElectionTimer(core);
  send(core, from, { kind: 'vote-response', pre, term, granted: true }, 'persist');
}

function isVoteFreeFor(core: Core, from: MemberId): boolean {
  const { vote } = core.hard;
  return vote === from || (vote === undefined && core.leader === undefined);
}

function refuse(core: Core, from: MemberId, pre: boolean): void {
  const { term } = core.hard;
  send(core, from, { kind: 'vote-response', pre, term, granted: false }, 'persist');
}

/**
 * Whether this replica still has a leader it believes in; then it helps nobody to depose it. A
 * refused connection to the leader's
 * member ends that belief at once.
 */
function isLoyal(core: Core): boolean {
  if (isLeading(core)) return true;
  if (core.leader === undefined || core.leaderSuspect || core.leaderHeardMs === undefined) {
    return false;
  }
  return core.nowMs - core.leaderHeardMs < core.config.electionMsMin;
}

export function onVoteResponse(core: Core, from: MemberId, message: VoteResponse): void {
  const { pre, term, granted } = message;
  if (!granted && term > core.hard.term) {
    becomeFollower(core, term);
    return;
  }
  if (granted && term !== core.hard.term + (pre ? 1 : 0)) return;
  // A vote stays given: what is refused afterwards is the same request once more, and its voter has heard a leader meanwhile.
  if (!pre && !granted && core.votes.get(from) === true) return;
  if (core.role === 'leader-elect' && !pre) core.votes.set(from, granted);
  if (core.role !== (pre ? 'pre-candidate' : 'candidate')) return;
  core.votes.set(from, granted);
  tally(core);
}

function tally(core: Core): void {
  const result = tallyVotes(core.voters, core.votes);
  if (result === 'lost') becomeFollower(core, core.hard.term);
  else if (result === 'won' && core.role === 'pre-candidate') campaign(core, false);
  else if (result === 'won') becomeLeaderElect(core);
}

/**
 * The transport lost or regained a member: only a hint, yet enough to stop waiting for a leader
 * that is gone.
 */
export function onPeerReachability(core: Core, peer: MemberId, reachable: boolean): void {
  const known = core.peers.get(peer);
  if (known !== undefined) known.reachable = reachable;
  if (core.role !== 'follower' || core.leader !== peer) return;
  core.leaderSuspect = !reachable;
  if (reachable) return;
  const { heartbeatMs, random } = core.config;
  const soonMs = core.nowMs + random(heartbeatMs, 3 * heartbeatMs);
  core.electionAtMs = Math.min(core.electionAtMs, soonMs);
}

const BARRIER_PATIENCE = 2;

/** A leader-elect whose barrier does not get in lets others try. */
export function giveUpBarrier(core: Core): void {
  const { barrier } = core;
  // A landed barrier is only waiting for this replica to read up to it.
  if (core.role !== 'leader-elect' || barrier === undefined || barrier.phase === 'landed') return;
  const patienceMs = BARRIER_PATIENCE * core.config.electionMsMax;
  if (core.nowMs - barrier.openedMs >= patienceMs) becomePatientFollower(core);
}
