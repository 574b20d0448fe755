import type { MemberId } from '@kvorum/base';
import { leaderMember } from '@kvorum/base';
import type { Core } from './core.ts';
import {
  announce,
  halt,
  isBeforeGenesis,
  isLeading,
  lacksHistory,
  resetElectionTimer,
  send,
} from './core.ts';
import type { RaftMessage } from './message.ts';
import { prove } from './prove.ts';
import { isQuorum } from './quorum.ts';

/** Sends heartbeats of `round` to everyone; `round` is fresh. */
export function broadcastHeartbeat(core: Core, round: number): void {
  const { index, chainHash } = core.accepted;
  const { term } = core.hard;
  core.heartbeatAtMs = nextBeatMs(core);
  core.toldIndex = index;
  // One object: a transport that many members read writes it once.
  const beat: RaftMessage = { kind: 'heartbeat', term, round, history: { index, chainHash } };
  for (const id of core.peers.keys()) send(core, id, beat);
}

/**
 * The periodic heartbeats of a leader; each has a round of its own and may confirm earlier rounds.
 */
export function beatIfDue(core: Core): void {
  if (!isLeading(core) || core.nowMs < core.heartbeatAtMs) return;
  core.round += 1;
  broadcastHeartbeat(core, core.round);
}

/** A heartbeat of the current term (lower terms were answered, higher ones adopted before). */
export function onHeartbeat(
  core: Core,
  from: MemberId,
  message: Extract<RaftMessage, { kind: 'heartbeat' }>,
): void {
  // Lost votes can make two leaders of one term; the log decides between them, not the heartbeats.
  if (isLeading(core) || isDisproved(core, from)) return;
  core.role = 'follower';
  core.leader = from;
  core.leaderHeardMs = core.nowMs;
  core.leaderSuspect = false;
  core.votes.clear();
  resetElectionTimer(core);
  announce(core);
  // A history that is about to be replaced says nothing against the leader's.
  const contradicts = !isBeforeGenesis(core) && core.ring.contradicts(message.history);
  if (!contradicts) prove(core, message.history.index);
  answerHeartbeat(core, from, message, contradicts);
}

/** Also the answer to a deposed leader: the higher term in it makes that one step down. */
export function answerHeartbeat(
  core: Core,
  from: MemberId,
  message: Extract<RaftMessage, { kind: 'heartbeat' }>,
  contradicts: boolean,
): void {
  send(
    core,
    from,
    {
      kind: 'heartbeat-response',
      term: core.hard.term,
      round: message.round,
      index: core.accepted.index,
      durableOffset: core.durableOffset,
      pinOffset: core.pinOffset,
      // Whoever waits for a snapshot could not lead either.
      logReachable: core.logUnreachableSinceMs === undefined && !lacksHistory(core),
      contradicts,
      eager: core.eager,
    },
    'persist',
  );
}

/** An answer of the current term to one of this leader's rounds. */
export function onHeartbeatResponse(
  core: Core,
  from: MemberId,
  message: Extract<RaftMessage, { kind: 'heartbeat-response' }>,
): void {
  const peer = core.peers.get(from);
  if (!isLeading(core) || peer === undefined || message.term !== core.hard.term) return;
  if (message.round > core.round) return;
  peer.answeredMs = core.nowMs;
  // Doubled and reordered answers must not take anything back.
  if (message.round < peer.round) return;
  peer.round = message.round;
  peer.index = message.index;
  peer.logReachable = message.logReachable;
  peer.contradicts = message.contradicts;
  peer.durableOffset = message.durableOffset;
  peer.pinOffset = message.pinOffset;
  peer.eager = message.eager;
  if (isQuorum(core.voters, (id) => core.peers.get(id)?.contradicts === true)) {
    halt(core, {
      reason: 'history-contradicted',
      detail: 'a majority of the voters accepted another history than this leader',
    });
  }
}

/** Whether another leader's barrier of this very term is accepted already. */
function isDisproved(core: Core, from: MemberId): boolean {
  const { leaderId, term } = core.accepted;
  return leaderId !== '' && term === core.hard.term && leaderMember(leaderId) !== from;
}

/**
 * A leader that hears no majority for the longest election time must assume that another one
 * exists.
 */
export function hasQuorumContact(core: Core): boolean {
  const since = core.nowMs - core.config.electionMsMax;
  return isQuorum(
    core.voters,
    (id) => id === core.config.self || (core.peers.get(id)?.answeredMs ?? since) > since,
  );
}

/** Beats fall on multiples of the interval, so that the leaders of one process beat in one turn and share its frames. */
function nextBeatMs(core: Core): number {
  const { heartbeatMs } = core.config;
  return (Math.floor(core.nowMs / heartbeatMs) + 1) * heartbeatMs;
}
