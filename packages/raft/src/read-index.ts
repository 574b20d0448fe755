import type { MemberId } from '@kvorum/base';
import type { Core, LeaderRead, ReadRequest } from './core.ts';
import { emit, isLeading, send } from './core.ts';
import { broadcastHeartbeat } from './heartbeat.ts';
import type { RaftMessage } from './message.ts';
import { prove } from './prove.ts';
import { isQuorum } from './quorum.ts';

/** A local read. At a leader it joins the next round; elsewhere the leader is asked. */
export function onRead(core: Core, readId: number): void {
  if (isLeading(core)) core.waitingReads.push({ kind: 'local', readId });
  else if (core.leader === undefined) emit(core, { kind: 'read-failed', readId });
  else core.queuedReads.push(readId);
}

export function onReadIndexRequest(
  core: Core,
  from: MemberId,
  message: Extract<RaftMessage, { kind: 'read-index-request' }>,
): void {
  const { requestId, term } = message;
  const read: LeaderRead = { kind: 'remote', from, requestId, ofThisTerm: term === core.hard.term };
  if (!isLeading(core)) {
    failLeaderRead(core, read);
    return;
  }
  // A member has one request open; a new one replaces the one it gave up.
  core.waitingReads = core.waitingReads.filter(
    (waiting) => waiting.kind === 'local' || waiting.from !== from,
  );
  core.waitingReads.push(read);
}

export function onReadIndexResponse(
  core: Core,
  message: Extract<RaftMessage, { kind: 'read-index-response' }>,
): void {
  const request = core.readRequest;
  // An answer to an older request may be older than the reads that joined since.
  if (request === undefined || request.requestId !== message.requestId) return;
  core.readRequest = undefined;
  const { index } = message;
  if (index !== undefined) prove(core, index);
  for (const readId of request.readIds) {
    if (index === undefined) emit(core, { kind: 'read-failed', readId });
    else emit(core, { kind: 'read-ready', readId, index });
  }
}

/**
 * Starts, confirms and retries rounds; called at the end of every step. A round takes the reads
 * that waited when it started, so
 * its heartbeats go out after every one of them arrived; reads that come later wait for the next
 * round.
 */
export function pumpReads(core: Core): void {
  if (isLeading(core)) pumpLeaderReads(core);
  else pumpFollowerReads(core);
}

function pumpLeaderReads(core: Core): void {
  if (core.role !== 'leader') return;
  answerWithoutRound(core);
  confirmReadRound(core);
  if (core.readRound !== undefined || core.waitingReads.length === 0) return;
  core.readRoundCount += 1;
  core.round += 1;
  // Everything acknowledged so far is accepted at or below this index.
  core.readRound = { round: core.round, index: core.accepted.index, reads: core.waitingReads };
  core.waitingReads = [];
  const alone = core.voters.length === 1 && core.voters[0] === core.config.self;
  if (!alone) broadcastHeartbeat(core, core.round);
  confirmReadRound(core);
}

/**
 * A member that asks in this leader's term had elected nobody later when it asked, after its reads had arrived: that is all an answer to
 * a round would say of it. Where it and the leader are a majority, as of three voters, nobody else has to be heard.
 * Source: docs/consensus.md, Reads.
 */
function answerWithoutRound(core: Core): void {
  const { index } = core.accepted;
  core.waitingReads = core.waitingReads.filter((read) => {
    if (read.kind === 'local' || !read.ofThisTerm) return true;
    const { from, requestId } = read;
    if (!isQuorum(core.voters, (id) => id === core.config.self || id === from)) return true;
    send(core, from, { kind: 'read-index-response', term: core.hard.term, requestId, index });
    return false;
  });
}

function confirmReadRound(core: Core): void {
  const round = core.readRound;
  if (round === undefined) return;
  const confirmed = isQuorum(
    core.voters,
    (id) => id === core.config.self || (core.peers.get(id)?.round ?? 0) >= round.round,
  );
  if (!confirmed) return;
  core.readRound = undefined;
  for (const read of round.reads) {
    if (read.kind === 'local') {
      emit(core, { kind: 'read-ready', readId: read.readId, index: round.index });
    } else {
      const { requestId } = read;
      const { term } = core.hard;
      const { index } = round;
      send(core, read.from, { kind: 'read-index-response', term, requestId, index });
    }
  }
}

function pumpFollowerReads(core: Core): void {
  const { leader } = core;
  const request = core.readRequest;
  if (leader === undefined) {
    failFollowerReads(core);
    return;
  }
  if (request === undefined) {
    if (core.queuedReads.length > 0) askLeader(core, leader, [], 0);
  } else if (request.to !== leader || core.nowMs >= request.retryAtMs) {
    askLeader(core, leader, request.readIds, request.attemptCount);
  }
}

function askLeader(
  core: Core,
  leader: MemberId,
  again: readonly number[],
  attemptCount: number,
): void {
  const { heartbeatMs, electionMsMax } = core.config;
  core.requestId += 1;
  // Growing, so that a slow link still gets an answer in before its request is given up.
  const waitMs = Math.min(heartbeatMs * 2 ** (attemptCount + 1), electionMsMax);
  const request: ReadRequest = {
    requestId: core.requestId,
    to: leader,
    readIds: [...again, ...core.queuedReads],
    retryAtMs: core.nowMs + waitMs,
    attemptCount: attemptCount + 1,
  };
  core.queuedReads = [];
  core.readRequest = request;
  const { term } = core.hard;
  send(core, leader, { kind: 'read-index-request', term, requestId: request.requestId });
}

function failFollowerReads(core: Core): void {
  const readIds = [...(core.readRequest?.readIds ?? []), ...core.queuedReads];
  core.readRequest = undefined;
  core.queuedReads = [];
  for (const readId of readIds) emit(core, { kind: 'read-failed', readId });
}

/** Stepping down: no round of this leader can confirm anything any more. */
export function failLeaderReads(core: Core): void {
  const reads = [...(core.readRound?.reads ?? []), ...core.waitingReads];
  core.readRound = undefined;
  core.waitingReads = [];
  for (const read of reads) failLeaderRead(core, read);
}

function failLeaderRead(core: Core, read: LeaderRead): void {
  if (read.kind === 'local') {
    emit(core, { kind: 'read-failed', readId: read.readId });
    return;
  }
  const { requestId } = read;
  const { term } = core.hard;
  send(core, read.from, { kind: 'read-index-response', term, requestId, index: undefined });
}
