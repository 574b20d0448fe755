import type { LogOffset, MemberId } from '@kvorum/base';
import { assert } from '@kvorum/base';
import { admit } from './accept.ts';
import { changedVoterCount, decodeMembership } from './conf-change.ts';
import type { Core, OpenAppend } from './core.ts';
import { emit, halt, isVoter } from './core.ts';
import { ensureFollowing } from './follow.ts';
import type { AppendSettled } from './input.ts';
import { isQuorum } from './quorum.ts';
import { becomeFollower } from './role.ts';

/**
 * Whether a new proposal may be opened: own barrier accepted, nothing undecided, not handing over.
 */
export function canPropose(core: Core): boolean {
  return (
    core.halted === undefined &&
    core.role === 'leader' &&
    core.proposal === undefined &&
    core.inFlight === undefined &&
    core.transfer === undefined
  );
}

/**
 * Whether a `config` record may be proposed. Besides what every proposal needs, a majority of the voters must have accepted the present
 * one: whoever stands for election with an older membership then meets a voter who knows better and refuses.
 */
export function canChangeMembership(core: Core): boolean {
  const { configIndex, config, peers, voters } = core;
  return (
    canPropose(core) &&
    isQuorum(voters, (id) => id === config.self || (peers.get(id)?.index ?? 0) >= configIndex)
  );
}

export function onPropose(core: Core, kind: 'batch' | 'config', payload: Uint8Array): void {
  assert(canPropose(core), 'propose while canPropose() is false');
  if (kind === 'config') {
    const next = decodeMembership(payload);
    assert(next.ok, 'proposed membership does not decode');
    assert(canChangeMembership(core), 'config change while canChangeMembership() is false');
    const changed = changedVoterCount(core.voters, next.value.voters);
    assert(changed <= 1, `one voter may change at a time, not ${changed}`);
    const isKnown = (id: MemberId): boolean => isVoter(core, id) || core.learners.includes(id);
    assert(next.value.voters.every(isKnown), 'a new voter must be a learner first');
  }
  const { term, seq, chainHash } = core.accepted;
  core.proposal = {
    record: { term, seq: seq + 1, prevHash: chainHash, kind, payload },
    openedMs: core.nowMs,
    phase: 'queued',
    sendAtMs: core.nowMs,
    attemptCount: 0,
    unknownSeen: false,
    landedOffset: undefined,
  };
}

/** Sends what is due; called at the end of every step. One append in flight, whatever it is. */
export function pumpAppends(core: Core): void {
  if (core.inFlight !== undefined) return;
  // An older term's proposal is not sent again: it stands before the next barrier, or it is dead.
  const leads = core.role === 'leader' && core.proposal?.record.term === core.hard.term;
  const open = core.barrier ?? (leads ? core.proposal : undefined);
  if (open === undefined || open.phase !== 'queued' || core.nowMs < open.sendAtMs) return;
  const again = open.attemptCount > 0;
  open.phase = 'sent';
  open.attemptCount += 1;
  core.inFlight = open;
  emit(core, { kind: 'append', again, record: open.record });
}

export function onAppendSettled(core: Core, outcome: AppendSettled, digest: Uint8Array): void {
  const open = core.inFlight;
  assert(open !== undefined, 'append-settled without an append in flight');
  core.inFlight = undefined;
  // Judged by reading, or given up, while the answer was under way.
  if (open !== core.barrier && open !== core.proposal) return;
  switch (outcome.kind) {
    case 'appended':
      onAppended(core, open, outcome.offset, digest);
      return;
    case 'absent':
      onAbsent(core, open, outcome.oversize);
      return;
    case 'unknown':
      open.unknownSeen = true;
      sendLater(core, open);
      ensureFollowing(core);
  }
}

function onAppended(core: Core, open: OpenAppend, offset: LogOffset, digest: Uint8Array): void {
  const next = core.accepted.offset + 1;
  if (offset < next) {
    halt(core, {
      reason: 'log-end-moved-back',
      detail: `append acknowledged at offset ${offset}, which was judged before`,
      offset,
      expected: `offset >= ${next}`,
      found: `offset = ${offset}`,
    });
    return;
  }
  if (offset === next && !open.unknownSeen && !core.verifyingLast) {
    // Everything below was validated and nothing can stand between: this is reading the record
    // without a fetch.
    const { shardUid, generation, leaderId } = core.config;
    admit(core, { ...open.record, offset, digest, shardUid, generation, leaderId });
    return;
  }
  open.phase = 'landed';
  open.landedOffset = offset;
  ensureFollowing(core);
}

function onAbsent(core: Core, open: OpenAppend, oversize: boolean): void {
  if (open === core.barrier) {
    sendLater(core, open);
  } else if (open.unknownSeen) {
    // This attempt is certainly absent, an earlier one may still land.
    sendLater(core, open);
    if (oversize && core.role === 'leader') becomeFollower(core, core.hard.term);
  } else {
    core.proposal = undefined;
    emit(core, { kind: 'proposal', verdict: oversize ? 'oversize' : 'absent' });
  }
}

function sendLater(core: Core, open: OpenAppend): void {
  const { heartbeatMs, electionMsMax } = core.config;
  const backoffMs = Math.min(heartbeatMs * 2 ** (open.attemptCount - 1), electionMsMax);
  open.phase = 'queued';
  open.sendAtMs = core.nowMs + backoffMs;
}
