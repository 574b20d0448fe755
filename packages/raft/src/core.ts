import type { LeaderId, LogIndex, LogOffset, MemberId, Term } from '@kvorum/base';
import { logIndex, logOffset, term } from '@kvorum/base';
import { enterGeneration } from './accepted-state.ts';
import type { HaltReport, RaftEffect, Role } from './effect.ts';
import { HistoryRing } from './history-ring.ts';
import type { AcceptedState, HardState, RecordKind } from './input.ts';
import type { RaftMessage } from './message.ts';
import type { AcceptEffect } from './prove.ts';

export interface RaftConfig {
  readonly self: MemberId;
  /** Identity of this process as a leader: fresh at every start. */
  readonly leaderId: LeaderId;
  readonly shardUid: Uint8Array;
  readonly generation: number;
  /**
   * The membership as of the restored state: what the last accepted `config` record says, else the
   * bootstrap one.
   */
  readonly voters: readonly MemberId[];
  readonly learners: readonly MemberId[];
  /** Index of that `config` record; absent or 0 = the bootstrap one. */
  readonly configIndex?: LogIndex;
  readonly heartbeatMs: number;
  readonly electionMsMin: number;
  readonly electionMsMax: number;
  /**
   * Delay before the first campaign after a start; short for the preferred leader. Pre-vote makes
   * it harmless.
   */
  readonly firstElectionMs: number;
  /** Uniform integer in [fromInclusive, toExclusive). Asked for spans up to 2^31. */
  readonly random: (fromInclusive: number, toExclusive: number) => number;
  /** chainHash' = chain(chainHash, digest of the accepted record). */
  readonly chain: (chainHash: Uint8Array, digest: Uint8Array) => Uint8Array;
}

/** What is known of another member's replica. */
export interface Peer {
  index: LogIndex;
  lastHeardMs: number | undefined;
  /** When it last answered a heartbeat of the current term. */
  answeredMs: number;
  /** Highest heartbeat round of the current term that it answered. */
  round: number;
  logReachable: boolean;
  reachable: boolean;
  contradicts: boolean;
  /** What its disk holds synced, as it reported in the current term; -1 = not reported. */
  durableOffset: LogOffset;
  /** A snapshot that leaves there needs the log from behind this offset on. */
  pinOffset: LogOffset | undefined;
  /** It wants to hear of every acceptance at once. */
  eager: boolean;
}

/** A record this process wants in the log: its bytes never change, however often they are sent. */
export interface OpenAppend {
  readonly record: {
    readonly term: Term;
    readonly seq: number;
    readonly prevHash: Uint8Array;
    readonly kind: RecordKind;
    readonly payload: Uint8Array;
  };
  readonly openedMs: number;
  /**
   * `queued`: to be sent at `sendAtMs`; `sent`: in flight; `landed`: in the log at `landedOffset`,
   * not yet judged.
   */
  phase: 'queued' | 'sent' | 'landed';
  sendAtMs: number;
  attemptCount: number;
  /** Some attempt may have landed or may still land. */
  unknownSeen: boolean;
  landedOffset: LogOffset | undefined;
}

/** One read waiting at the leader: a local one or a follower's request. */
export type LeaderRead =
  | { readonly kind: 'local'; readonly readId: number }
  | {
      readonly kind: 'remote';
      readonly from: MemberId;
      readonly requestId: number;
      /** It was asked in this leader's own term. */
      readonly ofThisTerm: boolean;
    };

export interface ReadRound {
  readonly round: number;
  readonly index: LogIndex;
  readonly reads: readonly LeaderRead[];
}

/** A follower's question to the leader, shared by `readIds`. */
export interface ReadRequest {
  readonly requestId: number;
  readonly to: MemberId;
  readonly readIds: readonly number[];
  readonly retryAtMs: number;
  readonly attemptCount: number;
}

export interface Transfer {
  readonly target: MemberId;
  readonly startedMs: number;
  sent: boolean;
}

/** The mutable state of one replica's raft; only the functions of this package touch it. */
export interface Core {
  readonly config: RaftConfig;
  nowMs: number;
  effects: RaftEffect[];
  hard: HardState;
  accepted: AcceptedState;
  /** The last accepted record while nothing proves that no later read can miss it. */
  held: AcceptEffect | undefined;
  /** Everything up to here is proven; may run ahead of what this replica has read. */
  provenIndex: LogIndex;
  readonly ring: HistoryRing;
  role: Role;
  leader: MemberId | undefined;
  announced: { readonly role: Role; readonly term: Term; readonly leader: MemberId | undefined };
  voters: readonly MemberId[];
  learners: readonly MemberId[];
  /** Index of the `config` record that set them; 0 = none yet. */
  configIndex: LogIndex;
  readonly peers: Map<MemberId, Peer>;
  halted: HaltReport | undefined;

  electionAtMs: number;
  heartbeatAtMs: number;
  /** When this replica last heard its leader. */
  leaderHeardMs: number | undefined;
  /** The transport reports the leader's member as unreachable: loyalty to it ends. */
  leaderSuspect: boolean;
  /** Somebody watches this replica. */
  eager: boolean;
  /** The accepted index that this leader last told its peers. */
  toldIndex: LogIndex;
  readonly votes: Map<MemberId, boolean>;

  following: boolean;
  /** The first read after a start must show the last accepted record again. */
  verifyingLast: boolean;
  /** The log's start when it had passed this replica: it waits for a snapshot. */
  awaitingSnapshot: LogOffset | undefined;
  /** Everything up to here is applied and synced here; -1 = not known. */
  durableOffset: LogOffset;
  pinOffset: LogOffset | undefined;
  logUnreachableSinceMs: number | undefined;
  handOverAtMs: number;

  barrier: OpenAppend | undefined;
  proposal: OpenAppend | undefined;
  /** The append whose answer is outstanding; may be one that was given up or judged meanwhile. */
  inFlight: OpenAppend | undefined;

  round: number;
  readRound: ReadRound | undefined;
  waitingReads: LeaderRead[];
  requestId: number;
  readRequest: ReadRequest | undefined;
  /** Follower-side reads that arrived after `readRequest` was sent. */
  queuedReads: number[];

  transfer: Transfer | undefined;

  fencedCount: number;
  readRoundCount: number;
  leaderChangeCount: number;
}

const REQUEST_ID_STEP = 1_048_576;
const RANDOM_SPAN = 0x7fff_ffff;

export function createCore(
  config: RaftConfig,
  restored: { readonly hard: HardState; readonly accepted: AcceptedState },
  nowMs: number,
): Core {
  const accepted = enterGeneration(restored.accepted, config.generation);
  // A lost vote file must not make the term restart below the log.
  const hard =
    restored.hard.term < accepted.term ? { term: accepted.term, vote: undefined } : restored.hard;
  const core: Core = {
    config,
    nowMs,
    effects: [],
    hard,
    accepted,
    held: undefined,
    // What is on disk was proven when it was handed on.
    provenIndex: accepted.index,
    ring: new HistoryRing({ index: accepted.index, chainHash: accepted.chainHash }),
    role: 'follower',
    leader: undefined,
    announced: { role: 'follower', term: term(hard.term), leader: undefined },
    voters: config.voters,
    learners: config.learners,
    configIndex: config.configIndex ?? logIndex(0),
    peers: new Map(),
    halted: undefined,
    electionAtMs: nowMs + config.firstElectionMs,
    heartbeatAtMs: nowMs,
    leaderHeardMs: undefined,
    leaderSuspect: false,
    eager: false,
    toldIndex: accepted.index,
    votes: new Map(),
    following: false,
    verifyingLast: accepted.lastOffset >= 0,
    awaitingSnapshot: undefined,
    durableOffset: logOffset(-1),
    pinOffset: undefined,
    logUnreachableSinceMs: undefined,
    handOverAtMs: nowMs,
    barrier: undefined,
    proposal: undefined,
    inFlight: undefined,
    round: 0,
    readRound: undefined,
    waitingReads: [],
    // Random, so that a late answer to an earlier process of this member cannot match a request of
    // this one.
    requestId: config.random(0, RANDOM_SPAN) * REQUEST_ID_STEP,
    readRequest: undefined,
    queuedReads: [],
    transfer: undefined,
    fencedCount: 0,
    readRoundCount: 0,
    leaderChangeCount: 0,
  };
  setMembership(core, config.voters, config.learners);
  return core;
}

export function emit(core: Core, effect: RaftEffect): void {
  // A halted replica may no longer act; what was emitted before the proof appeared stands.
  if (core.halted === undefined || effect.kind === 'halted') core.effects.push(effect);
}

export function send(
  core: Core,
  to: MemberId,
  message: RaftMessage,
  after: 'now' | 'persist' = 'now',
): void {
  emit(core, { kind: 'send', to, message, after });
}

/** Stops the shard for good: the log and this replica contradict each other. */
export function halt(
  core: Core,
  report: Pick<HaltReport, 'reason' | 'detail'> & Partial<HaltReport>,
): void {
  if (core.halted !== undefined) return;
  core.halted = {
    offset: core.accepted.offset,
    index: core.accepted.index,
    expected: '',
    found: '',
    ...report,
  };
  core.role = 'follower';
  core.leader = undefined;
  core.leaderHeardMs = undefined;
  core.announced = { role: 'follower', term: core.hard.term, leader: undefined };
  emit(core, { kind: 'halted', report: core.halted });
}

export function isVoter(core: Core, member: MemberId): boolean {
  return core.voters.includes(member);
}

export function isLeading(core: Core): boolean {
  return core.role === 'leader' || core.role === 'leader-elect';
}

export function setMembership(
  core: Core,
  voters: readonly MemberId[],
  learners: readonly MemberId[],
): void {
  core.voters = voters;
  core.learners = learners;
  const others = [...voters, ...learners].filter((id) => id !== core.config.self);
  for (const id of core.peers.keys()) if (!others.includes(id)) core.peers.delete(id);
  for (const id of others) if (!core.peers.has(id)) core.peers.set(id, newPeer(core.nowMs));
}

function newPeer(nowMs: number): Peer {
  return {
    index: logIndex(0),
    lastHeardMs: undefined,
    answeredMs: nowMs,
    round: 0,
    logReachable: false,
    reachable: false,
    contradicts: false,
    durableOffset: logOffset(-1),
    pinOffset: undefined,
    eager: false,
  };
}

export function setHardState(core: Core, next: HardState): void {
  core.hard = next;
  // One synced write a step is enough unless a message of this step already waits for the earlier
  // one.
  const waits = core.effects.some((effect) => effect.kind === 'send' && effect.after === 'persist');
  if (!waits) core.effects = core.effects.filter((effect) => effect.kind !== 'persist-hard-state');
  emit(core, { kind: 'persist-hard-state', term: next.term, vote: next.vote });
}

/** Emits `role-changed` if role, term or leader differ from what was last announced. */
export function announce(core: Core): void {
  const { announced, role, leader } = core;
  const { term: now } = core.hard;
  if (announced.role === role && announced.term === now && announced.leader === leader) return;
  if (leader !== undefined && (announced.leader !== leader || announced.term !== now)) {
    core.leaderChangeCount += 1;
  }
  core.announced = { role, term: now, leader };
  emit(core, { kind: 'role-changed', role, term: now, leader });
}

export function resetElectionTimer(core: Core): void {
  const { electionMsMin, electionMsMax, random } = core.config;
  core.electionAtMs = core.nowMs + random(electionMsMin, electionMsMax);
}

/** It has not met the genesis record of its log's generation: what it holds may be no part of the shard's history any more. */
export function isBeforeGenesis(core: Core): boolean {
  return core.accepted.generation !== core.config.generation;
}

/** It cannot take part: until a snapshot, or the genesis record, is here it does not know the shard's history. */
export function lacksHistory(core: Core): boolean {
  return core.awaitingSnapshot !== undefined || isBeforeGenesis(core);
}
