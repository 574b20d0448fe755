import type { MemberId } from '@kvorum/base';
import { unreachable } from '@kvorum/base';
import { onRecords } from './accept.ts';
import {
  canChangeMembership,
  canPropose,
  onAppendSettled,
  onPropose,
  pumpAppends,
} from './append.ts';
import type { Core, RaftConfig } from './core.ts';
import { createCore, halt, isLeading } from './core.ts';
import type { RaftEffect } from './effect.ts';
import {
  giveUpBarrier,
  onElectionTimeout,
  onPeerReachability,
  onVotePersisted,
  onVoteRequest,
  onVoteResponse,
} from './election.ts';
import { onLogOutOfRange, onLogReachable, startFollowing, stopFollowingIfIdle } from './follow.ts';
import { isHaltReason } from './halt-reason.ts';
import { stepHalted } from './halted.ts';
import {
  answerHeartbeat,
  beatIfDue,
  hasQuorumContact,
  onHeartbeat,
  onHeartbeatResponse,
} from './heartbeat.ts';
import type { AcceptedState, HardState, RaftInput } from './input.ts';
import { checkInvariants } from './invariants.ts';
import type { HistoryPoint, RaftMessage } from './message.ts';
import { prove, tellEagerPeers } from './prove.ts';
import { onRead, onReadIndexRequest, onReadIndexResponse, pumpReads } from './read-index.ts';
import { becomeFollower } from './role.ts';
import { awaitSnapshot, isPassedBy, onDurable } from './snapshot.ts';
import type { RaftStatus } from './status.ts';
import { statusOf } from './status.ts';
import { handOverIfStuck, onTimeoutNow, onTransfer, pumpTransfer } from './transfer.ts';

/**
 * One replica's consensus over a shared log, without I/O: inputs in, effects out. The log decides
 * what is accepted (filter.ts);
 * votes and heartbeats give liveness and linearizable reads.
 *
 * Ordering: effects are to be carried out in the order given; `after: 'persist'` waits for the
 * synced hard state.
 * Source: DESIGN §3; Ongaro's Raft thesis, chapters 3, 4, 6 and 9.
 */
export class Raft {
  readonly #core: Core;

  /**
   * @param restored - hard state as last synced and the accepted state found in the store; no newer
   * hard state may
   *   have been used by an earlier process.
   */
  constructor(
    config: RaftConfig,
    restored: { readonly hard: HardState; readonly accepted: AcceptedState },
    nowMs: number,
  ) {
    this.#core = createCore(config, restored, nowMs);
  }

  /** The first effects; call once, before any step. */
  start(): readonly RaftEffect[] {
    startFollowing(this.#core);
    return this.#takeEffects();
  }

  /**
   * Handles one input. A halted replica answers nothing and only listens who leads.
   *
   * @param nowMs - monotonic milliseconds; a smaller value than before counts as no time passed.
   */
  step(input: RaftInput, nowMs: number): readonly RaftEffect[] {
    const core = this.#core;
    core.nowMs = Math.max(core.nowMs, nowMs);
    if (core.halted !== undefined) {
      stepHalted(core, input);
      return this.#takeEffects();
    }
    handle(core, input);
    if (core.halted === undefined) {
      pumpReads(core);
      beatIfDue(core);
      pumpAppends(core);
      pumpTransfer(core);
      tellEagerPeers(core);
      stopFollowingIfIdle(core);
    }
    return this.#takeEffects();
  }

  /** Whether `propose` is allowed now. */
  canPropose(): boolean {
    return canPropose(this.#core);
  }

  /** Whether `propose` of a `config` record is allowed now. */
  canChangeMembership(): boolean {
    return canChangeMembership(this.#core);
  }

  status(): RaftStatus {
    return statusOf(this.#core);
  }

  /** The latest accepted records that this process knows the chain hashes of, oldest first. */
  history(): readonly HistoryPoint[] {
    return this.#core.ring.points();
  }

  /** `status().accepted` for callers that ask several times a record. */
  get accepted(): AcceptedState {
    return this.#core.accepted;
  }

  /** Throws InvariantError when the state contradicts itself. */
  checkInvariants(): void {
    checkInvariants(this.#core);
  }

  #takeEffects(): readonly RaftEffect[] {
    const { effects } = this.#core;
    this.#core.effects = [];
    return effects;
  }
}

function handle(core: Core, input: RaftInput): void {
  switch (input.kind) {
    case 'tick':
      onTick(core);
      return;
    case 'message':
      onMessage(core, input.from, input.message);
      return;
    case 'hard-state-persisted':
      onVotePersisted(core, input.term, input.vote);
      return;
    case 'records':
      onRecords(core, input.records, input.nextOffset);
      return;
    case 'log-out-of-range':
      if (core.awaitingSnapshot !== undefined) return;
      if (isPassedBy(core, input.start)) awaitSnapshot(core, input.start);
      else onLogOutOfRange(core, input.end);
      return;
    case 'log-reachable':
      onLogReachable(core, input.reachable);
      return;
    case 'append-settled':
      onAppendSettled(core, input.outcome, input.digest);
      return;
    case 'propose':
      onPropose(core, input.record, input.payload);
      return;
    case 'read':
      onRead(core, input.readId);
      return;
    case 'transfer':
      onTransfer(core, input.target);
      return;
    case 'peer-reachability':
      onPeerReachability(core, input.peer, input.reachable);
      return;
    case 'durable':
      onDurable(core, input.offset, input.pin);
      return;
    case 'await-snapshot':
      awaitSnapshot(core, core.accepted.offset + 1);
      return;
    case 'eager':
      core.eager = input.eager;
      return;
    case 'halt':
      halt(core, {
        reason: isHaltReason(input.reason) ? input.reason : 'apply-failed',
        detail: input.detail,
      });
      return;
    default:
      unreachable(input);
  }
}

function onTick(core: Core): void {
  if (!isLeading(core)) {
    if (core.nowMs >= core.electionAtMs) onElectionTimeout(core);
    return;
  }
  if (!hasQuorumContact(core)) {
    becomeFollower(core, core.hard.term);
    return;
  }
  giveUpBarrier(core);
  handOverIfStuck(core);
}

function onMessage(core: Core, from: MemberId, message: RaftMessage): void {
  const peer = core.peers.get(from);
  if (peer !== undefined) {
    peer.reachable = true;
    peer.lastHeardMs = core.nowMs;
  }
  switch (message.kind) {
    case 'vote-request':
      onVoteRequest(core, from, message);
      return;
    case 'vote-response':
      onVoteResponse(core, from, message);
      return;
    case 'heartbeat':
      onHeartbeatOfAnyTerm(core, from, message);
      return;
    case 'heartbeat-response':
      if (message.term > core.hard.term) becomeFollower(core, message.term);
      else onHeartbeatResponse(core, from, message);
      return;
    case 'accepted':
      if (message.term === core.hard.term && core.leader === from) prove(core, message.index);
      return;
    case 'timeout-now':
      if (message.term < core.hard.term) return;
      if (message.term > core.hard.term) becomeFollower(core, message.term);
      onTimeoutNow(core);
      return;
    case 'read-index-request':
      onReadIndexRequest(core, from, message);
      return;
    case 'read-index-response':
      onReadIndexResponse(core, message);
      return;
    default:
      unreachable(message);
  }
}

function onHeartbeatOfAnyTerm(
  core: Core,
  from: MemberId,
  message: Extract<RaftMessage, { kind: 'heartbeat' }>,
): void {
  if (message.term < core.hard.term) {
    answerHeartbeat(core, from, message, false);
    return;
  }
  if (message.term > core.hard.term) becomeFollower(core, message.term);
  onHeartbeat(core, from, message);
}
