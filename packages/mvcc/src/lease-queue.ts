import { assert, type LeaseId } from '@kvorum/base';

/** A lease as its home's leader keeps time for it; times are milliseconds of that leader's monotonic clock. */
export interface ExpiringLease {
  readonly id: LeaseId;
  readonly ttlSeconds: number;
  readonly expiresAtMs: number;
}

interface Entry {
  readonly id: LeaseId;
  ttlSeconds: number;
  expiresAtMs: number;
  /** Its place in the heap. */
  at: number;
}

/**
 * When leases expire: a heap in which every lease knows its place, so that a renewal costs as much as an expiry, O(log n), and nothing is
 * left behind. Pure bookkeeping.
 */
export class LeaseQueue {
  readonly #entries = new Map<LeaseId, Entry>();
  readonly #heap: Entry[] = [];

  get size(): number {
    return this.#heap.length;
  }

  get(id: LeaseId): ExpiringLease | undefined {
    return this.#entries.get(id);
  }

  /** Adds a lease, or gives it another time. */
  set(id: LeaseId, ttlSeconds: number, expiresAtMs: number): void {
    const known = this.#entries.get(id);
    if (known === undefined) {
      const entry = { id, ttlSeconds, expiresAtMs, at: this.#heap.length };
      this.#entries.set(id, entry);
      this.#heap.push(entry);
      this.#rise(entry);
      return;
    }
    known.ttlSeconds = ttlSeconds;
    known.expiresAtMs = expiresAtMs;
    this.#rise(known);
    this.#sink(known);
  }

  remove(id: LeaseId): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    const last = this.#heap.pop();
    assert(last !== undefined, 'a lease that is known is in the heap');
    if (last === entry) return;
    this.#put(last, entry.at);
    this.#rise(last);
    this.#sink(last);
  }

  /** Takes out the leases whose time has passed, the longest ago first, `countMax` at most. */
  takeExpired(nowMs: number, countMax: number): readonly ExpiringLease[] {
    const taken: ExpiringLease[] = [];
    for (let first = this.#heap[0]; first !== undefined; first = this.#heap[0]) {
      if (first.expiresAtMs > nowMs || taken.length >= countMax) break;
      taken.push(first);
      this.remove(first.id);
    }
    return taken;
  }

  /** All leases, the next to expire first. */
  inOrder(): readonly ExpiringLease[] {
    return [...this.#heap].sort((a, b) => a.expiresAtMs - b.expiresAtMs);
  }

  #put(entry: Entry, at: number): void {
    this.#heap[at] = entry;
    entry.at = at;
  }

  #rise(entry: Entry): void {
    while (entry.at > 0) {
      const at = entry.at;
      const above = this.#heap[(at - 1) >> 1] as Entry;
      if (above.expiresAtMs <= entry.expiresAtMs) return;
      this.#put(entry, above.at);
      this.#put(above, at);
    }
  }

  #sink(entry: Entry): void {
    for (;;) {
      const { at } = entry;
      const [left, right] = [this.#heap[2 * at + 1], this.#heap[2 * at + 2]];
      if (left === undefined) return;
      const least = right !== undefined && right.expiresAtMs < left.expiresAtMs ? right : left;
      if (entry.expiresAtMs <= least.expiresAtMs) return;
      this.#put(entry, least.at);
      this.#put(least, at);
    }
  }
}
