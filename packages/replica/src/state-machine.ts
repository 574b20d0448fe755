import {
  assert,
  isKvError,
  KvError,
  type LeaseId,
  type Limits,
  type LogOffset,
  type Revision,
  type ShardId,
  toHex,
} from '@kvorum/base';
import {
  applyWriteSet,
  type CompactionCursor,
  decodeMeta,
  decodeWriteSet,
  Engine,
  type EngineMeta,
  encodeMeta,
  initialMeta,
  type LeaseRow,
  META_KEY,
  OWNERSHIP_KEY,
  type Proposal,
  REVISION_TIMES_KEY,
  restoreFinish,
  restoreRows,
  SHARD_TIME_KEY,
  type SlotChanges,
  type SlotExport,
  type SlotSpace,
  type SlotSpan,
  type SlotState,
  STORE_FORMAT,
  type StateChange,
  type WriteSet,
} from '@kvorum/mvcc';
import type { Clock, ReadView, StateReader, StateStore, StoreImage } from '@kvorum/ports';
import { type AcceptedState, enterGeneration, type HistoryPoint } from '@kvorum/raft';
import type { RestoreStep, SlotStatus } from './api.ts';
import type { AcceptedRecord } from './apply-loop.ts';
import type { AutoCompactionPolicy, AutoCompactionView } from './auto-compaction.ts';
import { type LoadCounter, loadCounterOf, type SlotCounts } from './load-counter.ts';
import type { ReadGroup } from './read-path.ts';
import { drive, driveWhile } from './reading.ts';
import { writeMembership, writeSetOf } from './record-parts.ts';
import type { RecoveryReport } from './recovery-report.ts';
import {
  decodeRevisionTimes,
  encodeRevisionTimes,
  type RevisionTime,
  RevisionTimes,
} from './revision-times.ts';
import { decodeShardTime, encodeShardTime, ShardTime } from './shard-time.ts';
import { SpaceReclaim } from './space-reclaim.ts';
import type { Standing } from './standing.ts';
import { StoreReads } from './store-reads.ts';
import { WatchService } from './watch-service.ts';
import { within } from './within.ts';
import type { ExecutedBatch } from './write-path.ts';

const EXPORTING_MS = 10_000;

export interface StateMachineOptions {
  readonly store: StateStore;
  readonly limits: Limits;
  readonly metrics: {
    readonly applyMs: (shard: ShardId, ms: number) => void;
    readonly compactedRows: (shard: ShardId, rows: number) => void;
  };
  readonly autoCompaction?: AutoCompactionPolicy;
  readonly slots?: SlotSpace;
  readonly load?: SlotCounts;
  readonly shard: ShardId;
  /** Of the log that is followed. */
  readonly generation: number;
  readonly clock: Clock;
}

/** How long a report waits for the digest of the content. */
const REPORT_HASH_MS = 5000;

interface Loaded extends Times {
  readonly slots: SlotState | undefined;
}

interface Times {
  readonly shard: ShardTime;
  readonly revisions: RevisionTimes | undefined;
}

/**
 * The state machine of one replica on its store: the pure engine, driven over LevelDB.
 *
 * Order of an apply: check, ONE store batch (changes and position), then memory, then watchers. Memory never runs ahead of what
 * readings find on disk.
 */
export class StateMachine {
  readonly watches: WatchService;
  /** What the store was found with; of an earlier generation of the log until the genesis of this one is applied. */
  readonly restored: AcceptedState;
  /** The same for who reads this generation's log. */
  readonly acceptedState: AcceptedState;
  readonly #options: StateMachineOptions;
  readonly #store: StateStore;
  readonly #engine: Engine;
  readonly #reclaim: SpaceReclaim;
  readonly #load: LoadCounter | undefined;
  readonly #reads: StoreReads;
  readonly #time: ShardTime;
  /** Kept for compaction by age alone. */
  readonly #times: RevisionTimes | undefined;
  /** When a piece of its slots was last asked for. */
  #exportedMs = Number.NEGATIVE_INFINITY;
  #offset: LogOffset;
  #broken: (error: unknown) => void = () => undefined;
  #leases: (changes: readonly StateChange[]) => void = () => undefined;
  #compactionPending = true;
  #compactionCursor: CompactionCursor | undefined;

  private constructor(options: StateMachineOptions, meta: EngineMeta, loaded: Loaded) {
    this.#time = loaded.shard;
    this.#times = loaded.revisions;
    this.#options = options;
    this.#load = loadCounterOf(options);
    this.#store = options.store;
    this.#reclaim = new SpaceReclaim(options.store);
    this.#engine = Engine.load(meta, options.limits, loaded.slots);
    this.#reads = new StoreReads({ ...options, engine: this.#engine, load: this.#load });
    this.restored = acceptedOf(meta);
    this.acceptedState = enterGeneration(this.restored, options.generation);
    this.#offset = this.acceptedState.offset;
    this.watches = new WatchService(this.#engine, options.store, {
      limits: options.limits,
      broken: (error) => this.#broken(error),
    });
  }

  /** Errors: KV_DATA_DIR when the position row is damaged or of a newer format; KV_UNAVAILABLE when it is of a later generation. */
  static async open(options: StateMachineOptions): Promise<StateMachine> {
    const { generation, shard, store } = options;
    const meta = await readMeta(store, shard);
    if (meta.generation > generation) {
      const found = `generation ${meta.generation}, the shard map here still says ${generation}`;
      throw new KvError('KV_UNAVAILABLE', `shard ${shard} is at ${found}`, { details: { shard } });
    }
    const slots = await readSlots(options);
    return new StateMachine(options, meta, { ...(await readTimes(options)), slots });
  }

  /** The position that the store was last written with. */
  get offset(): LogOffset {
    return this.#offset;
  }

  get revision(): Revision {
    return this.#engine.revision;
  }

  get compactRevision(): number {
    return this.#engine.compactRevision;
  }

  /** Whom to tell when a background task breaks. */
  onBroken(broken: (error: unknown) => void): void {
    this.#broken = broken;
  }

  /** Whom to tell of rows of leases and attachments, once they are applied. */
  onLeases(changed: (changes: readonly StateChange[]) => void): void {
    this.#leases = changed;
  }

  /** What a leader needs before its first batch; resolves with the leases that the shard knows. */
  async beginLeading(): Promise<readonly LeaseRow[]> {
    this.#time.lead(this.#options.clock);
    await drive(this.#engine.loadSessions(), this.#store);
    return drive(this.#engine.leases(), this.#store);
  }

  /** The keys of a lease that the shard has. Errors: KV_REQUEST_TOO_LARGE. */
  keysOfLease(id: LeaseId): Promise<readonly Uint8Array[]> {
    return drive(this.#engine.keysOfLease(id), this.#store);
  }

  /** Undefined when `isCurrent` no longer held at a read: an applied record may have changed the state under the batch. */
  async execute(
    proposals: readonly Proposal[],
    isCurrent: () => boolean,
  ): Promise<ExecutedBatch | undefined> {
    this.#load?.writes(proposals);
    const reading = this.#engine.execute(proposals, this.#time.next(this.#options.clock));
    return driveWhile(reading, this.#store, isCurrent);
  }

  /** The payload of one step of a restore. Errors: KV_BACKUP when the shard holds revisions of its own. */
  restorePayload(step: RestoreStep): Uint8Array {
    const frame = {
      leaderTimeMs: this.#time.next(this.#options.clock),
      baseRevision: this.revision,
    };
    const isFinish = step.kind === 'finish';
    // Raising the revision may take several records; loading ends before the first of them.
    const isReady = this.compactRevision < 0 && (isFinish || this.revision === 1);
    if (!isReady || (isFinish && step.revision < this.revision)) throw this.#notEmpty();
    const payload = isFinish ? restoreFinish(step.revision, frame) : restoreRows(step.rows, frame);
    // It comes from outside, and what a replica cannot decode halts the shard.
    const decoded = decodeWriteSet(payload);
    if (!decoded.ok) throw new KvError('KV_BACKUP', decoded.error.message);
    return payload;
  }

  /** The shard's revision is raised to `revision` and everything older compacted, so that no watch goes on over what was lost. */
  genesisWriteSet(revision: number): Uint8Array {
    this.#time.lead(this.#options.clock);
    const leaderTimeMs = this.#time.next(this.#options.clock);
    const raised = Math.max(revision, this.revision + 1);
    return restoreFinish(raised, { leaderTimeMs, baseRevision: this.revision });
  }

  #notEmpty(): KvError {
    const { shard } = this.#options;
    return new KvError('KV_BACKUP', `shard ${shard} is at revision ${this.revision}, not empty`, {
      details: { shard, hint: 'restore into a new cluster that nobody has written to' },
    });
  }

  /**
   * Writes accepted records with the position after the last, then takes them into memory: in one batch, but for the steps of
   * slot moves. Each of those stands alone, so that no reading or watcher finds rows gone before it knows that their slots are.
   */
  async write(records: readonly AcceptedRecord[]): Promise<void> {
    const startedMs = this.#options.clock.nowMs();
    const writeSets = this.#decode(records);
    for (let from = 0; from < records.length; ) {
      let to = from + 1;
      const isStep = (at: number): boolean => writeSets[at]?.slots !== undefined;
      while (to < records.length && !isStep(from) && !isStep(to)) to += 1;
      const decoded = writeSets.slice(from, to).filter((one) => one !== undefined);
      await this.#writeBatch(records.slice(from, to), decoded);
      from = to;
    }
    this.#options.metrics.applyMs(this.#options.shard, this.#options.clock.nowMs() - startedMs);
  }

  async #writeBatch(
    records: readonly AcceptedRecord[],
    writeSets: readonly WriteSet[],
  ): Promise<void> {
    const last = records[records.length - 1];
    assert(last !== undefined, 'nothing to apply');
    const end = writeSets.at(-1);
    const revision = end === undefined ? this.revision : end.baseRevision + end.revisionCount;
    const compactRevision = writeSets.reduce(
      (at, { compactRevision: next }) => next ?? at,
      this.compactRevision,
    );
    const meta = {
      ...last.state,
      revision: revision as Revision,
      compactRevision,
      format: STORE_FORMAT,
    };
    const newTimes = end === undefined ? undefined : this.#dueTimes(end.leaderTimeMs);
    for (const { slots } of writeSets) if (slots !== undefined) await this.#dropRest(slots);
    await this.#store.write(
      (batch) => {
        for (const writeSet of writeSets) applyWriteSet(writeSet, batch);
        writeMembership(records, batch);
        if (end !== undefined) {
          batch.put(
            SHARD_TIME_KEY,
            encodeShardTime(Math.max(end.leaderTimeMs, this.#time.lastMs ?? 0)),
          );
        }
        if (newTimes !== undefined) batch.put(REVISION_TIMES_KEY, encodeRevisionTimes(newTimes));
        batch.put(META_KEY, encodeMeta(meta));
      },
      { sync: false },
    );
    if (newTimes !== undefined) this.#times?.take(newTimes);
    this.#offset = meta.offset;
    for (const writeSet of writeSets) {
      this.#time.applied(writeSet.leaderTimeMs);
      const applied = this.#engine.take(writeSet);
      if (applied.compacted) this.#compactionPending = true;
      if (writeSet.leases.length > 0) this.#leases(writeSet.leases);
      await this.watches.applied(applied);
    }
  }

  /** A crash in the middle costs nothing: the position has not moved, and nobody can read these rows. */
  async #dropRest(slots: SlotChanges): Promise<void> {
    let from: Uint8Array | undefined;
    do {
      const { deletes, next } = await drive(this.#engine.leftByDrop(slots, from), this.#store);
      from = next;
      if (deletes.length === 0) continue;
      await this.#store.write(
        (batch) => {
          for (const key of deletes) batch.delete(key);
        },
        { sync: false },
      );
    } while (from !== undefined);
  }

  slotStatus(): SlotStatus {
    return { ownership: this.#engine.ownership, revision: this.revision };
  }

  exportSlots(slots: readonly SlotSpan[], from: number): Promise<SlotExport> {
    this.#exportedMs = this.#options.clock.nowMs();
    return drive(this.#engine.exportSlots(slots, from), this.#store);
  }

  /**
   * What automatic compaction decides on; a leader's. Undefined while an earlier compaction is being carried out, and while
   * slots are copied to another shard: a compaction that overtakes the copy makes it begin anew.
   */
  autoCompactionView(): Omit<AutoCompactionView, 'sinceMs'> | undefined {
    const isExporting = this.#options.clock.nowMs() - this.#exportedMs < EXPORTING_MS;
    if (this.#compactionPending || isExporting) return undefined;
    const { revision, compactRevision } = this;
    const newest = this.#newest();
    const nowMs = this.#time.next(this.#options.clock);
    const expiredRevision = newest === undefined ? undefined : this.#times?.expired(newest, nowMs);
    return { revision, compactRevision, expiredRevision };
  }

  /** The newest revision with its time; undefined before the first batch of the shard. */
  #newest(): RevisionTime | undefined {
    const { lastMs } = this.#time;
    return lastMs === undefined ? undefined : { timeMs: lastMs, revision: this.revision };
  }

  #dueTimes(nowMs: number): readonly RevisionTime[] | undefined {
    const before = this.#newest();
    return before === undefined ? undefined : this.#times?.due(before, nowMs);
  }

  /** Whether removed history waits to be deleted from disk. */
  get compactionPending(): boolean {
    return this.#compactionPending;
  }

  /** Deletes the next bounded piece of compacted history; returns how many rows. Must not overlap a write. */
  async compactStep(): Promise<number> {
    const chunk = await drive(this.#engine.compactionStep(this.#compactionCursor), this.#store);
    const { deletes, progress } = chunk;
    this.#compactionCursor = chunk.cursor;
    this.#compactionPending = chunk.cursor !== undefined;
    if (progress === undefined) return 0;
    await this.#store.write(
      (batch) => {
        for (const key of deletes) batch.delete(key);
        batch.put(progress.key, progress.value);
      },
      { sync: false },
    );
    this.#options.metrics.compactedRows(this.#options.shard, deletes.length);
    this.#reclaim.freed(chunk.freedBytes);
    if (!this.#compactionPending) this.#reclaimSpace();
    return deletes.length;
  }

  /** Beside everything else; what is not given back now is the next time. */
  #reclaimSpace(): void {
    this.#reclaim.compacted(this.compactRevision).catch((error: unknown) => {
      const stopped = isKvError(error) && error.code === 'KV_STOPPED';
      if (!stopped) this.#broken(error);
    });
  }

  /** Answers reads whose index is applied. */
  serve(group: ReadGroup): Promise<void> {
    return this.#reads.serve(group);
  }

  /** A view of the store with the position it belongs to. The caller closes it. */
  async view(): Promise<{ readonly view: ReadView; readonly meta: EngineMeta }> {
    const view = this.#store.readView();
    try {
      return { view, meta: await readMeta(view, this.#options.shard) };
    } catch (error) {
      await view.close();
      throw error;
    }
  }

  /** As `view`, to be copied as it is. */
  async image(): Promise<{ readonly image: StoreImage; readonly meta: EngineMeta }> {
    const { image, view } = await this.#store.image();
    try {
      return { image, meta: await readMeta(view, this.#options.shard) };
    } catch (error) {
      await image.close();
      throw error;
    } finally {
      await view.close();
    }
  }

  /** A digest of the whole logical state with the index it belongs to, from one view of the store. */
  async stateHash(): Promise<{
    readonly index: AcceptedState['index'];
    readonly revision: Revision;
    readonly hash: string;
  }> {
    const { view, meta } = await this.view();
    try {
      const { index, revision, compactRevision } = meta;
      const at = { ...initialMeta(), revision, compactRevision };
      const engine = Engine.load(at, this.#options.limits);
      const { hash } = await drive(engine.stateHash(), view);
      return { index, revision, hash };
    } finally {
      await view.close();
    }
  }

  /** Of what the disk holds, which is synced before it is told. */
  async recoveryReport(
    { halt, role }: Pick<Standing, 'halt' | 'role'>,
    known: readonly HistoryPoint[],
    clock: Clock,
  ): Promise<RecoveryReport> {
    await this.#store.sync();
    const meta = await readMeta(this.#store, this.#options.shard);
    // A large replica is not read to its end while an operator waits: the chain hash says as much.
    const stateHash = await within(clock, REPORT_HASH_MS, this.stateHash());
    const { generation, index, term, revision } = meta;
    // Accepted but not applied is nothing that the shard could go on from.
    const history = known.filter((point) => point.index <= index);
    return {
      generation,
      index,
      term,
      revision,
      chainHash: toHex(meta.chainHash),
      stateHash: stateHash?.index === index ? stateHash.hash : undefined,
      history: history.map((point) => [point.index, toHex(point.chainHash)]),
      halted: halt === undefined ? undefined : { reason: halt.reason, detail: halt.detail },
      leads: role === 'leader',
    };
  }

  /** By the index of their records; undefined for other kinds. */
  #decode(records: readonly AcceptedRecord[]): readonly (WriteSet | undefined)[] {
    let base: number = this.revision;
    return records.map(({ kind, payload }) => {
      const writeSet = writeSetOf(kind, payload);
      if (writeSet === undefined) return undefined;
      const decoded = decodeWriteSet(writeSet);
      if (!decoded.ok) throw decoded.error;
      const { baseRevision, revisionCount } = decoded.value;
      assert(baseRevision === base, `write set for revision ${baseRevision} on state ${base}`);
      base += revisionCount;
      return decoded.value;
    });
  }
}

async function readSlots({ store, slots }: StateMachineOptions): Promise<SlotState | undefined> {
  if (slots === undefined) return undefined;
  const [row] = await store.getMany([OWNERSHIP_KEY]);
  return { space: slots, row };
}

async function readTimes({ store, autoCompaction }: StateMachineOptions): Promise<Times> {
  const [shardRow, revisionsRow] = await store.getMany([SHARD_TIME_KEY, REVISION_TIMES_KEY]);
  const revisions =
    autoCompaction?.mode === 'periodic'
      ? new RevisionTimes(decodeRevisionTimes(revisionsRow), autoCompaction.retentionMs)
      : undefined;
  return { shard: new ShardTime(decodeShardTime(shardRow)), revisions };
}

async function readMeta(reader: StateReader, shard: ShardId): Promise<EngineMeta> {
  const [row] = await reader.getMany([META_KEY]);
  if (row === undefined) return initialMeta();
  const meta = decodeMeta(row);
  if (meta.ok) return meta.value;
  const { error } = meta;
  throw new KvError('KV_DATA_DIR', `shard ${shard}: ${error.message}`, { cause: error });
}

function acceptedOf(meta: EngineMeta): AcceptedState {
  const { generation, offset, index, term, seq, chainHash, lastOffset, lastDigest } = meta;
  const leaderId = meta.leaderId as AcceptedState['leaderId'];
  return { generation, offset, index, term, leaderId, seq, chainHash, lastOffset, lastDigest };
}
