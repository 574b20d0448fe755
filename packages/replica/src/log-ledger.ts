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

const MARKS_MAX = 256;
const FINENESS = 64;

/**
 * Remembers how many bytes ago and how long ago an offset was the log's end, coarsely and bounded. What lies below its first mark is at
 * least as old and as far away as that mark. Times are those of this replica's clock, when it saw the record.
 */
export class LogLedger {
  readonly #slack: TruncationSlack;
  #marks: Mark[];
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
    const far =
      latest === undefined ||
      (offset - latest.offset) * FINENESS >= this.#slack.records ||
      (this.#bytes - latest.bytes) * FINENESS >= this.#slack.bytes ||
      (nowMs - latest.atMs) * FINENESS >= this.#slack.ms;
    if (!far) return;
    this.#marks.push({ offset, bytes: this.#bytes, atMs: nowMs });
    if (this.#marks.length > MARKS_MAX) this.#thin();
  }

  /** The first offset that the slack wants kept; undefined when it wants everything. */
  keepFrom(nowMs: number): LogOffset | undefined {
    const isPast = ({ offset, bytes, atMs }: Mark): boolean =>
      this.#last - offset >= this.#slack.records &&
      this.#bytes - bytes >= this.#slack.bytes &&
      nowMs - atMs >= this.#slack.ms;
    const count = partitionPoint(this.#marks, isPast);
    const newest = this.#marks[count - 1];
    if (newest === undefined) return undefined;
    this.#marks = this.#marks.slice(count - 1);
    return logOffset(newest.offset + 1);
  }

  /** Half as fine; the first and the last mark stay. */
  #thin(): void {
    const last = this.#marks.length - 1;
    this.#marks = this.#marks.filter((_, i) => i % 2 === 0 || i === last);
  }
}
