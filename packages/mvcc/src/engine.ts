import {
  assert,
  err,
  type KeyValue,
  KvError,
  type LeaseId,
  type Limits,
  ok,
  type RangeRequest,
  type RangeResponse,
  type Result,
  type Revision,
  type TxnRequest,
  type TxnResponse,
  type WatchEvent,
} from '@kvorum/base';
import { Executor } from './batch.ts';
import { BatchState } from './batch-state.ts';
import { byteText } from './binary.ts';
import type { CommandResult, Proposal } from './command.ts';
import { type CompactionChunk, type CompactionCursor, compactionChunk } from './compaction.ts';
import type { EngineMeta } from './engine-meta.ts';
import type { LeaseRow } from './lease-codec.ts';
import { executeLeases, leaseKeys, loadLeases, prefetchLeases } from './lease-execution.ts';
import { OriginRecorder } from './origins.ts';
import { readRange } from './range.ts';
import { eachRow, getMany, type Reading } from './reading.ts';
import {
  decodeHead,
  headKey,
  prefixRange,
  rowBytesLength,
  rowKey,
  rowKeyValue,
  STATE_PREFIXES,
} from './row-codec.ts';
import { runCommand } from './run-command.ts';
import { type SessionBatch, SessionTable } from './session-table.ts';
import type { SlotCommand } from './slot-command.ts';
import type { LeftRows } from './slot-drop.ts';
import type { SlotExport } from './slot-execution.ts';
import { SlotKeeper, type SlotState } from './slot-keeper.ts';
import {
  encodeOwnership,
  type SlotOwnership,
  type SlotSpan,
  type SlotTable,
} from './slot-ownership.ts';
import { digestState, type StateDigest } from './state-hash.ts';
import { isPlainGet, prefetchOp } from './txn-plan.ts';
import { type Pointer, rowsAt, type Snapshot } from './visible.ts';
import {
  applyWriteSet,
  decodeWriteSet,
  type SlotChanges,
  type StoreSink,
  type WriteSet,
  WriteSetBuilder,
  writeSetEvents,
  writeSetRows,
} from './write-set.ts';

const PAYLOAD_SLACK_BYTES = 1024;

/** The outcome of executing a batch. Nothing has changed yet: the payload must be logged, accepted and applied first. */
export interface Execution {
  /** The log record's payload; undefined when there is nothing to log. */
  readonly payload: Uint8Array | undefined;
  /** One result for each proposal, in order. To be given to clients only after the payload is applied. */
  readonly results: readonly CommandResult[];
  readonly changed: {
    /** Revision after the batch. */
    readonly revision: number;
    readonly revisionCount: number;
    readonly changeCount: number;
    readonly compactRevision: number;
  };
}

/** What applying one write set did. `writeTo` and `events` read the payload: call them before it is reused. */
export interface Applied {
  readonly writeSet: WriteSet;
  readonly revision: Revision;
  readonly compactRevision: number;
  readonly compacted: boolean;
  /** Slots that the shard served before it and no more: their watchers go on at another shard, or here when they come back. */
  readonly released: readonly SlotSpan[];
  /** Adds the rows to the store batch, in which the shell also writes `m`. */
  writeTo(sink: StoreSink): void;
  /** Events in revision order, made on demand, without previous values. */
  events(): Iterable<WatchEvent>;
}

/** What executing a batch leaves beside the working state. */
interface Executed {
  readonly sessions: SessionBatch | undefined;
  readonly origins: OriginRecorder | undefined;
  readonly results: readonly CommandResult[];
  readonly leaderTimeMs: number;
}

/** Newest values of many keys; `revision` is that of the state they were read from. */
export interface BatchOfGets {
  readonly revision: Revision;
  readonly kvs: readonly (KeyValue | undefined)[];
  /** By index, why a key cannot be answered here; absent = all can. */
  readonly refused?: readonly (KvError | undefined)[];
}

/**
 * The state machine of one shard: executes commands into write sets on the leader, applies write sets everywhere,
 * answers reads.
 *
 * What the shell must keep to:
 * - one `execute` at a time, and only while the store holds exactly what is applied;
 * - other readings start when the store holds at least what is applied: write the store, then `take`; or `apply`, and
 *   start none until the write is done. They keep to the revision at their start, whatever is written meanwhile;
 * - `stateHash` runs over a view of a store that holds exactly what is applied;
 * - the deletes of a compaction step go to the store before any write set that is applied after the step;
 * - what `leftByDrop` finds is deleted from the store before a step of a slot move is.
 */
export class Engine {
  private readonly limits: Limits;
  private readonly sessions = new SessionTable();
  private currentRevision: number;
  private compactedTo: number;
  private touched: Set<string> | undefined;
  private readonly slots: SlotKeeper;

  private constructor(meta: EngineMeta, limits: Limits, slots: SlotState | undefined) {
    this.limits = limits;
    this.slots = new SlotKeeper(slots);
    this.currentRevision = meta.revision;
    this.compactedTo = meta.compactRevision;
  }

  /** Throws KV_CORRUPT when the row of slot ownership is damaged. */
  static load(meta: EngineMeta, limits: Limits, slots?: SlotState): Engine {
    return new Engine(meta, limits, slots);
  }

  /** The slots that the shard owns; undefined = it never took part in a move: those the map says. */
  get slotTable(): SlotTable | undefined {
    return this.slots.table;
  }

  get slotSpace(): SlotKeeper['space'] {
    return this.slots.space;
  }

  /** As its replicated row says; undefined = there is none. */
  get ownership(): SlotOwnership | undefined {
    return this.slots.ownership;
  }

  /** Newest applied revision. */
  get revision(): Revision {
    return this.currentRevision as Revision;
  }

  /** -1 = never compacted. Reads below it are refused; at it they are allowed. */
  get compactRevision(): number {
    return this.compactedTo;
  }

  get sessionsLoaded(): boolean {
    return this.sessions.isLoaded;
  }

  get sessionCount(): number {
    return this.sessions.size;
  }

  /** Reads the sessions of the shard; a new leader does it once before its first batch. */
  *loadSessions(): Reading<void> {
    this.sessions.beginLoad();
    const { gte, lt } = prefixRange(STATE_PREFIXES.session);
    yield* eachRow(gte, lt, (storeKey, row) => this.sessions.loadRow(storeKey, row));
    this.sessions.endLoad();
  }

  /** The leases that the shard knows. Throws KV_CORRUPT when a row is damaged. */
  *leases(): Reading<readonly LeaseRow[]> {
    return yield* loadLeases();
  }

  /** The keys of a lease that the shard has, ascending. Throws KV_REQUEST_TOO_LARGE when they exceed what an answer may hold. */
  *keysOfLease(id: LeaseId): Reading<readonly Uint8Array[]> {
    return yield* leaseKeys(id, this.slots.table, this.limits.rangeBytesMax);
  }

  /**
   * Executes validated commands in order on the applied state. A failing command leaves no trace in it.
   *
   * @param leaderTimeMs - the leader's wall clock; goes into the write set, drives the expiry of sessions.
   * Errors, per command: what etcd answers; KV_TOO_MANY_REQUESTS when the record has no room left for its effects.
   */
  *execute(batch: readonly Proposal[], leaderTimeMs: number): Reading<Execution> {
    const [only] = batch;
    if (only?.request.op === 'slots') {
      assert(batch.length === 1, 'a step of a slot move stands alone in its batch');
      return yield* this.executeSlots(only.request, leaderTimeMs);
    }
    const base = this.snapshot();
    const state = new BatchState(base, payloadCapacity(batch));
    prefetchBatch(state, batch);
    yield* state.prefetch();
    const tagged = batch.some(({ session }) => session !== undefined);
    const sessions = tagged ? this.sessions.beginBatch(this.limits, leaderTimeMs) : undefined;
    const named = batch.some(({ origin }) => origin !== undefined);
    const origins = named ? new OriginRecorder() : undefined;
    const executor = new Executor(state, this.limits);
    const results: CommandResult[] = [];
    for (const { request, session, origin, mapVersion } of batch) {
      assert(request.op !== 'slots', 'a step of a slot move stands alone in its batch');
      const before = { revision: state.revision, compactedTo: state.compactedTo };
      executor.originBytes = origins?.begin(origin) ?? 0;
      if (request.op === 'lease') {
        const leases = { state, executor, slots: this.slots.table, leaderTimeMs };
        results.push(yield* executeLeases(leases, request));
      } else {
        const refusal = this.slots.refusal(request, mapVersion);
        results.push(yield* runCommand(executor, { request, refusal, sessions, session }));
      }
      origins?.end(before, state);
    }
    assert(this.currentRevision === base.revision, 'a batch must not overlap an apply');
    return this.finish(state, { sessions, origins, results, leaderTimeMs });
  }

  /**
   * Applies an accepted payload: leader and followers alike.
   *
   * Errors: KV_CORRUPT when it is malformed, of an unknown version, or not made for this state; the replica halts.
   */
  apply(payload: Uint8Array): Result<Applied, KvError> {
    const decoded = decodeWriteSet(payload);
    if (!decoded.ok) return decoded;
    const writeSet = decoded.value;
    if (writeSet.baseRevision !== this.currentRevision) {
      const found = `write set for revision ${writeSet.baseRevision}`;
      return err(new KvError('KV_CORRUPT', `${found} on state ${this.currentRevision}`));
    }
    return ok(this.take(writeSet));
  }

  /**
   * Takes a decoded write set into memory. A shell that writes the store first calls this when the write is done, so that
   * memory never runs ahead of what readings find.
   */
  take(writeSet: WriteSet): Applied {
    const { baseRevision } = writeSet;
    assert(baseRevision === this.currentRevision, 'write set does not follow the state');
    this.currentRevision += writeSet.revisionCount;
    const compacted = writeSet.compactRevision !== undefined;
    if (writeSet.compactRevision !== undefined) this.compactedTo = writeSet.compactRevision;
    if (this.touched !== undefined) {
      for (const row of writeSetRows(writeSet)) this.touched.add(byteText(rowKey(row)));
      for (const row of writeSet.slots?.rows ?? []) this.touched.add(byteText(rowKey(row)));
    }
    const released = writeSet.slots === undefined ? [] : this.slots.take(writeSet.slots.ownership);
    this.sessions.apply(writeSet.sessions);
    return {
      writeSet,
      revision: this.revision,
      compactRevision: this.compactedTo,
      compacted,
      released,
      writeTo: (sink) => applyWriteSet(writeSet, sink),
      events: () => writeSetEvents(writeSet),
    };
  }

  /**
   * What a step of a slot move that drops rows would leave in this store alone: rows that a compaction had taken where the step was
   * decided, and not here yet. To be deleted before the step is applied, piece by piece; nobody can read them, then or later.
   *
   * @param from - `next` of the piece before.
   */
  *leftByDrop(slots: SlotChanges, from?: Uint8Array): Reading<LeftRows> {
    return yield* this.slots.leftByDrop(slots, from);
  }

  private *executeSlots(command: SlotCommand, leaderTimeMs: number): Reading<Execution> {
    const { revision, compactRevision } = this;
    const effects = yield* this.slots.execute(this, command);
    const changed = { revision, revisionCount: 0, changeCount: 0, compactRevision };
    if (effects instanceof KvError) {
      return { payload: undefined, results: [{ ok: false, error: effects }], changed };
    }
    const { rows, deletes, leases, revisionCount } = effects;
    const after = (revision + revisionCount) as Revision;
    const response = { op: 'txn', revision: after, succeeded: true, responses: [] } as const;
    const results = [{ ok: true, response } as const];
    const { ownership } = effects;
    if (ownership === undefined || ownership === this.ownership) {
      return { payload: undefined, results, changed };
    }
    const payload = new WriteSetBuilder(PAYLOAD_SLACK_BYTES).finish({
      leaderTimeMs,
      baseRevision: revision,
      revisionCount,
      leases,
      slots: { ownership: encodeOwnership(ownership), rows, deletes },
    });
    return { payload, results, changed: { ...changed, revision: after, revisionCount } };
  }

  /** The next piece of the history of slots, for the shard that they move to. */
  *exportSlots(slots: readonly SlotSpan[], from: number): Reading<SlotExport> {
    return yield* this.slots.exportFrom(() => this, slots, from);
  }

  /**
   * Answers a validated range. Errors: KV_COMPACTED, KV_FUTURE_REVISION, KV_WRONG_SHARD.
   *
   * @param mapVersion - of the map by which it was sent here; absent = the newest.
   */
  *range(request: RangeRequest, mapVersion?: number): Reading<Result<RangeResponse, KvError>> {
    if (isPlainGet(request) && request.keysOnly !== true && request.countOnly !== true) {
      return yield* this.plainGet(request.key);
    }
    for (;;) {
      const refusal = this.slots.refusal(request, mapVersion);
      if (refusal !== undefined) return err(refusal);
      const moment = this.slots.moment();
      const snapshot = this.snapshot();
      const result = yield* readRange(snapshot, request, this.limits.rangeBytesMax);
      // A compaction past the revision being read may have taken rows away: start over at today's revision.
      const at = (request.revision ?? 0) > 0 ? (request.revision ?? 0) : snapshot.revision;
      if (!moment.isOver() && (!result.ok || this.compactedTo <= at)) return result;
    }
  }

  private *plainGet(key: Uint8Array): Reading<Result<RangeResponse, KvError>> {
    const { revision, kvs: found, refused } = yield* this.getBatch([key]);
    if (refused?.[0] !== undefined) return err(refused[0]);
    const kvs = found[0] === undefined ? [] : [found[0]];
    return ok({ op: 'range', revision, kvs, more: false, count: kvs.length });
  }

  /**
   * The newest values of many keys, in their order, all at the revision at the start: two get-many calls at most
   * unless writes overtake it.
   */
  *getBatch(keys: readonly Uint8Array[]): Reading<BatchOfGets> {
    for (;;) {
      const moment = this.slots.moment();
      const snapshot = this.snapshot();
      const refused = this.slots.refusalsOf(keys);
      const kvs = yield* this.newest(snapshot, keys, refused);
      const revision = snapshot.revision as Revision;
      if (moment.isOver() || this.compactedTo > revision) continue;
      return refused === undefined ? { revision, kvs } : { revision, kvs, refused };
    }
  }

  /** Answers a validated txn of ranges only (isReadOnly), on one revision. Errors and `mapVersion` as range. */
  *readTxn(txn: TxnRequest, mapVersion?: number): Reading<Result<TxnResponse, KvError>> {
    for (;;) {
      const refusal = this.slots.refusal(txn, mapVersion);
      if (refusal !== undefined) return err(refusal);
      const moment = this.slots.moment();
      const base = this.snapshot();
      const state = new BatchState(base, 0);
      prefetchOp(state, txn);
      yield* state.prefetch();
      const result = yield* new Executor(state, this.limits).txn(txn);
      // As in range; and a range at an older revision may have been overtaken by any compaction.
      if (moment.isOver() || this.compactedTo !== state.compactedTo) continue;
      if (!result.ok) return err(result.error);
      assert(result.response.op === 'txn', 'a txn answers a txn');
      return ok(result.response);
    }
  }

  /** The next piece of superseded rows to remove; see compaction.ts. Pass the last chunk's cursor, or undefined first. */
  *compactionStep(cursor?: CompactionCursor): Reading<CompactionChunk> {
    assert(this.touched === undefined, 'one compaction step at a time');
    const touched = new Set<string>();
    this.touched = touched;
    try {
      const view = { compactRevision: this.compactedTo, slots: this.slots.table, touched };
      return yield* compactionChunk(view, cursor);
    } finally {
      this.touched = undefined;
    }
  }

  /** A digest of the logical content; see state-hash.ts. Drive it over a ReadView taken in the same turn. */
  *stateHash(): Reading<StateDigest> {
    return yield* digestState(this.currentRevision, this.compactedTo);
  }

  private finish(
    state: BatchState,
    { sessions, origins, results, leaderTimeMs }: Executed,
  ): Execution {
    const { baseRevision, revision, compactedTo, builder, leaseChanges } = state;
    const sessionChanges = sessions?.finish() ?? [];
    const revisionCount = revision - baseRevision;
    const compacted = compactedTo !== this.compactedTo;
    const changed = {
      revision,
      revisionCount,
      changeCount: builder.changeCount,
      compactRevision: compactedTo,
    };
    const isUnchanged = revisionCount === 0 && leaseChanges.length === 0;
    if (isUnchanged && !compacted && sessionChanges.length === 0) {
      return { payload: undefined, results, changed };
    }
    const frame = { leaderTimeMs, baseRevision, revisionCount, leases: leaseChanges };
    const payload = builder.finish({
      ...frame,
      sessions: sessionChanges,
      origins: origins?.encode(),
      ...(compacted ? { compactRevision: compactedTo } : {}),
    });
    return { payload, results, changed };
  }

  private *newest(
    snapshot: Snapshot,
    keys: readonly Uint8Array[],
    refused: BatchOfGets['refused'],
  ): Reading<readonly (KeyValue | undefined)[]> {
    const values = yield* getMany(keys.map(headKey));
    const heads = values.map((value) => (value === undefined ? undefined : decodeHead(value)));
    const pointers: Pointer[] = [];
    const indexes: number[] = [];
    for (const [index, head] of heads.entries()) {
      // Rows of slots that have left are dropped while others read: nobody may count on them.
      if (refused?.[index] !== undefined) continue;
      // A tombstone newer than the snapshot hides a version that the snapshot still has.
      if (head === undefined || (head.deleted && head.modMain <= snapshot.revision)) continue;
      pointers.push({ main: head.modMain, sub: head.modSub });
      indexes.push(index);
    }
    const rows = yield* rowsAt(snapshot, pointers, snapshot.revision);
    const found = keys.map((): KeyValue | undefined => undefined);
    for (const [i, index] of indexes.entries()) {
      const row = rows[i];
      if (row !== undefined) found[index] = rowKeyValue(row);
    }
    return found;
  }

  private snapshot(): Snapshot & { readonly compactedTo: number } {
    const revision = this.currentRevision;
    const moment = this.slots.moment();
    return {
      revision,
      compactedTo: this.compactedTo,
      // Once slots have come or gone any row may be missing: the reading is void.
      compactRevision: () =>
        moment.isOver() ? Number.MAX_SAFE_INTEGER : Math.max(this.compactedTo, moment.floor),
      hides: moment.hides,
      knownHead: () => undefined,
      overlay: () => [],
      localRow: () => undefined,
    };
  }
}

function prefetchBatch(state: BatchState, batch: readonly Proposal[]): void {
  for (const { request } of batch) {
    if (request.op === 'lease') prefetchLeases(state, request);
    else if (request.op !== 'compact' && request.op !== 'slots') prefetchOp(state, request);
  }
}

function payloadCapacity(batch: readonly Proposal[]): number {
  let bytes = PAYLOAD_SLACK_BYTES;
  for (const { request } of batch) {
    bytes += request.op === 'put' ? 8 + rowBytesLength(request.key, request.value) : 256;
  }
  return bytes;
}
