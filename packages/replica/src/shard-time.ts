import { assert, KvError } from '@kvorum/base';

const BYTES = 8;

export function encodeShardTime(ms: number): Uint8Array {
  const out = new Uint8Array(BYTES);
  new DataView(out.buffer).setBigUint64(0, BigInt(ms));
  return out;
}

/** Throws KV_CORRUPT when the row is damaged. */
export function decodeShardTime(row: Uint8Array | undefined): number | undefined {
  if (row === undefined) return undefined;
  if (row.length !== BYTES) throw unreadable();
  const ms = Number(new DataView(row.buffer, row.byteOffset, row.byteLength).getBigUint64(0));
  if (!Number.isSafeInteger(ms)) throw unreadable();
  return ms;
}

const unreadable = (): KvError => new KvError('KV_CORRUPT', 'unreadable shard time row');

/**
 * The time that expiries of one shard go by, in milliseconds: it starts as the first leader's wall clock, and each later leader goes on from the
 * last applied batch by its own monotonic clock.
 *
 * Why: members' wall clocks may be far apart; a failover must not make sessions or leases look idle for the difference.
 */
export class ShardTime {
  #lastMs: number | undefined;
  #ledSince: { readonly fromMs: number; readonly atMs: number } | undefined;

  constructor(lastMs: number | undefined) {
    this.#lastMs = lastMs;
  }

  /** Undefined before the first batch of the shard. */
  get lastMs(): number | undefined {
    return this.#lastMs;
  }

  /** A batch of this time is applied. Never goes back. */
  applied(ms: number): void {
    this.#lastMs = Math.max(this.#lastMs ?? 0, ms);
  }

  /** This replica leads from now on. */
  lead(clock: { readonly nowMs: () => number; readonly wallMs: () => number }): void {
    this.#ledSince = { fromMs: this.#lastMs ?? clock.wallMs(), atMs: clock.nowMs() };
  }

  /** The time of the next batch of a leader. */
  next(clock: { readonly nowMs: () => number }): number {
    const since = this.#ledSince;
    assert(since !== undefined, 'only a leader makes time');
    const passedMs = Math.max(0, clock.nowMs() - since.atMs);
    return Math.max(Math.floor(since.fromMs + passedMs), this.#lastMs ?? 0);
  }
}
