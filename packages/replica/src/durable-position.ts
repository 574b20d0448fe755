import { type Limits, type LogOffset, logOffset } from '@kvorum/base';

export interface DurableHost {
  readonly nowMs: () => number;
  /** The position that the store was last written with. */
  readonly appliedOffset: () => LogOffset;
  /** Resolves when everything written before survives a crash of the machine. */
  readonly sync: () => Promise<void>;
  readonly changed: (offset: LogOffset) => void;
  readonly broken: (error: unknown) => void;
}

/**
 * Knows up to where the log is applied AND synced on this replica's disk, and moves that on now and then. Applying itself does not sync:
 * the log is durable. What the leader deletes from the log must be durable here.
 */
export class DurablePosition {
  readonly #host: DurableHost;
  readonly #limits: Limits;
  #offset: LogOffset = logOffset(-1);
  #syncedAtMs: number;
  #bytes = 0;
  #syncing: Promise<void> | undefined;
  #stopped = false;

  constructor(host: DurableHost, limits: Limits) {
    this.#host = host;
    this.#limits = limits;
    // What a start finds on the disk may be in the page cache only: the first tick syncs it.
    this.#syncedAtMs = host.nowMs() - limits.durableMs;
  }

  /** -1 until the first sync of this process. */
  get offset(): LogOffset {
    return this.#offset;
  }

  /** So many bytes of records were written to the store. */
  applied(bytes: number): void {
    this.#bytes += bytes;
  }

  tick(): void {
    const { durableBytes, durableMs } = this.#limits;
    if (this.#syncing !== undefined || this.#stopped) return;
    if (this.#host.appliedOffset() <= this.#offset) return;
    const isDue = this.#host.nowMs() - this.#syncedAtMs >= durableMs;
    if (!isDue && this.#bytes < durableBytes) return;
    this.#syncing = this.#sync().finally(() => {
      this.#syncing = undefined;
    });
  }

  /** No sync is under way any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#syncing;
  }

  async #sync(): Promise<void> {
    this.#bytes = 0;
    // Taken before the sync begins: what is written meanwhile may not be covered.
    const offset = this.#host.appliedOffset();
    try {
      await this.#host.sync();
    } catch (error) {
      if (!this.#stopped) this.#host.broken(error);
      return;
    }
    if (this.#stopped) return;
    this.#offset = offset;
    this.#syncedAtMs = this.#host.nowMs();
    this.#host.changed(offset);
  }
}
