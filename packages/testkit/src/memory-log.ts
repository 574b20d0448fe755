import { assert, type LogOffset, logOffset } from '@kvorum/base';
import type { Clock, LogBounds, LogEntry, LogName } from '@kvorum/ports';

interface LateRecord {
  readonly bytes: Uint8Array;
  readonly cancelTimer: () => void;
}

/** A record that landed and waits for the high-water mark to pass it. */
interface PendingAck {
  readonly offset: number;
  readonly settle: (committed: boolean) => void;
}

export interface MemoryLogParts {
  readonly name: LogName;
  readonly clock: Clock;
  /** Time until the replicas have a record that the leader has; 0 = at once. */
  readonly replicationMs: () => number;
}

/**
 * The records of one log, shared by all members: a Kafka partition as far as clients can tell. Records land at the end; they are readable and
 * acknowledged once the high-water mark has passed them. A change of the partition's leader may lose what was not, and may show less
 * than before for a while.
 */
export class MemoryLog {
  readonly name: LogName;
  /** What `verify` reports. */
  problem: string | undefined;
  readonly #clock: Clock;
  readonly #replicationMs: () => number;
  /** Every record since offset 0, also those below the start: checkers want the whole history. */
  #entries: LogEntry[] = [];
  #start = 0;
  /** Readers see what lies below it. */
  #highWater = 0;
  /** Highest high-water mark ever: nothing below it may vanish without damage. */
  #committed = 0;
  #kafkaEpoch = 0;
  #isrBelowMin = false;
  readonly #late: LateRecord[] = [];
  #pending: PendingAck[] = [];
  readonly #waiting = new Set<() => void>();

  constructor(parts: MemoryLogParts) {
    this.name = parts.name;
    this.#clock = parts.clock;
    this.#replicationMs = parts.replicationMs;
  }

  /** As a client sees them. */
  get bounds(): LogBounds {
    const end = Math.max(this.#start, this.#highWater);
    return { start: logOffset(this.#start), end: logOffset(end) };
  }

  /** One past the last record at the leader, committed or not. */
  get logEnd(): number {
    return this.#entries.length;
  }

  /** All committed records from offset 0 on; a live view that later calls extend. */
  get history(): { readonly entries: readonly LogEntry[]; readonly end: number } {
    return { entries: this.#entries, end: this.#committed };
  }

  get isrBelowMin(): boolean {
    return this.#isrBelowMin;
  }

  /** Lands a record; late ones follow right behind it. */
  land(bytes: Uint8Array): LogOffset {
    const offset = this.#push(bytes);
    for (const late of this.#late.splice(0)) {
      late.cancelTimer();
      this.#push(late.bytes);
    }
    this.#replicate();
    return offset;
  }

  /** Lands right after the next record of anybody, or after `delayMs`; a stray one only then. */
  landLater(bytes: Uint8Array, delayMs: number, stray: boolean): void {
    const land = (): void => {
      const at = this.#late.indexOf(late);
      if (at >= 0) this.#late.splice(at, 1);
      this.#push(bytes);
      this.#replicate();
    };
    const late: LateRecord = { bytes, cancelTimer: this.#clock.setTimer(delayMs, land) };
    if (!stray) this.#late.push(late);
  }

  /** Resolves with true once the record at `offset` is committed, with false when nobody will tell any more. */
  acknowledged(offset: number, timeoutMs: number): Promise<boolean> {
    if (this.#highWater > offset) return Promise.resolve(true);
    return new Promise((resolve) => {
      const pending: PendingAck = {
        offset,
        settle: (committed) => {
          cancel();
          this.#pending = this.#pending.filter((one) => one !== pending);
          resolve(committed);
        },
      };
      const cancel = this.#clock.setTimer(timeoutMs, () => pending.settle(false));
      this.#pending.push(pending);
    });
  }

  /**
   * Another broker leads the partition: waiting producers learn nothing. `kept` of the records that were not committed survive; the new
   * leader knows a high-water mark that is `hiddenCount` records too low, until `hiddenMs` have passed.
   */
  changeLeader(change: {
    readonly kept: number;
    readonly hiddenCount: number;
    readonly hiddenMs: number;
  }): void {
    this.#kafkaEpoch += 1;
    const kafkaEpoch = this.#kafkaEpoch;
    for (const { settle } of [...this.#pending]) settle(false);
    this.#entries.length = Math.min(this.#entries.length, this.#committed + change.kept);
    this.#highWater = Math.max(this.#start, this.#committed - change.hiddenCount);
    this.#clock.setTimer(change.hiddenMs, () => {
      if (kafkaEpoch === this.#kafkaEpoch) this.#commit(this.#entries.length);
    });
  }

  /** Too few replicas are in sync: nothing more is committed until they are back. */
  setIsrBelowMin(below: boolean): void {
    this.#isrBelowMin = below;
    if (!below) this.#replicate();
  }

  truncate(before: number): void {
    this.#start = Math.max(this.#start, Math.min(before, this.#committed));
  }

  /** Puts other records in the place of everything from `from` on. */
  rewrite(from: number, records: readonly Uint8Array[]): void {
    const end = this.#entries.length;
    assert(from >= this.#start && from <= end, `${this.name}: nothing to rewrite at ${from}`);
    this.#kafkaEpoch += 1;
    for (const { settle } of [...this.#pending]) settle(false);
    this.#entries = this.#entries.slice(0, from);
    for (const bytes of records) this.#push(bytes);
    this.#highWater = this.#entries.length;
    this.#committed = this.#entries.length;
    this.#wake();
  }

  readFrom(from: number, bytesMax: number, end: number): readonly LogEntry[] {
    const out: LogEntry[] = [];
    let bytes = 0;
    for (let at = from; at < end; at += 1) {
      const entry = this.#entries[at] as LogEntry;
      if (out.length > 0 && bytes + entry.bytes.length > bytesMax) break;
      out.push(entry);
      bytes += entry.bytes.length;
    }
    return out;
  }

  /** Calls `callback` at the next change; the returned function forgets it. */
  onChange(callback: () => void): () => void {
    this.#waiting.add(callback);
    return () => this.#waiting.delete(callback);
  }

  #push(bytes: Uint8Array): LogOffset {
    const offset = logOffset(this.#entries.length);
    this.#entries.push({ offset, bytes: bytes.slice() });
    return offset;
  }

  /** The other replicas fetch what is there now. */
  #replicate(): void {
    const end = this.#entries.length;
    const kafkaEpoch = this.#kafkaEpoch;
    const delayMs = this.#replicationMs();
    if (delayMs === 0) {
      this.#commit(end);
      return;
    }
    this.#clock.setTimer(delayMs, () => {
      if (kafkaEpoch === this.#kafkaEpoch) this.#commit(end);
    });
  }

  #commit(end: number): void {
    if (this.#isrBelowMin || end <= this.#highWater) return;
    this.#highWater = end;
    this.#committed = Math.max(this.#committed, end);
    for (const { offset, settle } of [...this.#pending]) if (offset < end) settle(true);
    this.#wake();
  }

  #wake(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const callback of waiting) callback();
  }
}
