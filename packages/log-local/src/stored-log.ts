import { copyBytes, type LogOffset, logOffset } from '@kvorum/base';
import type { LogBounds, LogEntry, LogName } from '@kvorum/ports';

/** How much of the end of a log stays in memory for members that follow it. */
const RECENT_BYTES_MAX = 2 * 1024 * 1024;

/** What all members of the process share of one log: its bounds, its newest records, who waits for more. */
export class StoredLog {
  readonly name: LogName;
  /** Members that have it open. With one, nobody follows, and no record is kept in memory. */
  members = 0;
  #start: LogOffset;
  #end: LogOffset;
  #recent: LogEntry[] = [];
  #recentBytes = 0;
  readonly #waiting = new Set<() => void>();

  constructor(name: LogName, bounds: LogBounds) {
    this.name = name;
    this.#start = bounds.start;
    this.#end = bounds.end;
  }

  get bounds(): LogBounds {
    return { start: this.#start, end: this.#end };
  }

  /** Takes over what is on disk, after a failed write was cleared up. */
  reload(bounds: LogBounds): void {
    this.#start = bounds.start;
    this.#end = bounds.end;
    this.#recent = [];
    this.#recentBytes = 0;
    this.#wake();
  }

  /** A record is on disk at the end. */
  publish(bytes: Uint8Array): void {
    if (this.members > 1) {
      // A copy: the writer may use its buffer again.
      this.#recent.push({ offset: this.#end, bytes: copyBytes(bytes) });
      this.#recentBytes += bytes.length;
      while (this.#recentBytes > RECENT_BYTES_MAX) {
        this.#recentBytes -= this.#recent.shift()?.bytes.length ?? 0;
      }
    } else if (this.#recent.length > 0) {
      this.#recent = [];
      this.#recentBytes = 0;
    }
    this.#end = logOffset(this.#end + 1);
    this.#wake();
  }

  moveStart(start: LogOffset): void {
    this.#start = start;
  }

  /** Records from `from` on out of memory; undefined when the disk must be asked. */
  recentFrom(from: LogOffset, bytesMax: number): readonly LogEntry[] | undefined {
    const oldest = this.#recent[0]?.offset;
    if (oldest === undefined || from < oldest) return undefined;
    const entries: LogEntry[] = [];
    let bytes = 0;
    for (const entry of this.#recent.slice(from - oldest)) {
      bytes += entry.bytes.length;
      if (entries.length > 0 && bytes > bytesMax) break;
      entries.push(entry);
    }
    return entries;
  }

  /** Resolves at the next record, after `waitMs`, or with a signal. */
  async change(waitMs: number, signals: readonly AbortSignal[]): Promise<void> {
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(finish);
        for (const signal of signals) signal.removeEventListener('abort', finish);
        resolve();
      };
      const timer = setTimeout(finish, waitMs);
      this.#waiting.add(finish);
      for (const signal of signals) signal.addEventListener('abort', finish);
    });
  }

  #wake(): void {
    for (const finish of [...this.#waiting]) finish();
  }
}
