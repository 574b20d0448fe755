import type { Limits, LogOffset, MemberId } from '@kvorum/base';
import { logOffset } from '@kvorum/base';
import type { SharedLog } from '@kvorum/ports';
import { type RaftStatus, truncationFloor } from '@kvorum/raft';
import { LogLedger } from './log-ledger.ts';
import type { ReplicaLogger } from './replica-options.ts';

export interface TruncationHost {
  readonly self: MemberId;
  readonly log: Pick<SharedLog, 'truncate'>;
  readonly limits: Limits;
  readonly logger: ReplicaLogger;
  readonly status: () => RaftStatus;
  /** See `ReplicaOptions`. */
  readonly copiedOffset?: () => LogOffset;
  readonly broken: (error: unknown) => void;
}

/** What a leader has deleted from its log and why it keeps the rest, for status and metrics. */
export interface TruncationStatus {
  /** Records below it were deleted by this replica while it led; 0 = none. */
  readonly before: LogOffset;
  /** Voters that do not count, as an operator said. */
  readonly excluded: readonly MemberId[];
}

/**
 * The leader's truncation of its log: below what every voter's disk holds, minus the slack. A failed one is harmless: the next goes further.
 */
export class LogTruncation {
  readonly #host: TruncationHost;
  readonly #ledger: LogLedger;
  #excluded: readonly MemberId[] = [];
  #before: LogOffset = logOffset(0);
  #dueMs: number;
  #truncating: Promise<void> = Promise.resolve();
  #busy = false;

  constructor(host: TruncationHost, offset: LogOffset, nowMs: number) {
    const { truncateMs, truncateSlackBytes, truncateSlackMs, truncateSlackRecords } = host.limits;
    this.#host = host;
    const slack = {
      records: truncateSlackRecords,
      bytes: truncateSlackBytes,
      ms: truncateSlackMs,
    };
    this.#ledger = new LogLedger(slack, offset, nowMs);
    this.#dueMs = nowMs + truncateMs;
  }

  get status(): TruncationStatus {
    return { before: this.#before, excluded: this.#excluded };
  }

  /** These members' disks no longer count, unless fewer than a majority of the voters would be left. */
  exclude(members: readonly MemberId[]): void {
    this.#excluded = members;
  }

  /** A record lies in the log. */
  note(offset: LogOffset, bytes: number, nowMs: number): void {
    this.#ledger.note(offset, bytes, nowMs);
  }

  tick(nowMs: number): void {
    if (nowMs < this.#dueMs || this.#busy) return;
    this.#dueMs = nowMs + this.#host.limits.truncateMs;
    const { copiedOffset, self, status } = this.#host;
    const found = truncationFloor(status(), self, this.#excluded);
    const keepFrom = this.#ledger.keepFrom(nowMs);
    if (found === undefined || keepFrom === undefined) return;
    const uncopied = copiedOffset === undefined ? keepFrom : copiedOffset() + 1;
    const before = logOffset(Math.min(found.floor, keepFrom, uncopied));
    if (before > this.#before) this.#truncate(before);
  }

  /** No truncation is under way any more. */
  stop(): Promise<void> {
    return this.#truncating;
  }

  #truncate(before: LogOffset): void {
    const { broken, log, logger } = this.#host;
    this.#busy = true;
    this.#truncating = log.truncate(before).then(
      () => {
        this.#busy = false;
        this.#before = before;
        logger.debug({ before }, 'log truncated');
      },
      (error: unknown) => broken(error),
    );
  }
}
