import { encodeSnapshot, readHeader } from '@kvorum/backup';
import {
  type ClusterId,
  formatId,
  KvError,
  type LogOffset,
  logOffset,
  type ShardId,
} from '@kvorum/base';
import type { Clock, SnapshotInfo, SnapshotStore } from '@kvorum/ports';
import type { Replica } from '@kvorum/replica';
import type { CopyMetrics } from '../copy-metrics.ts';
import type { Logger } from '../logger.ts';

const CHECK_MS_MAX = 5000;
const RETRY_MS = 60_000;

/** How far the newest copy of each led shard reaches: the log above it must stay. */
export class CopiedOffsets {
  readonly #offsets = new Map<ShardId, LogOffset>();

  of(shard: ShardId): LogOffset {
    return this.#offsets.get(shard) ?? logOffset(-1);
  }

  set(shard: ShardId, offset: LogOffset): void {
    this.#offsets.set(shard, offset);
  }

  /** Another member may make the copies of the shard from now on. */
  forget(shard: ShardId): void {
    this.#offsets.delete(shard);
  }
}

export interface SnapshotCopiesParts {
  readonly copied: CopiedOffsets;
  readonly open: () => Promise<SnapshotStore>;
  readonly intervalMs: number;
  readonly keep: number;
  readonly clusterId: ClusterId;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: CopyMetrics;
  /** The replicas whose shards this member leads now. */
  readonly led: () => readonly Replica[];
}

/** In the form of the native protocol's status. */
export interface CopyStatus {
  readonly copiedAt?: string;
  readonly copyError?: string;
}

/** `g<generation>-<index>-<wall clock ms>`: sorts by the position in the log. */
function nameOf(generation: number, index: number, atMs: number): string {
  const digits = (value: number, width: number): string => String(value).padStart(width, '0');
  return `g${digits(generation, 6)}-${digits(index, 16)}-${digits(atMs, 14)}`;
}

const takenMs = (copy: SnapshotInfo): number => Number(/-(\d{14})$/.exec(copy.name)?.[1] ?? 0);
const isScheduled = (copy: SnapshotInfo): boolean => /^g\d{6}-\d{16}-\d{14}$/.test(copy.name);

/**
 * Keeps copies of shards outside the members: whoever leads a shard writes one every `intervalMs`, when there is something new, and
 * removes all but the newest `keep`. One at a time, so that copying never takes more than a part of the member.
 */
export class SnapshotCopies {
  readonly #parts: SnapshotCopiesParts;
  /** When the newest copy was made, of the shards this member leads, as far as it has looked; undefined = there is none. */
  readonly #lastMs = new Map<ShardId, number | undefined>();
  readonly #retryAtMs = new Map<ShardId, number>();
  readonly #index = new Map<ShardId, number>();
  readonly #errors = new Map<ShardId, string>();
  #store: SnapshotStore | undefined;
  #cancel: () => void = () => undefined;
  #running: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(parts: SnapshotCopiesParts) {
    this.#parts = parts;
  }

  /** Nothing for a shard that this member does not lead, or has not looked after yet. */
  status(shard: ShardId): CopyStatus {
    const lastMs = this.#lastMs.get(shard);
    const copyError = this.#errors.get(shard);
    return {
      ...(lastMs === undefined ? {} : { copiedAt: new Date(lastMs).toISOString() }),
      ...(copyError === undefined ? {} : { copyError }),
    };
  }

  start(): void {
    const delayMs = Math.min(CHECK_MS_MAX, this.#parts.intervalMs);
    this.#cancel = this.#parts.clock.setTimer(delayMs, () => {
      this.#running = this.#round().then(() => {
        if (!this.#stopped) this.start();
      });
    });
  }

  /** Waits for a copy under way: it is given up at its next piece. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#running;
    await this.#store?.close();
  }

  async #round(): Promise<void> {
    const led = this.#parts.led();
    const shards = new Set(led.map((replica) => replica.shard));
    // Somebody else may have copied what was led elsewhere meanwhile: looked up again.
    for (const shard of this.#lastMs.keys()) {
      if (shards.has(shard)) continue;
      this.#lastMs.delete(shard);
      this.#errors.delete(shard);
      this.#parts.copied.forget(shard);
    }
    for (const replica of led) {
      if (this.#stopped) return;
      await this.#tryOne(replica);
    }
  }

  async #tryOne(replica: Replica): Promise<void> {
    const { clock, logger, metrics } = this.#parts;
    const { shard } = replica;
    if (clock.nowMs() < (this.#retryAtMs.get(shard) ?? 0)) return;
    try {
      await this.#one(replica);
      this.#retryAtMs.delete(shard);
      this.#errors.delete(shard);
    } catch (error) {
      if (this.#stopped) return;
      this.#retryAtMs.set(shard, clock.nowMs() + Math.min(RETRY_MS, this.#parts.intervalMs));
      metrics.failed(shard);
      this.#errors.set(shard, error instanceof Error ? error.message : String(error));
      logger.warn({ shard, err: error }, 'no copy of the shard was made; trying again');
    }
  }

  async #one(replica: Replica): Promise<void> {
    const { clock, intervalMs, metrics } = this.#parts;
    const { shard } = replica;
    this.#store ??= await this.#parts.open();
    const store = this.#store;
    if (!this.#lastMs.has(shard)) this.#lastMs.set(shard, await this.#find(store, replica));
    const lastMs = this.#lastMs.get(shard);
    if (lastMs !== undefined) metrics.last(shard, lastMs);
    const atMs = clock.wallMs();
    if (lastMs !== undefined && atMs - lastMs < intervalMs) return;
    const { appliedIndex } = replica.status();
    if (lastMs !== undefined && this.#index.get(shard) === appliedIndex) return;
    const info = await this.#copy(store, replica, atMs);
    this.#lastMs.set(shard, atMs);
    metrics.copied(shard, info.bytes, atMs);
    await this.#retain(store, shard);
  }

  async #find(store: SnapshotStore, replica: Replica): Promise<number | undefined> {
    const { shard } = replica;
    const newest = (await store.list(shard)).filter(isScheduled).at(-1);
    if (newest === undefined) return undefined;
    const { clusterId, generation, position } = await readHeader(store, newest);
    if (clusterId === this.#parts.clusterId) {
      if (generation === replica.log.generation) this.#parts.copied.set(shard, position.offset);
      return takenMs(newest);
    }
    const [found, own] = [formatId(clusterId), formatId(this.#parts.clusterId)];
    throw new KvError('KV_BACKUP', `${store.where} has copies of cluster ${found}, not ${own}`, {
      details: { shard, hint: 'set snapshots.store to a place of this cluster alone' },
    });
  }

  async #copy(store: SnapshotStore, replica: Replica, atMs: number): Promise<SnapshotInfo> {
    const source = await replica.snapshotView();
    const { index } = source.meta;
    try {
      const content = encodeSnapshot(source, {
        clusterId: this.#parts.clusterId,
        createdAtMs: atMs,
        withStateHash: true,
      });
      const name = nameOf(source.generation, index, atMs);
      const info = await store.save(replica.shard, name, this.#untilStopped(content));
      this.#index.set(replica.shard, index);
      this.#parts.copied.set(replica.shard, source.meta.offset);
      return info;
    } finally {
      await source.close();
    }
  }

  async *#untilStopped(content: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const piece of content) {
      if (this.#stopped) throw new KvError('KV_STOPPED');
      yield piece;
    }
  }

  async #retain(store: SnapshotStore, shard: ShardId): Promise<void> {
    const copies = (await store.list(shard)).filter(isScheduled);
    for (const copy of copies.slice(0, -this.#parts.keep)) await store.remove(copy);
  }
}
