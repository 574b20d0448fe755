import type { LogOffset, Result } from '@kvorum/base';
import { assert, equalBytes, logOffset, ok, toHex } from '@kvorum/base';
import { decodeMembership, type Membership } from './conf-change.ts';
import type { Core, OpenAppend } from './core.ts';
import { emit, halt, isVoter, setMembership } from './core.ts';
import { judge } from './filter.ts';
import { decodeGenesis } from './genesis.ts';
import type { ReadRecord, UnreadableRecord } from './input.ts';
import { handOn } from './prove.ts';
import { isQuorum } from './quorum.ts';
import { becomeFollower, becomeLeader } from './role.ts';
import { awaitSnapshot } from './snapshot.ts';

/** Records read from the log, in offset order; offsets judged before are only compared. */
export function onRecords(
  core: Core,
  records: readonly (ReadRecord | UnreadableRecord)[],
  nextOffset: LogOffset,
): void {
  if (core.awaitingSnapshot !== undefined) return;
  const { lastOffset } = core.accepted;
  if (core.verifyingLast && nextOffset > lastOffset) {
    core.verifyingLast = false;
    if (!records.some((record) => record.offset === lastOffset)) {
      rewritten(core, lastOffset, 'no record');
      return;
    }
  }
  for (const record of records) {
    if (record.offset <= core.accepted.offset) compareWithLast(core, record);
    else admit(core, record);
    if (core.halted !== undefined || core.awaitingSnapshot !== undefined) return;
  }
  const covered = nextOffset - 1;
  if (covered > core.accepted.offset) {
    core.accepted = { ...core.accepted, offset: logOffset(covered) };
  }
  checkLanded(core, core.barrier);
  checkLanded(core, core.proposal);
}

/**
 * The last accepted record read again must be the same bytes: else the log was rewritten or re-
 * created.
 */
function compareWithLast(core: Core, record: ReadRecord | UnreadableRecord): void {
  const { lastOffset, lastDigest } = core.accepted;
  if (record.offset !== lastOffset || lastDigest.length === 0) return;
  if ('unreadable' in record) rewritten(core, record.offset, record.unreadable);
  else if (!equalBytes(record.digest, lastDigest)) {
    rewritten(core, record.offset, toHex(record.digest));
  }
}

function rewritten(core: Core, offset: LogOffset, found: string): void {
  halt(core, {
    reason: 'log-rewritten',
    detail: `the record accepted at offset ${offset} is no longer there`,
    offset,
    expected: toHex(core.accepted.lastDigest),
    found,
  });
}

/** An append known to lie at an offset that has been read without meeting it. */
function checkLanded(core: Core, open: OpenAppend | undefined): void {
  if (core.halted !== undefined || open?.landedOffset === undefined) return;
  if (open.landedOffset > core.accepted.offset) return;
  halt(core, {
    reason: 'log-end-moved-back',
    detail: `the record acknowledged at offset ${open.landedOffset} is not in the log`,
    offset: open.landedOffset,
  });
}

/** Judges the next record and does what its acceptance entails. */
export function admit(core: Core, record: ReadRecord | UnreadableRecord): void {
  const judgement = judge(core.accepted, record, core.config);
  if (judgement.kind === 'halt') {
    halt(core, judgement.report);
    return;
  }
  assert(!('unreadable' in record), 'the filter halts on unreadable records');
  if (judgement.kind === 'ignore') {
    core.accepted = judgement.state;
    core.fencedCount += 1;
    emit(core, { kind: 'fenced', offset: record.offset, reason: judgement.reason });
    return;
  }
  if (judgement.kind === 'install') {
    // Who votes in this generation, so that they can be asked for their state.
    const { voters, learners } = judgement.genesis.membership;
    setMembership(core, voters, learners);
    awaitSnapshot(core, record.offset + 1);
    return;
  }
  const membership = membershipIn(record);
  if (membership?.ok === false) {
    const { offset } = record;
    halt(core, { reason: 'unreadable-record', detail: membership.error, offset });
    return;
  }
  core.accepted = judgement.state;
  core.ring.put({ index: judgement.state.index, chainHash: judgement.state.chainHash });
  const own = isOwnProposal(core, record);
  const { kind, payload, term } = record;
  const { state } = judgement;
  const provenByItself =
    kind === 'barrier' || kind === 'genesis' || record.leaderId === core.config.leaderId;
  handOn(core, { kind: 'accept', record: { kind, payload, term }, state, own }, provenByItself);
  if (kind === 'barrier') onBarrierAccepted(core, record);
  if (kind === 'genesis' && record.term > core.hard.term) becomeFollower(core, record.term);
  if (own) {
    core.proposal = undefined;
    emit(core, { kind: 'proposal', verdict: 'accepted' });
  }
  if (membership !== undefined) {
    setMembership(core, membership.value.voters, membership.value.learners);
    core.configIndex = state.index;
    // Also one that only stands for election: those who vote now may have agreed to it before they knew.
    const out = core.role !== 'follower' && !isVoter(core, core.config.self);
    if (out) becomeFollower(core, core.hard.term);
  }
}

/** Of the records that set one. */
function membershipIn({ kind, payload }: ReadRecord): Result<Membership, string> | undefined {
  if (kind === 'config') return decodeMembership(payload);
  if (kind !== 'genesis') return undefined;
  const genesis = decodeGenesis(payload);
  return genesis.ok ? ok(genesis.value.membership) : genesis;
}

function isOwnProposal(core: Core, record: ReadRecord): boolean {
  const open = core.proposal?.record;
  return (
    open !== undefined &&
    record.leaderId === core.config.leaderId &&
    record.term === open.term &&
    record.seq === open.seq &&
    record.kind !== 'barrier' &&
    record.kind !== 'genesis'
  );
}

function onBarrierAccepted(core: Core, record: ReadRecord): void {
  if (core.proposal !== undefined && record.term > core.proposal.record.term) {
    // The filter will never accept an older term's record behind this barrier.
    core.proposal = undefined;
    emit(core, { kind: 'proposal', verdict: 'absent' });
  }
  const own = record.leaderId === core.config.leaderId;
  if (own && core.barrier?.record.term === record.term) {
    // Who voted was asked under the membership known then; only a majority of the one in force at the barrier makes an earlier leader's
    // reads impossible. See docs/adr/0014-membership-by-the-log.md.
    if (isQuorum(core.voters, (id) => core.votes.get(id) === true)) becomeLeader(core);
    else becomeFollower(core, record.term);
  } else if (record.term > core.hard.term) {
    becomeFollower(core, record.term);
  } else if (record.term === core.hard.term && !own && core.role !== 'follower') {
    becomeFollower(core, record.term);
  }
}
