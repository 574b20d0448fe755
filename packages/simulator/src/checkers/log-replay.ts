import { equalBytes } from '@kvorum/base';
import { decodeWriteSet, type WriteSet, writeSetEvents } from '@kvorum/mvcc';
import { decodeLogRecord, type LogRecord } from '@kvorum/wire';
import { sha256 } from '../sha256.ts';
import { tombstone } from './execute.ts';
import type { Findings } from './finding.ts';
import { keyText, shown } from './key-text.ts';
import { KeyVersions } from './key-versions.ts';

/** A record as it stands in a shard's log. */
export interface LogPosition {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** What a shard's log says. */
export interface ReplayedLog {
  readonly versions: KeyVersions;
  /** Newest revision. */
  readonly revision: number;
  /** Highest revision whose history a reader may find removed. */
  readonly compactRevision: number;
  /** Lease → keys that ever hung on it: they go with it, and their deletion needs no client. */
  readonly leases: ReadonlyMap<bigint, ReadonlySet<string>>;
  /** Number of accepted records. */
  readonly index: number;
}

/**
 * Reads a shard's log from its first record through an acceptance filter of its own and rebuilds every version of every key, computing
 * again what a leader wrote into its rows. Any source of records will do: a topic read back, a simulated log.
 */
export function replayLog(records: Iterable<LogPosition>, findings: Findings): ReplayedLog {
  const replay = new LogReplay(findings);
  for (const record of records) if (!replay.take(record)) break;
  return replay;
}

class LogReplay implements ReplayedLog {
  readonly versions = new KeyVersions();
  readonly leases = new Map<bigint, Set<string>>();
  revision = 1;
  compactRevision = 0;
  index = 0;
  readonly #findings: Findings;
  #chain: Uint8Array = new Uint8Array(32);
  #uid: Uint8Array | undefined;
  #generation: number | undefined;
  #term = 0;
  #leader = '';
  #seq = 0;

  constructor(findings: Findings) {
    this.#findings = findings;
  }

  /** False when nothing after this record can be judged. */
  take({ offset, bytes }: LogPosition): boolean {
    const decoded = decodeLogRecord(bytes);
    if (!decoded.ok) return this.#broken(offset, `is ${decoded.error}`);
    const record = decoded.value;
    this.#uid ??= record.shardUid;
    this.#generation ??= record.generation;
    if (!equalBytes(record.shardUid, this.#uid) || record.generation !== this.#generation) {
      return this.#broken(offset, 'is of another shard or generation');
    }
    if (!this.#admits(record)) return this.#mayIgnore(record, offset);
    this.#term = record.term;
    this.#leader = record.leaderId;
    this.#seq = record.kind === 'barrier' ? 0 : record.seq;
    this.#chain = sha256(this.#chain, sha256(bytes));
    this.index += 1;
    return record.kind === 'batch' ? this.#apply(record.payload, offset) : true;
  }

  #admits(record: LogRecord): boolean {
    if (record.kind === 'barrier') return record.term > this.#term;
    return (
      this.#isOwn(record) &&
      record.seq === this.#seq + 1 &&
      equalBytes(record.prevHash, this.#chain)
    );
  }

  #isOwn(record: LogRecord): boolean {
    return record.term === this.#term && record.leaderId === this.#leader;
  }

  /** What is neither accepted nor rightly ignored proves that the log was cut or rewritten: replicas halt on it. */
  #mayIgnore(record: LogRecord, offset: number): boolean {
    const own = record.kind !== 'barrier' && this.#isOwn(record) && record.seq > this.#seq;
    if (this.index === 0 && record.kind !== 'barrier') {
      return this.#broken(offset, 'comes before any barrier: the log does not begin here');
    }
    if (!own) return true;
    const gap = record.seq > this.#seq + 1 ? `has seq ${record.seq} after ${this.#seq}` : '';
    return this.#broken(offset, gap === '' ? 'was computed from another history' : gap);
  }

  #broken(offset: number, what: string): false {
    this.#findings.add('bad-log', `record ${offset} ${what}`);
    return false;
  }

  #apply(payload: Uint8Array, offset: number): boolean {
    const decoded = decodeWriteSet(payload);
    if (!decoded.ok) return this.#broken(offset, `holds a ${decoded.error.message}`);
    const { baseRevision, revisionCount, compactRevision } = decoded.value;
    if (baseRevision < this.revision) {
      return this.#broken(offset, `starts at revision ${baseRevision} below ${this.revision}`);
    }
    this.#applyChanges(decoded.value, offset);
    this.revision = baseRevision + revisionCount;
    if (compactRevision !== undefined) this.compactRevision = compactRevision;
    return true;
  }

  #applyChanges(writeSet: WriteSet, offset: number): void {
    for (const { type, kv } of writeSetEvents(writeSet)) {
      const key = keyText(kv.key);
      const revision = kv.modRevision;
      const before = this.versions.live(key, revision);
      if (type === 'delete') {
        if (before === undefined) this.#broken(offset, `deletes ${shown(key)}, which is not there`);
        this.versions.add(key, tombstone(revision));
        continue;
      }
      const createRevision = before?.createRevision ?? revision;
      const version = (before?.version ?? 0) + 1;
      if (kv.createRevision !== createRevision || kv.version !== version) {
        const has = `version ${kv.version}, created at ${kv.createRevision}`;
        const right = `version ${version}, created at ${createRevision}`;
        this.#broken(offset, `has ${shown(key)}@${revision} as ${has}; was ${right}`);
      }
      const value = keyText(kv.value);
      const { lease } = kv;
      if (lease !== 0n) this.leases.set(lease, (this.leases.get(lease) ?? new Set()).add(key));
      this.versions.add(key, { revision, value, deleted: false, createRevision, version, lease });
    }
  }
}
