import { SLOT_COUNT } from './routing-part.ts';
import type { SlotSpan } from './slot-moves.ts';

/** Of a slot or of several together. */
export interface SlotFigures {
  /** Reads, writes, and bytes of keys and values read or written, each per second and smoothed over about 20 seconds. */
  readonly reads: number;
  readonly writes: number;
  readonly traffic: number;
  /** Keys there are, and about how many bytes their newest versions take. */
  readonly keys: number;
  readonly bytes: number;
}

/** What a scan found in one slot. */
export type SlotSize = Pick<SlotFigures, 'keys' | 'bytes'>;

export const NO_FIGURES: SlotFigures = { reads: 0, writes: 0, traffic: 0, keys: 0, bytes: 0 };

/** A change of load shows with 63 % of its height after this time. */
const SMOOTHING_MS = 20_000;
/** Below this a rate is taken for none, so that a slot that rests comes to be exactly 0. */
const RATE_MIN = 0.001;

/** Counts of one kind since the last look, and their smoothed rate. */
class Meter {
  readonly counts = new Float64Array(SLOT_COUNT);
  readonly rates = new Float64Array(SLOT_COUNT);

  fold(seconds: number, weight: number): void {
    const { counts, rates } = this;
    for (let slot = 0; slot < SLOT_COUNT; slot += 1) {
      const rate = rates[slot] as number;
      const next = rate + weight * ((counts[slot] as number) / seconds - rate);
      rates[slot] = next < RATE_MIN ? 0 : next;
    }
    counts.fill(0);
  }
}

/**
 * Load and size by slot, of all shards of a member together: a slot is in one shard, so about a megabyte holds them all, however
 * many shards there are. Counting is two additions into typed arrays; the smoothing is done when time is told.
 */
export class SlotLoad {
  readonly #reads = new Meter();
  readonly #writes = new Meter();
  readonly #traffic = new Meter();
  readonly #keys = new Float64Array(SLOT_COUNT);
  readonly #bytes = new Float64Array(SLOT_COUNT);
  /** Which shard told the size of a slot. */
  readonly #tellers = new Array<string | undefined>(SLOT_COUNT).fill(undefined);
  #sinceMs: number | undefined;

  read(slot: number, bytes: number): void {
    (this.#reads.counts[slot] as number) += 1;
    (this.#traffic.counts[slot] as number) += bytes;
  }

  write(slot: number, bytes: number): void {
    (this.#writes.counts[slot] as number) += 1;
    (this.#traffic.counts[slot] as number) += bytes;
  }

  /** Takes what was counted since the last call into the rates. To be called every few seconds. */
  advance(nowMs: number): void {
    const sinceMs = this.#sinceMs ?? nowMs;
    this.#sinceMs = nowMs;
    const ms = nowMs - sinceMs;
    if (ms <= 0) return;
    const weight = 1 - Math.exp(-ms / SMOOTHING_MS);
    for (const meter of [this.#reads, this.#writes, this.#traffic]) meter.fold(ms / 1000, weight);
  }

  /** All that a scan of a shard found; of slots that the shard told of before and that are not among them, nothing is left. */
  setSizes(shard: string, sizes: ReadonlyMap<number, SlotSize>): void {
    for (let slot = 0; slot < SLOT_COUNT; slot += 1) {
      const size = sizes.get(slot);
      if (size === undefined && this.#tellers[slot] !== shard) continue;
      this.#keys[slot] = size?.keys ?? 0;
      this.#bytes[slot] = size?.bytes ?? 0;
      this.#tellers[slot] = size === undefined ? undefined : shard;
    }
  }

  /** Of one slot. */
  of(slot: number): SlotFigures {
    return {
      reads: this.#reads.rates[slot] as number,
      writes: this.#writes.rates[slot] as number,
      traffic: this.#traffic.rates[slot] as number,
      keys: this.#keys[slot] as number,
      bytes: this.#bytes[slot] as number,
    };
  }

  /** Of all slots of some spans together; those of a shard are `slotSpansOf(map, shard)`. */
  sum(spans: readonly SlotSpan[]): SlotFigures {
    let total = NO_FIGURES;
    for (const [from, to] of spans) {
      for (let slot = from; slot <= to; slot += 1) total = addFigures(total, this.of(slot));
    }
    return total;
  }
}

export function addFigures(a: SlotFigures, b: SlotFigures): SlotFigures {
  return {
    reads: a.reads + b.reads,
    writes: a.writes + b.writes,
    traffic: a.traffic + b.traffic,
    keys: a.keys + b.keys,
    bytes: a.bytes + b.bytes,
  };
}
