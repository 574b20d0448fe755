import { compareBytes, DEFAULT_LIMITS, type Limits, toHex } from '@kvorum/base';
import {
  type Applied,
  type CommandResult,
  decodeMeta,
  decodeWriteSet,
  Engine,
  encodeMeta,
  initialMeta,
  META_KEY,
  type Proposal,
  type ReadAnswer,
  type Reading,
  type ReadRequest,
  type StoredRow,
  WatchHub,
  type WatchSink,
} from '@kvorum/mvcc';

/** A sorted store in memory; rows are copies, as a real store's are. */
export class MemoryStore {
  private readonly rows = new Map<string, StoredRow>();
  private order: string[] | undefined;
  /** Rows of one scan at most, below what was asked for: a store may stop early by bytes. */
  scanRowsMax = Number.POSITIVE_INFINITY;

  put(key: Uint8Array, value: Uint8Array): void {
    const text = toHex(key);
    if (!this.rows.has(text)) this.order = undefined;
    this.rows.set(text, [key.slice(), value.slice()]);
  }

  delete(key: Uint8Array): void {
    if (this.rows.delete(toHex(key))) this.order = undefined;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.rows.get(toHex(key))?.[1];
  }

  keys(): readonly string[] {
    this.order ??= [...this.rows.keys()].sort();
    return this.order;
  }

  answer(request: ReadRequest): ReadAnswer {
    if (request.kind === 'get-many') return request.keys.map((key) => this.get(key)?.slice());
    const out: StoredRow[] = [];
    let bytes = 0;
    for (const text of this.keys()) {
      const row = this.rows.get(text);
      if (row === undefined) continue;
      const [key, value] = row;
      if (compareBytes(key, request.gte) < 0 || compareBytes(key, request.lt) >= 0) continue;
      out.push([key.slice(), value.slice()]);
      bytes += key.length + value.length;
      const full = out.length >= Math.min(request.limit, this.scanRowsMax);
      if (full || bytes >= request.bytesMax) break;
    }
    return out;
  }

  drive<T>(reading: Reading<T>): T {
    let step = reading.next();
    while (step.done !== true) step = reading.next(this.answer(step.value));
    return step.value;
  }
}

/** One replica without a log: what the shell does around the engine. */
export class TestReplica {
  readonly store = new MemoryStore();
  readonly limits: Limits;
  engine: Engine;
  hub: WatchHub;
  nowMs = 1_000_000;
  lastPayload: Uint8Array | undefined;
  private readonly sink: WatchSink;

  constructor(limits: Partial<Limits> = {}, sink?: WatchSink) {
    this.limits = { ...DEFAULT_LIMITS, ...limits };
    this.sink = sink ?? { deliver: () => true, cancelled: () => undefined, moved: () => undefined };
    this.engine = Engine.load(initialMeta(), this.limits);
    this.hub = new WatchHub(this.sink, this.engine);
    this.store.drive(this.engine.loadSessions());
  }

  run<T>(reading: Reading<T>): T {
    return this.store.drive(reading);
  }

  /** Executes, "logs", applies and stores a batch. */
  batch(proposals: readonly Proposal[]): readonly CommandResult[] {
    const execution = this.run(this.engine.execute(proposals, this.nowMs));
    this.lastPayload = execution.payload;
    if (execution.payload !== undefined) this.apply(execution.payload);
    return execution.results;
  }

  apply(payload: Uint8Array): Applied {
    this.dropRest(payload);
    const applied = this.engine.apply(payload);
    if (!applied.ok) throw applied.error;
    applied.value.writeTo(this.store);
    const { revision, compactRevision } = applied.value;
    this.store.put(META_KEY, encodeMeta({ ...initialMeta(), revision, compactRevision }));
    this.run(this.hub.onApplied(applied.value));
    return applied.value;
  }

  /** As the state machine does it before a step of a slot move. */
  private dropRest(payload: Uint8Array): void {
    const decoded = decodeWriteSet(payload);
    if (!decoded.ok || decoded.value.slots === undefined) return;
    let from: Uint8Array | undefined;
    do {
      const { deletes, next } = this.run(this.engine.leftByDrop(decoded.value.slots, from));
      for (const key of deletes) this.store.delete(key);
      from = next;
    } while (from !== undefined);
  }

  /** Removes superseded rows until nothing is left; returns how many keys were deleted. */
  compactPhysically(stepsMax = Number.POSITIVE_INFINITY): number {
    let deleted = 0;
    let cursor: Parameters<Engine['compactionStep']>[0];
    for (let step = 0; step < stepsMax; step += 1) {
      const chunk = this.run(this.engine.compactionStep(cursor));
      for (const key of chunk.deletes) this.store.delete(key);
      if (chunk.progress !== undefined) this.store.put(chunk.progress.key, chunk.progress.value);
      deleted += chunk.deletes.length;
      cursor = chunk.cursor;
      if (cursor === undefined) break;
    }
    return deleted;
  }

  catchUp(): void {
    for (let i = 0; i < 1000 && this.hub.hasUnsynced; i += 1) this.run(this.hub.catchUp());
  }

  /** A new process on the same store. */
  restart(): void {
    const row = this.store.get(META_KEY);
    const meta = row === undefined ? { ok: true as const, value: initialMeta() } : decodeMeta(row);
    if (!meta.ok) throw meta.error;
    this.engine = Engine.load(meta.value, this.limits);
    this.hub = new WatchHub(this.sink, this.engine);
    this.run(this.engine.loadSessions());
  }
}
