import { type LogOffset, logOffset, partitionPoint } from '@kvorum/base';

/** How much of the log is kept behind what could be deleted: as long as any of the three wants a record, it stays. */
export interface TruncationSlack {
  readonly records: number;
  readonly bytes: number;
  readonly ms: number;
}

/** The log ended with `offset` at `atMs`, after `bytes` since the ledger began. */
interface Mark {
  readonly offset: number;
  readonly bytes: number;
  readonly atMs: number;
}

/** A mark stands at least this part of every slack behind the one before, so about so many are between the log's end and what may go. */
const FINENESS = 64;

/**
 * Remembers how many bytes ago and how long ago an offset was the log's end, coarsely and bounded. What lies below its first mark is at
 * least as old and as far away as that mark. Times are those of this replica's clock, when it saw the record.
 */
export class LogLedger {
  readonly #slack: TruncationSlack;
  #marks: readonly Mark[];
  #last: number;
  #bytes = 0;

  /** @param offset - last offset known when the ledger begins; -1 = none. */
  constructor(slack: TruncationSlack, offset: LogOffset, nowMs: number) {
    this.#slack = slack;
    this.#last = offset;
    this.#marks = [{ offset, bytes: 0, atMs: nowMs }];
  }

  /** A record of so many bytes was seen; an offset seen before is ignored. */
  note(offset: LogOffset, bytes: number, nowMs: number): void {
    if (offset <= this.#last) return;
    this.#last = offset;
    this.#bytes += bytes;
    const latest = this.#marks.at(-1);
    if (latest !== undefined && !this.#isBeyond(latest, nowMs, FINENESS)) return;
    this.#prune(nowMs);
    this.#marks = [...this.#marks, { offset, bytes: this.#bytes, atMs: nowMs }];
  }

  /** The first offset that the slack wants kept; undefined when it wants everything. */
  keepFrom(nowMs: number): LogOffset | undefined {
    this.#prune(nowMs);
    const [first] = this.#marks;
    const isPast = first !== undefined && this.#isBeyond(first, nowMs, 1);
    return isPast ? logOffset(first.offset + 1) : undefined;
  }

  /** Of the marks that no slack wants, only the newest is of use. */
  #prune(nowMs: number): void {
    const count = partitionPoint(this.#marks, (mark) => this.#isBeyond(mark, nowMs, 1));
    if (count > 1) this.#marks = this.#marks.slice(count - 1);
  }

  /** Whether the log's end is further from the mark than this part of every slack. */
  #isBeyond({ offset, bytes, atMs }: Mark, nowMs: number, part: number): boolean {
    return (
      (this.#last - offset) * part >= this.#slack.records &&
      (this.#bytes - bytes) * part >= this.#slack.bytes &&
      (nowMs - atMs) * part >= this.#slack.ms
    );
  }
}
