import {
  assert,
  copyBytes,
  EMPTY_BYTES,
  KvError,
  type Limits,
  partitionPoint,
  type Revision,
  SESSION_EVICTABLE_IDLE_MS,
  type SessionTag,
} from '@kvorum/base';
import { ByteReader, ByteWriter } from './binary.ts';
import type { CommandResult } from './command.ts';
import { decodeResult, encodeResult } from './result-codec.ts';
import { clientIdOfSession, sessionKey } from './row-codec.ts';
import type { StateChange } from './write-set.ts';

const SESSION_FORMAT = 1;
/** Idle sessions removed by one batch at most: keeps expiry from swelling a record. */
const EXPIRIES_PER_BATCH_MAX = 32;
const SESSION_FIXED_BYTES = 64;
const RUN_BYTES_MAX = 24;
/** The delete that a new session may cause, one for one. */
const EVICTION_BYTES = 64;

/** Plain puts `seqFrom`, `seqFrom + 1`, … that took the revisions `revisionFrom`, `revisionFrom + 1`, …. */
interface Run {
  seqFrom: number;
  count: number;
  revisionFrom: number;
}

/**
 * What one client's decided commands answered: everything above `ackedThrough`, the rest will not be asked for again.
 *
 * Plain puts are kept as runs sorted by seq; every other result in its stored form, empty = dropped for size.
 */
class Session {
  ackedThrough = 0;
  lastActiveMs = 0;
  runs: Run[] = [];
  results: Map<number, Uint8Array> = new Map();
  resultBytes = 0;

  copy(): Session {
    const session = new Session();
    session.ackedThrough = this.ackedThrough;
    session.lastActiveMs = this.lastActiveMs;
    session.runs = this.runs.map((run) => ({ ...run }));
    session.results = new Map(this.results);
    session.resultBytes = this.resultBytes;
    return session;
  }

  get entries(): number {
    return this.runs.length + this.results.size;
  }

  /** No smaller than the encoded row. */
  get bytesMax(): number {
    return SESSION_FIXED_BYTES + this.entries * RUN_BYTES_MAX + this.resultBytes;
  }

  find(seq: number): CommandResult | undefined {
    const stored = this.results.get(seq);
    if (stored !== undefined) {
      return stored.length === 0
        ? { ok: false, error: new KvError('KV_RESULT_DROPPED') }
        : decodeStored(stored);
    }
    const run = this.runs[this.runBefore(seq)];
    if (run === undefined || seq >= run.seqFrom + run.count) return undefined;
    const revision = (run.revisionFrom + seq - run.seqFrom) as Revision;
    return { ok: true, response: { op: 'put', revision } };
  }

  addPut(seq: number, revision: number): void {
    const before = this.runBefore(seq);
    const run = this.runs[before];
    if (
      run !== undefined &&
      run.seqFrom + run.count === seq &&
      run.revisionFrom + run.count === revision
    ) {
      run.count += 1;
      return;
    }
    const fresh = { seqFrom: seq, count: 1, revisionFrom: revision };
    if (before === this.runs.length - 1) this.runs.push(fresh);
    else this.runs.splice(before + 1, 0, fresh);
  }

  /** Stores a result; beyond `bytesMax` in all, the oldest ones are dropped down to half of it. */
  addResult(seq: number, stored: Uint8Array, bytesMax: number): void {
    this.results.set(seq, stored);
    this.resultBytes += stored.length;
    if (this.resultBytes > bytesMax) this.dropOldest(bytesMax / 2);
  }

  prune(through: number): void {
    if (through <= this.ackedThrough) return;
    this.ackedThrough = through;
    for (const [seq, stored] of this.results) {
      if (seq > through) continue;
      this.results.delete(seq);
      this.resultBytes -= stored.length;
    }
    let gone = 0;
    for (const run of this.runs) {
      if (run.seqFrom > through) break;
      const cut = Math.min(run.count, through - run.seqFrom + 1);
      run.seqFrom += cut;
      run.revisionFrom += cut;
      run.count -= cut;
      if (run.count === 0) gone += 1;
    }
    // Runs are in order and do not overlap: the emptied ones stand first.
    if (gone > 0) this.runs.splice(0, gone);
  }

  /** Index of the last run that starts at or before `seq`; -1 = none. */
  private runBefore(seq: number): number {
    return partitionPoint(this.runs, (run) => run.seqFrom <= seq) - 1;
  }

  private dropOldest(bytesWanted: number): void {
    for (const [seq, stored] of this.results) {
      if (this.resultBytes <= bytesWanted) return;
      this.results.set(seq, EMPTY_BYTES);
      this.resultBytes -= stored.length;
    }
  }
}

/**
 * The replicated table of client sessions of one shard, ordered by last activity.
 *
 * Only a leader consults it; followers keep it unloaded and let the rows pass through to their stores.
 */
export class SessionTable {
  private sessions = new Map<string, Session>();
  private loaded = false;
  /** Sessions that changed while the table was being loaded: the scan must not bring older rows back. */
  private changedWhileLoading: Set<string> | undefined;

  get size(): number {
    return this.sessions.size;
  }

  get isLoaded(): boolean {
    return this.loaded;
  }

  beginLoad(): void {
    this.sessions = new Map();
    this.loaded = false;
    this.changedWhileLoading = new Set();
  }

  /** Takes one scanned row. */
  loadRow(storeKey: Uint8Array, row: Uint8Array): void {
    const clientId = clientIdOfSession(storeKey);
    if (this.changedWhileLoading?.has(clientId) === true) return;
    this.sessions.set(clientId, decodeSession(row));
  }

  endLoad(): void {
    const byActivity = [...this.sessions].sort(([, a], [, b]) => a.lastActiveMs - b.lastActiveMs);
    this.sessions = new Map(byActivity);
    this.loaded = true;
    this.changedWhileLoading = undefined;
  }

  /** Follows the session updates of an applied write set. */
  apply(changes: readonly StateChange[]): void {
    if (!this.loaded && this.changedWhileLoading === undefined) return;
    for (const { storeKey, value } of changes) {
      const clientId = clientIdOfSession(storeKey);
      this.changedWhileLoading?.add(clientId);
      this.sessions.delete(clientId);
      if (value !== undefined) this.sessions.set(clientId, decodeSession(value));
    }
  }

  /** Starts the session side of a batch. The table itself changes only through apply. */
  beginBatch(limits: Limits, leaderTimeMs: number): SessionBatch {
    assert(this.loaded, 'sessions must be loaded before a batch is executed');
    return new SessionBatch(this.sessions, limits, leaderTimeMs);
  }
}

/** What to do with a tagged command: execute it, or give this answer. */
export type Admission =
  | { readonly kind: 'execute' }
  | { readonly kind: 'answer'; readonly result: CommandResult };

const EXECUTE: Admission = { kind: 'execute' };

/** The sessions that one batch touches. */
export class SessionBatch {
  private readonly table: ReadonlyMap<string, Session>;
  private readonly limits: Limits;
  private readonly leaderTimeMs: number;
  private readonly drafts = new Map<string, Session>();
  /** Upper bound of the bytes that the touched rows take in the record. */
  bytesMax = 0;

  constructor(table: ReadonlyMap<string, Session>, limits: Limits, leaderTimeMs: number) {
    this.table = table;
    this.limits = limits;
    this.leaderTimeMs = leaderTimeMs;
  }

  /** Whether the command behind `tag` was decided before. Sees the earlier commands of this batch. */
  admit(tag: SessionTag): Admission {
    const known = this.drafts.get(tag.clientId) ?? this.table.get(tag.clientId);
    if (!isTag(tag)) return refuse(new KvError('KV_INVALID_ARGUMENT', 'malformed session tag'));
    if (known === undefined) return this.admitUnknown(tag);
    const result = known.find(tag.seq);
    if (result !== undefined) return { kind: 'answer', result };
    if (tag.seq <= known.ackedThrough) return refuse(new KvError('KV_RESULT_DROPPED'));
    if (known.entries < this.limits.connectionInflightMax) return EXECUTE;
    return refuse(
      new KvError('KV_TOO_MANY_REQUESTS', 'the session keeps too many unacknowledged results', {
        details: { limit: this.limits.connectionInflightMax, actual: known.entries },
      }),
    );
  }

  private admitUnknown(tag: SessionTag): Admission {
    if (tag.retry && tag.ackedThrough > 0) return refuse(new KvError('KV_SESSION_EXPIRED'));
    if (this.table.size + this.drafts.size < this.limits.sessionsPerShardMax) return EXECUTE;
    const [oldest] = this.table.values();
    // A session in use must not make room: its next retry would be taken for a first attempt.
    if (oldest === undefined || this.mayEvict(oldest)) return EXECUTE;
    const limit = this.limits.sessionsPerShardMax;
    return refuse(
      new KvError('KV_TOO_MANY_REQUESTS', 'too many client sessions are in use on this shard', {
        details: { limit },
      }),
    );
  }

  /** Idle for longer than any retry takes. */
  private mayEvict(session: Session): boolean {
    return this.leaderTimeMs - session.lastActiveMs > SESSION_EVICTABLE_IDLE_MS;
  }

  /** Bytes that recording a result of this client may add to the record, its own size aside. */
  costOf(tag: SessionTag): number {
    if (this.drafts.has(tag.clientId)) return RUN_BYTES_MAX;
    const known = this.table.get(tag.clientId);
    return RUN_BYTES_MAX + (known?.bytesMax ?? SESSION_FIXED_BYTES + EVICTION_BYTES);
  }

  /** Remembers the decision. `resultBytesMax` = what the record still has room for. */
  record(tag: SessionTag, result: CommandResult, resultBytesMax: number): void {
    const draft = this.draft(tag.clientId);
    const before = draft.bytesMax;
    draft.prune(tag.ackedThrough);
    draft.lastActiveMs = this.leaderTimeMs;
    if (result.ok && result.response.op === 'put' && result.response.prevKv === undefined) {
      draft.addPut(tag.seq, result.response.revision);
    } else {
      const { sessionResultBytesMax } = this.limits;
      const stored = encodeResult(result);
      const fits = stored.length <= Math.min(sessionResultBytesMax, resultBytesMax);
      draft.addResult(tag.seq, fits ? stored : EMPTY_BYTES, sessionResultBytesMax);
    }
    this.bytesMax += draft.bytesMax - before;
  }

  /** The row updates of the batch: one per touched client, then expired sessions. */
  finish(): StateChange[] {
    const changes: StateChange[] = [];
    for (const [clientId, draft] of this.drafts) {
      changes.push({ storeKey: sessionKey(clientId), value: encodeSession(draft) });
    }
    if (changes.length > 0) this.expire(changes);
    return changes;
  }

  private draft(clientId: string): Session {
    let draft = this.drafts.get(clientId);
    if (draft === undefined) {
      const known = this.table.get(clientId);
      draft = known?.copy() ?? new Session();
      this.drafts.set(clientId, draft);
      this.bytesMax += draft.bytesMax + (known === undefined ? EVICTION_BYTES : 0);
    }
    return draft;
  }

  private expire(changes: StateChange[]): void {
    let created = 0;
    for (const clientId of this.drafts.keys()) if (!this.table.has(clientId)) created += 1;
    let excess = this.table.size + created - this.limits.sessionsPerShardMax;
    let expired = 0;
    for (const [clientId, session] of this.table) {
      const idle = this.leaderTimeMs - session.lastActiveMs > this.limits.sessionIdleMsMax;
      // Each created session has paid for one delete; the others fit what a record keeps free for its frame.
      if (expired >= created + EXPIRIES_PER_BATCH_MAX) return;
      if (!idle && !(excess > 0 && this.mayEvict(session))) return;
      if (this.drafts.has(clientId)) continue;
      changes.push({ storeKey: sessionKey(clientId), value: undefined });
      excess -= 1;
      expired += 1;
    }
  }
}

const CLIENT_ID = /^[0-9a-f]{32}$/;

function isTag(tag: SessionTag): boolean {
  const { seq, ackedThrough } = tag;
  const ordered = Number.isSafeInteger(seq) && ackedThrough >= 0 && ackedThrough < seq;
  return ordered && Number.isSafeInteger(ackedThrough) && CLIENT_ID.test(tag.clientId);
}

function refuse(error: KvError): Admission {
  return { kind: 'answer', result: { ok: false, error } };
}

function decodeStored(stored: Uint8Array): CommandResult {
  const result = decodeResult(stored);
  if (result === undefined) throw new KvError('KV_CORRUPT', 'unreadable session result');
  return result;
}

function encodeSession(session: Session): Uint8Array {
  const out = new ByteWriter(session.bytesMax);
  out.u8(SESSION_FORMAT);
  out.varint(session.ackedThrough);
  out.varint(session.lastActiveMs);
  out.varint(session.runs.length);
  let seq = 0;
  let revision = 0;
  for (const run of session.runs) {
    out.varint(run.seqFrom - seq);
    out.varint(run.count);
    const step = run.revisionFrom - revision;
    out.varint(step >= 0 ? step * 2 : -step * 2 - 1);
    seq = run.seqFrom + run.count;
    revision = run.revisionFrom + run.count;
  }
  out.varint(session.results.size);
  for (const [resultSeq, stored] of session.results) {
    out.varint(resultSeq);
    out.blob(stored);
  }
  return out.view();
}

function decodeSession(row: Uint8Array): Session {
  const input = new ByteReader(copyBytes(row)); // the table outlives the frame that the row lies in
  const format = input.u8();
  if (format !== SESSION_FORMAT) {
    throw new KvError('KV_CORRUPT', `session row of unknown format ${format}`);
  }
  const session = new Session();
  session.ackedThrough = input.varint();
  session.lastActiveMs = input.varint();
  const runCount = input.varint();
  let seq = 0;
  let revision = 0;
  for (let i = 0; i < runCount && !input.failed; i += 1) {
    const seqFrom = seq + input.varint();
    const count = input.varint();
    const step = input.varint();
    const revisionFrom = revision + (step % 2 === 0 ? step / 2 : -(step + 1) / 2);
    session.runs.push({ seqFrom, count, revisionFrom });
    seq = seqFrom + count;
    revision = revisionFrom + count;
  }
  const resultCount = input.varint();
  for (let i = 0; i < resultCount && !input.failed; i += 1) {
    const resultSeq = input.varint();
    const stored = input.blob();
    session.results.set(resultSeq, stored);
    session.resultBytes += stored.length;
  }
  if (!input.finished()) throw new KvError('KV_CORRUPT', 'unreadable session row');
  return session;
}
