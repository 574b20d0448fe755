import {
  assert,
  compareBytes,
  copyBytes,
  KvError,
  type LeaseId,
  type Revision,
} from '@kvorum/base';
import { type Executor, tombstoneBytes } from './batch.ts';
import type { BatchState } from './batch-state.ts';
import { byteText } from './binary.ts';
import type { CommandResult } from './command.ts';
import {
  attachedKey,
  attachmentsOf,
  decodeLease,
  isAttachmentOf,
  LEASE_ROWS,
  type LeaseRow,
} from './lease-codec.ts';
import type { LeaseCommand, LeasePermit } from './lease-command.ts';
import { eachRow, keyAfter, type Reading, scanChunk } from './reading.ts';
import type { SlotTable } from './slot-ownership.ts';

/** What the execution of a command about leases looks at. */
export interface LeaseExecution {
  readonly state: BatchState;
  readonly executor: Executor;
  /** Undefined = no move has touched the shard. */
  readonly slots: SlotTable | undefined;
  readonly leaderTimeMs: number;
}

/** Asks for what a command will look at. */
export function prefetchLeases(state: BatchState, command: LeaseCommand): void {
  if (command.action === 'grant') {
    state.wantLease(command.id);
    return;
  }
  state.wantLeaseMark();
  const ids = command.action === 'admit' ? command.leases.map(({ id }) => id) : command.ids;
  for (const id of ids) state.wantLease(id);
}

/**
 * Runs a command about leases. An answer that has not `succeeded` says that something is left to do: keys are in slots that change hands, or
 * found no room in the record; the command is to be sent again.
 *
 * Errors: KV_LEASE_EXISTS; KV_LEASE_NOT_FOUND when none of the leases exists at its home; KV_DEPOSED when it comes from a home's leader
 * of an earlier term, or by a permit that is void.
 */
export function* executeLeases(run: LeaseExecution, command: LeaseCommand): Reading<CommandResult> {
  switch (command.action) {
    case 'grant':
      return grant(run, command);
    case 'revoke':
      return yield* revoke(run, command);
    case 'admit':
      return admit(run, command);
    case 'drop':
      return yield* drop(run, command);
  }
}

function answer({ state }: LeaseExecution, succeeded: boolean): CommandResult {
  const revision = state.revision as Revision;
  return { ok: true, response: { op: 'txn', revision, succeeded, responses: [] } };
}

function failed(error: KvError): CommandResult {
  return { ok: false, error };
}

function outdated(term: number): KvError {
  return new KvError('KV_DEPOSED', `the home of the leases has left term ${term}`);
}

function grant(
  run: LeaseExecution,
  { id, ttlSeconds }: Extract<LeaseCommand, { readonly action: 'grant' }>,
): CommandResult {
  const { state, executor, leaderTimeMs } = run;
  if (state.lease(id) !== undefined) return failed(new KvError('KV_LEASE_EXISTS'));
  if (!executor.claimLeaseRow()) return executor.recordFull();
  state.setLease(id, { id, ttlSeconds, grantedAtMs: leaderTimeMs });
  return answer(run, true);
}

function* revoke(
  run: LeaseExecution,
  { ids, stage, term }: Extract<LeaseCommand, { readonly action: 'revoke' }>,
): Reading<CommandResult> {
  const { state, slots } = run;
  if (term < state.leaseMark.term) return failed(outdated(term));
  if (!raiseMark(run, { term, seq: 0 })) return run.executor.recordFull();
  // Once slots have moved other shards may hold keys of them.
  const isLast = stage === 'finish' || (stage === 'alone' && slots === undefined);
  let isDone = true;
  let known = 0;
  for (const id of ids) {
    const row = state.lease(id);
    if (row === undefined) continue;
    known += 1;
    if (!(yield* end(run, id, { row, isLast }))) isDone = false;
  }
  return known === 0
    ? failed(new KvError('KV_LEASE_NOT_FOUND'))
    : answer(run, isDone && (isLast || stage === 'begin'));
}

function admit(
  run: LeaseExecution,
  { leases, permit }: Extract<LeaseCommand, { readonly action: 'admit' }>,
): CommandResult {
  const { state, executor, slots, leaderTimeMs } = run;
  const { term, floor } = state.leaseMark;
  const isVoid = permit.term < term || (permit.term === term && permit.seq < floor);
  if (isVoid) return failed(new KvError('KV_DEPOSED', 'the permit is void'));
  // It owns no slots and none are about to come: a write that is queued once this is answered finds none either. And nothing may be left
  // here by a lease that ends while its home has never given a slot away, for no other shard is asked then.
  if (slots !== undefined && slots.served.length === 0 && !slots.isHandingOver) {
    return answer(run, false);
  }
  if (!raiseMark(run, { term: permit.term, seq: 0 })) return executor.recordFull();
  for (const { id, ttlSeconds } of leases) {
    if (state.hasLease(id)) continue;
    if (!executor.claimLeaseRow()) return executor.recordFull();
    state.setLease(id, { id, ttlSeconds, grantedAtMs: leaderTimeMs });
  }
  return answer(run, true);
}

function* drop(
  run: LeaseExecution,
  { ids, term, floor }: Extract<LeaseCommand, { readonly action: 'drop' }>,
): Reading<CommandResult> {
  const { state } = run;
  if (term < state.leaseMark.term) return failed(outdated(term));
  if (!raiseMark(run, { term, seq: floor })) return run.executor.recordFull();
  let isDone = true;
  for (const id of ids) {
    if (!(yield* end(run, id, { row: state.lease(id), isLast: true }))) isDone = false;
  }
  return answer(run, isDone);
}

/** Has the shard hear of a term, and of what is void in it; false = the record has no room for it. */
function raiseMark({ state, executor }: LeaseExecution, { term, seq }: LeasePermit): boolean {
  const mark = state.leaseMark;
  assert(term >= mark.term, `leases come from term ${term}, after ${mark.term}`);
  const floor = term === mark.term ? Math.max(mark.floor, seq) : seq;
  if (term === mark.term && floor === mark.floor) return true;
  if (!executor.claimLeaseRow()) return false;
  state.setLeaseMark({ term, floor });
  return true;
}

/**
 * Deletes the keys of one lease in one revision, and then its row or what makes it usable. False: something is left to do.
 *
 * What hangs on it in slots that change hands at this moment can be deleted neither here nor at the shard that takes them: then nothing
 * is done at all, so that its keys go together.
 */
function* end(
  run: LeaseExecution,
  id: LeaseId,
  { row, isLast }: { readonly row: LeaseRow | undefined; readonly isLast: boolean },
): Reading<boolean> {
  const { state, executor } = run;
  const { keys, isWhole, isBlocked } = yield* ownKeys(run, id);
  const writesRow = row !== undefined && (isLast || row.isEnding !== true);
  if (writesRow && !executor.claimLeaseRow()) return false;
  const deleted = isBlocked ? 'none' : yield* executor.deleteTogether(keys);
  const isDone = deleted === 'all' && isWhole;
  if (isDone && isLast) {
    if (row !== undefined) state.setLease(id, undefined);
  } else if (row !== undefined && row.isEnding !== true) {
    state.setLease(id, { ...row, isEnding: true });
  }
  return isDone;
}

interface OwnKeys {
  readonly keys: readonly Uint8Array[];
  /** There are no more. */
  readonly isWhole: boolean;
  /** Some of the lease's keys are in slots that change hands. */
  readonly isBlocked: boolean;
}

/** The keys of a lease that the shard serves, ascending. */
function* ownKeys({ state, executor, slots }: LeaseExecution, id: LeaseId): Reading<OwnKeys> {
  const found = new Map<string, Uint8Array>();
  let bytes = 0;
  const isWhole = yield* eachAttached(id, (key) => {
    found.set(byteText(key), key);
    bytes += tombstoneBytes(key);
    return bytes <= executor.recordBytesMax;
  });
  let isSorted = true;
  for (const { storeKey, value } of state.leaseChanges) {
    if (!isAttachmentOf(storeKey, id)) continue;
    const key = attachedKey(storeKey);
    if (value === undefined) found.delete(byteText(key));
    else found.set(byteText(key), key);
    isSorted = false;
  }
  const all = [...found.values()];
  if (!isSorted) all.sort(compareBytes);
  if (slots === undefined) return { keys: all, isWhole, isBlocked: false };
  const keys: Uint8Array[] = [];
  let isBlocked = false;
  for (const key of all) {
    const standing = slots.standingOf(slots.space.ofKey(key));
    if (standing === 'served') keys.push(key);
    isBlocked ||= standing === 'changing';
  }
  return { keys, isWhole, isBlocked };
}

/** Visits the stored attachments of a lease in the order of their keys, until the visitor has enough; false = it had. */
function* eachAttached(id: LeaseId, visit: (key: Uint8Array) => boolean): Reading<boolean> {
  const { gte, lt } = attachmentsOf(id);
  let from = gte;
  for (;;) {
    const rows = yield* scanChunk(from, lt);
    const last = rows.at(-1);
    if (last === undefined) return true;
    for (const [storeKey] of rows) if (!visit(copyBytes(attachedKey(storeKey)))) return false;
    from = keyAfter(last[0]);
  }
}

/** The keys of a lease that a shard has, ascending. Throws KV_REQUEST_TOO_LARGE when they take more than so many bytes. */
export function* leaseKeys(
  id: LeaseId,
  slots: SlotTable | undefined,
  bytesMax: number,
): Reading<readonly Uint8Array[]> {
  const keys: Uint8Array[] = [];
  let bytes = 0;
  const isWhole = yield* eachAttached(id, (key) => {
    if (slots !== undefined && !slots.isOwned(slots.space.ofKey(key))) return true;
    keys.push(key);
    bytes += key.length;
    return bytes <= bytesMax;
  });
  if (isWhole) return keys;
  const details = { limit: bytesMax };
  throw new KvError('KV_REQUEST_TOO_LARGE', 'the keys of the lease', { details });
}

/** All leases that a shard knows. Throws KV_CORRUPT when a row is damaged. */
export function* loadLeases(): Reading<LeaseRow[]> {
  const leases: LeaseRow[] = [];
  yield* eachRow(LEASE_ROWS.gte, LEASE_ROWS.lt, (_, value) => {
    const row = decodeLease(value);
    if (!row.ok) throw row.error;
    leases.push(row.value);
  });
  return leases;
}
