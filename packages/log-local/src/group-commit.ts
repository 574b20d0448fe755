import { KvError, type LogOffset, logOffset } from '@kvorum/base';
import type { AppendOutcome } from '@kvorum/ports';
import type { LogDatabase, NewRecord } from './log-database.ts';
import type { StoredLog } from './stored-log.ts';

interface PendingAppend {
  readonly log: StoredLog;
  readonly bytes: Uint8Array;
  readonly settle: (outcome: AppendOutcome) => void;
}

/**
 * One writer for all logs: what arrives while a synced write is out goes into the next one, together, so that
 * sixteen shards cost one fsync, not sixteen.
 */
export class GroupCommit {
  readonly #database: LogDatabase;
  readonly #logs: () => Iterable<StoredLog>;
  #pending: PendingAppend[] = [];
  #running: Promise<void> | undefined;
  #broken = false;
  #closed = false;

  constructor(database: LogDatabase, logs: () => Iterable<StoredLog>) {
    this.#database = database;
    this.#logs = logs;
  }

  append(log: StoredLog, bytes: Uint8Array): Promise<AppendOutcome> {
    return new Promise((settle) => {
      this.#pending.push({ log, bytes, settle });
      this.#running ??= this.#run();
    });
  }

  /** Ends when what was appended before is settled; later appends are refused. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    // Appends of the same turn of the event loop share the first write too.
    await Promise.resolve();
    while (this.#pending.length > 0) {
      const group = this.#pending;
      this.#pending = [];
      await this.#commit(group);
    }
    this.#running = undefined;
  }

  async #commit(group: readonly PendingAppend[]): Promise<void> {
    const refusal = this.#closed
      ? new KvError('KV_STOPPED', 'the log is closed')
      : await this.#repair();
    if (refusal !== undefined) {
      for (const { settle } of group) settle({ kind: 'absent', error: refusal, oversize: false });
      return;
    }
    const placed = place(group);
    try {
      await this.#database.write(placed.map(({ record }) => record));
    } catch (cause) {
      this.#broken = true;
      const error = new KvError('KV_LOG_UNAVAILABLE', `write failed: ${messageOf(cause)}`, {
        cause,
        outcome: 'unknown',
      });
      for (const { settle } of group) settle({ kind: 'unknown', error });
      return;
    }
    for (const { append, record } of placed) {
      append.log.publish(append.bytes);
      append.settle({ kind: 'appended', offset: record.offset });
    }
  }

  /**
   * After a failed write the tail of LevelDB's own log may be torn, and a record appended behind it could be lost at the next
   * start. Opening it again cuts the tear off, and shows whether the failed records are there.
   */
  async #repair(): Promise<KvError | undefined> {
    if (!this.#broken) return undefined;
    try {
      await this.#database.close();
      await this.#database.open();
      for (const log of this.#logs()) {
        const bounds = await this.#database.load(log.name);
        if (bounds !== undefined) log.reload(bounds);
      }
    } catch (cause) {
      return new KvError('KV_LOG_UNAVAILABLE', messageOf(cause), { cause });
    }
    this.#broken = false;
    return undefined;
  }
}

/** Gives each append the next offset of its log. */
function place(
  group: readonly PendingAppend[],
): readonly { readonly append: PendingAppend; readonly record: NewRecord }[] {
  const ends = new Map<StoredLog, LogOffset>();
  return group.map((append) => {
    const offset = ends.get(append.log) ?? append.log.bounds.end;
    ends.set(append.log, logOffset(offset + 1));
    return { append, record: { log: append.log.name, offset, bytes: append.bytes } };
  });
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
