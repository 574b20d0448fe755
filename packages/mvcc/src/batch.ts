import {
  assert,
  type DeleteRangeRequest,
  type DeleteRangeResponse,
  EMPTY_BYTES,
  type KeyValue,
  KvError,
  type KvResponse,
  type LeaseId,
  type Limits,
  NO_LEASE,
  type PutRequest,
  type PutResponse,
  type RangeRequest,
  type RangeResponse,
  type Revision,
  type TxnOpResponse,
  type TxnRequest,
  type TxnResponse,
  unreachable,
  type WriteRequest,
} from '@kvorum/base';
import { attachmentBytes, type BatchState, type Slot } from './batch-state.ts';
import type { CommandResult } from './command.ts';
import { readRange, toKeyValues } from './range.ts';
import type { Reading } from './reading.ts';
import { rowBytesLength, rowKeyValue, rowValue } from './row-codec.ts';
import {
  checkPlan,
  checkPutState,
  isPlainGet,
  isPoint,
  planTxn,
  type TxnPlan,
} from './txn-plan.ts';
import { type Found, VisibleScan } from './visible.ts';

/** Room kept in a record for what frames the payload. */
const RECORD_FRAME_BYTES = 4096;
const NO_LEASES: readonly LeaseId[] = [];
/** The length before a row. */
const ROW_LENGTH_BYTES = 4;

/** Of a record, what keys may take that are deleted together whatever else the record holds. */
const TOGETHER_SHARE = 0.5;
/** The row of a lease with its store key and what frames them; no smaller than any. */
const LEASE_ROW_BYTES = 64;

/** Raised inside a command whose effects do not fit into the record, or whose answer exceeds its bound; the command is undone. */
class Overflow {
  readonly what: 'effects' | 'answer';
  readonly bytes: number;
  constructor(what: 'effects' | 'answer', bytes: number) {
    this.what = what;
    this.bytes = bytes;
  }
}

/** Where a command writes: its main revision and the sub-revision of its next change. */
interface Cursor {
  readonly main: number;
  sub: number;
}

/** Executes the commands of one batch, one after the other, against its working state. */
export class Executor {
  private readonly state: BatchState;
  readonly recordBytesMax: number;
  private readonly answerBytesMax: number;
  /** What the answer of the command that runs may still hold, in bytes of keys and values. */
  private answerRoom = 0;
  /** Bytes of the record that sessions take, set by the caller: of earlier commands, and of the one that runs. */
  sessionBytes = 0;
  ownSessionBytes = 0;
  /** Bytes that the names of the clients take, set by the caller. */
  originBytes = 0;
  /** Bytes that the rows of leases take. */
  private leaseBytes = 0;

  constructor(state: BatchState, limits: Limits) {
    this.state = state;
    this.recordBytesMax = limits.recordBytesMax - RECORD_FRAME_BYTES;
    this.answerBytesMax = limits.rangeBytesMax;
  }

  /** Bytes still free in the record. */
  get room(): number {
    const { builder, attachmentBytes: attached } = this.state;
    const beside = this.sessionBytes + this.ownSessionBytes + this.originBytes + this.leaseBytes;
    return this.recordBytesMax - builder.length - attached - beside;
  }

  /** Nothing of this batch takes room in the record yet. */
  get isFresh(): boolean {
    return this.state.builder.changeCount === 0 && this.sessionBytes === 0 && this.leaseBytes === 0;
  }

  /** Takes the room of the row of a lease; false = there is none. */
  claimLeaseRow(): boolean {
    if (this.room < LEASE_ROW_BYTES) return false;
    this.leaseBytes += LEASE_ROW_BYTES;
    return true;
  }

  /**
   * Deletes keys under one revision. Where they do not fit into what is left of the record nothing is done; as many as fit when they are
   * so many that no later record may have the room either.
   */
  *deleteTogether(keys: readonly Uint8Array[]): Reading<'all' | 'some' | 'none'> {
    const { state } = this;
    const slots = yield* state.slotsOf(keys);
    const bytes = keys.reduce((sum, key) => sum + tombstoneBytes(key), 0);
    const isTooMuch = bytes > this.recordBytesMax * TOGETHER_SHARE;
    const mark = state.mark();
    const before = state.revision;
    const cursor = { main: before + 1, sub: 0 };
    for (const slot of slots) {
      if (this.writeTombstone(slot, cursor) === undefined) continue;
      if (isTooMuch && cursor.sub > 0) return 'some';
      state.rollback(mark);
      state.revision = before;
      return 'none';
    }
    return 'all';
  }

  /** What a command hears whose effects, or whose session's row, find no room any more. */
  recordFull(): CommandResult {
    return failed(new KvError('KV_TOO_MANY_REQUESTS', 'the log record is full'));
  }

  /** A put needs no reading once its slot is prefetched: the hot path stays a plain call. */
  put(request: PutRequest): CommandResult {
    const { state } = this;
    const fault = checkPutState(state, request);
    if (fault !== undefined) return failed(fault);
    state.mark();
    this.answerRoom = this.answerBytesMax;
    const response = this.writePut(request, { main: state.revision + 1, sub: 0 });
    return response instanceof Overflow ? this.overflowed(response) : { ok: true, response };
  }

  *run(request: WriteRequest): Reading<CommandResult> {
    switch (request.op) {
      case 'put':
        return this.put(request);
      case 'delete-range':
        return yield* this.attempt((cursor) => this.deleteRange(request, cursor));
      case 'txn':
        return yield* this.txn(request);
      case 'compact':
        return this.compact(request.revision);
      default:
        return unreachable(request);
    }
  }

  /** A txn of ranges only, or the write form. Compares and checks come first, so it never fails half-way. */
  *txn(request: TxnRequest): Reading<CommandResult> {
    const plan = yield* planTxn(this.state, request);
    const fault = checkPlan(this.state, plan);
    if (fault !== undefined) return failed(fault);
    return yield* this.attempt((cursor) => this.runPlan(plan, cursor));
  }

  private compact(asked: number): CommandResult {
    const { state } = this;
    if (asked <= state.compactedTo) {
      const details = { compactRevision: state.compactedTo };
      return failed(new KvError('KV_COMPACTED', undefined, { details }));
    }
    if (asked > state.revision) {
      const details = { currentRevision: state.revision };
      return failed(new KvError('KV_FUTURE_REVISION', undefined, { details }));
    }
    state.compactedTo = asked;
    return { ok: true, response: { op: 'compact', revision: state.revision as Revision } };
  }

  /** Runs a command that writes under one main revision; undoes it when it does not fit. */
  private *attempt(
    body: (cursor: Cursor) => Reading<TxnOpResponse | Overflow>,
  ): Reading<CommandResult> {
    const { state } = this;
    const before = state.revision;
    const cursor = { main: before + 1, sub: 0 };
    const mark = state.mark();
    this.answerRoom = this.answerBytesMax;
    const response = yield* body(cursor);
    if (response instanceof Overflow) {
      state.rollback(mark);
      state.revision = before;
      return this.overflowed(response);
    }
    const revision = (cursor.sub > 0 ? cursor.main : before) as Revision;
    state.revision = revision;
    // Sub-responses carry the revision of their moment, the outermost the final one.
    return { ok: true, response: { ...response, revision } as KvResponse };
  }

  private *runPlan(plan: TxnPlan, cursor: Cursor): Reading<TxnResponse | Overflow> {
    const responses: TxnOpResponse[] = [];
    let nested = 0;
    for (const op of plan.ops) {
      let response: TxnOpResponse | Overflow;
      if (op.op === 'put') {
        response = this.writePut(op, cursor);
      } else if (op.op === 'delete-range') {
        response = yield* this.deleteRange(op, cursor);
      } else if (op.op === 'range') {
        response = yield* this.rangeInTxn(op);
      } else {
        response = yield* this.runPlan(plan.nested[nested] as TxnPlan, cursor);
        nested += 1;
      }
      if (response instanceof Overflow) return response;
      responses.push(response);
    }
    // A nested txn's own header is empty in etcd.
    return { op: 'txn', revision: 0 as Revision, succeeded: plan.succeeded, responses };
  }

  private writePut(put: PutRequest, cursor: Cursor): PutResponse | Overflow {
    const { state } = this;
    const slot = state.slot(put.key);
    const head = slot.head !== undefined && !slot.head.deleted ? slot.head : undefined;
    const previous = head === undefined ? undefined : state.rowOf(slot);
    let { value } = put;
    if (put.ignoreValue === true) {
      assert(previous !== undefined, 'ignoreValue needs the prefetched row');
      value = rowValue(previous);
    }
    const before = head?.lease ?? NO_LEASE;
    const lease = put.ignoreLease === true ? before : (put.lease ?? NO_LEASE);
    const overflow = this.claim(put.key, value, before === lease ? NO_LEASES : [before, lease]);
    if (overflow !== undefined) return overflow;
    const prevKv =
      put.prevKv === true && previous !== undefined ? rowKeyValue(previous) : undefined;
    const tooMuch = prevKv === undefined ? undefined : this.claimAnswer([prevKv]);
    if (tooMuch !== undefined) return tooMuch;
    state.write(slot, { main: cursor.main, sub: cursor.sub, value, lease, deleted: false });
    cursor.sub += 1;
    this.wrote(cursor);
    const revision = cursor.main as Revision;
    return prevKv === undefined ? { op: 'put', revision } : { op: 'put', revision, prevKv };
  }

  private *deleteRange(
    request: DeleteRangeRequest,
    cursor: Cursor,
  ): Reading<DeleteRangeResponse | Overflow> {
    const { state } = this;
    const wantsPrev = request.prevKv === true;
    if (isPoint(request)) return this.deleteKey(request.key, wantsPrev, cursor);
    const prevKvs: KeyValue[] = [];
    let count = 0;
    // `state.revision` moves with the first tombstone; the scan sees what stood before this operation.
    const scan = new VisibleScan(state, request, state.revision);
    while (!scan.done) {
      const found = yield* scan.next();
      if (wantsPrev) {
        const previous = yield* toKeyValues(state, found, false);
        const tooMuch = this.claimAnswer(previous);
        if (tooMuch !== undefined) return tooMuch;
        prevKvs.push(...previous);
      }
      const overflow = this.writeTombstones(found, cursor);
      if (overflow !== undefined) return overflow;
      count += found.length;
    }
    return this.deleted(count, prevKvs);
  }

  private deleteKey(
    key: Uint8Array,
    wantsPrev: boolean,
    cursor: Cursor,
  ): DeleteRangeResponse | Overflow {
    const slot = this.state.slot(key);
    if (slot.head === undefined || slot.head.deleted) return this.deleted(0, []);
    const row = wantsPrev ? this.state.rowOf(slot) : undefined;
    const prevKvs = row === undefined ? [] : [rowKeyValue(row)];
    const overflow = this.claimAnswer(prevKvs) ?? this.writeTombstone(slot, cursor);
    return overflow ?? this.deleted(1, prevKvs);
  }

  private deleted(count: number, prevKvs: readonly KeyValue[]): DeleteRangeResponse {
    const revision = this.state.revision as Revision;
    return { op: 'delete-range', revision, deleted: count, prevKvs };
  }

  private writeTombstones(found: readonly Found[], cursor: Cursor): Overflow | undefined {
    for (const { key, head } of found) {
      const overflow = this.writeTombstone(this.state.slotOf(key, head), cursor);
      if (overflow !== undefined) return overflow;
    }
    return undefined;
  }

  private writeTombstone(slot: Slot, cursor: Cursor): Overflow | undefined {
    const overflow = this.claim(slot.key, EMPTY_BYTES, [slot.head?.lease ?? NO_LEASE]);
    if (overflow !== undefined) return overflow;
    const { main, sub } = cursor;
    this.state.write(slot, { main, sub, value: EMPTY_BYTES, lease: NO_LEASE, deleted: true });
    cursor.sub += 1;
    this.wrote(cursor);
    return undefined;
  }

  private *rangeInTxn(request: RangeRequest): Reading<RangeResponse | Overflow> {
    const { state } = this;
    if (isPlainGet(request) && request.keysOnly !== true && request.countOnly !== true) {
      const slot = state.slot(request.key);
      const live = slot.head !== undefined && !slot.head.deleted;
      const row = live ? state.rowOf(slot) : undefined;
      const kvs = row === undefined ? [] : [rowKeyValue(row)];
      const revision = state.revision as Revision;
      const tooMuch = this.claimAnswer(kvs);
      return tooMuch ?? { op: 'range', revision, kvs, more: false, count: kvs.length };
    }
    const result = yield* readRange(state, request, this.answerRoom);
    if (result.ok) return this.claimAnswer(result.value.kvs) ?? result.value;
    const { code } = result.error;
    assert(code === 'KV_REQUEST_TOO_LARGE', `a range in a txn failed after its checks: ${code}`);
    return new Overflow('answer', this.answerBytesMax);
  }

  /**
   * Takes the room of key-values in the answer. The leader that executes the command decides this, once, before anything is logged:
   * replicas apply effects and never answers, so the limit may differ between members.
   */
  private claimAnswer(kvs: readonly KeyValue[]): Overflow | undefined {
    for (const { key, value } of kvs) this.answerRoom -= key.length + value.length;
    return this.answerRoom < 0 ? new Overflow('answer', this.answerBytesMax) : undefined;
  }

  /** The next reads of the command see its writes, under its own revision. */
  private wrote(cursor: Cursor): void {
    this.state.revision = cursor.main;
  }

  /** @param leases - those that the key is put on, or taken off. */
  private claim(
    key: Uint8Array,
    value: Uint8Array,
    leases: readonly LeaseId[],
  ): Overflow | undefined {
    let bytes = rowBytesLength(key, value) + ROW_LENGTH_BYTES;
    for (const lease of leases) if (lease !== NO_LEASE) bytes += attachmentBytes(key);
    return bytes > this.room ? new Overflow('effects', bytes) : undefined;
  }

  /** Too large for any record, or only for what is left of this one: then a retry finds an emptier one. */
  private overflowed(overflow: Overflow): CommandResult {
    if (overflow.what === 'answer') {
      const hint =
        'ask for less: without prevKv, keys only, with a `limit`, or in several requests';
      const details = { limit: this.answerBytesMax, hint };
      return failed(
        new KvError('KV_REQUEST_TOO_LARGE', 'the answer exceeds its limit', { details }),
      );
    }
    if (this.isFresh || overflow.bytes > this.recordBytesMax) {
      const details = { limit: this.recordBytesMax };
      return failed(
        new KvError('KV_REQUEST_TOO_LARGE', 'its effects exceed one log record', { details }),
      );
    }
    return this.recordFull();
  }
}

/** What the deletion of a key that hangs on a lease takes of a record. */
export function tombstoneBytes(key: Uint8Array): number {
  return rowBytesLength(key, EMPTY_BYTES) + ROW_LENGTH_BYTES + attachmentBytes(key);
}

function failed(error: KvError): CommandResult {
  return { ok: false, error };
}
