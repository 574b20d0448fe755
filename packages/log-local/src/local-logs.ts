import { DEFAULT_LIMITS, KvError, type Limits, logTopic } from '@kvorum/base';
import type { LogName, LogSpec, SharedLog, SharedLogs } from '@kvorum/ports';
import { GroupCommit } from './group-commit.ts';
import { LocalLog } from './local-log.ts';
import { LogDatabase } from './log-database.ts';
import { StoredLog } from './stored-log.ts';

export interface LocalLogsOptions {
  /** Holds the LevelDB; created when it does not exist (its parent must). */
  readonly directory: string;
  readonly limits?: Pick<Limits, 'recordBytesMax'>;
  /** First part of log names; default `raft-log-`. */
  readonly topicPrefix?: string;
}

/** The local logs of one process; its members share them. */
export interface LocalLogs {
  /** The logs as one member opens them; closing that leaves the others alone. */
  forMember(): SharedLogs;
  /** Closes the logs of all members, then the database. */
  close(): Promise<void>;
}

/**
 * Opens the LevelDB in `directory`. Only one process can have it open.
 * Errors: KV_DATA_DIR when it is locked, damaged, not ours or not writable.
 */
export async function openLocalLogs(options: LocalLogsOptions): Promise<LocalLogs> {
  const database = new LogDatabase(options.directory);
  await database.open();
  return new SharedDatabase(database, options);
}

class SharedDatabase implements LocalLogs {
  readonly #database: LogDatabase;
  readonly #commit: GroupCommit;
  readonly #prefix: string;
  readonly #recordBytesMax: number;
  readonly #logs = new Map<LogName, StoredLog>();
  readonly #members = new Set<MemberLogs>();
  /** Opens run one after the other, so that two members never load one log twice. */
  #opening: Promise<unknown> = Promise.resolve();

  constructor(database: LogDatabase, options: LocalLogsOptions) {
    this.#database = database;
    this.#prefix = options.topicPrefix ?? 'raft-log-';
    this.#recordBytesMax = (options.limits ?? DEFAULT_LIMITS).recordBytesMax;
    this.#commit = new GroupCommit(database, () => this.#logs.values());
  }

  forMember(): SharedLogs {
    const member = new MemberLogs((spec, create) => this.#open(spec, create));
    this.#members.add(member);
    return member;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#members].map((member) => member.close()));
    await this.#opening;
    await this.#commit.close();
    await this.#database.close();
  }

  async #open(spec: LogSpec, create: boolean): Promise<LocalLog> {
    const name = logTopic(this.#prefix, spec.shard, spec.generation);
    const opened = this.#opening.then(() => this.#stored(name, create));
    this.#opening = opened.catch(() => undefined);
    return new LocalLog({
      stored: await opened,
      database: this.#database,
      commit: this.#commit,
      recordBytesMax: this.#recordBytesMax,
    });
  }

  async #stored(name: LogName, create: boolean): Promise<StoredLog> {
    const known = this.#logs.get(name);
    if (known !== undefined) return known;
    let bounds = await this.#database.load(name);
    if (bounds === undefined) {
      if (!create) throw new KvError('KV_LOG_MISCONFIGURED', `log ${name} does not exist`);
      await this.#database.create(name);
      bounds = await this.#database.load(name);
    }
    if (bounds === undefined) throw new KvError('KV_LOG_UNAVAILABLE', `${name} cannot be created`);
    const stored = new StoredLog(name, bounds);
    this.#logs.set(name, stored);
    return stored;
  }
}

class MemberLogs implements SharedLogs {
  readonly #openLog: (spec: LogSpec, create: boolean) => Promise<LocalLog>;
  readonly #opened = new Set<LocalLog>();
  #closed = false;

  constructor(openLog: (spec: LogSpec, create: boolean) => Promise<LocalLog>) {
    this.#openLog = openLog;
  }

  async open(spec: LogSpec, options: { readonly create: boolean }): Promise<SharedLog> {
    if (this.#closed) throw new KvError('KV_STOPPED', 'the logs are closed');
    const log = await this.#openLog(spec, options.create);
    this.#opened.add(log);
    return log;
  }

  /** One database with synced writes has no setting that could be unsafe. */
  async verify(): Promise<readonly []> {
    return [];
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#opened].map((log) => log.close()));
    this.#opened.clear();
  }
}
