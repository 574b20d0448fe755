import { equalBytes, fromUtf8, InvariantError, type LeaseId, NO_LEASE, toHex } from '@kvorum/base';
import {
  attachedKey,
  decodeOwnership,
  decodeWriteSet,
  emptyOwnership,
  leaseOfKey,
  type SlotOwnership,
  type SlotSpace,
  SlotTable,
  STATE_PREFIXES,
  type WriteSet,
  writeSetEvents,
} from '@kvorum/mvcc';
import type { LogEntry } from '@kvorum/ports';
import { decodeGenesis, decodeMembership, type Membership } from '@kvorum/raft';
import { decodeLogRecord, type LogRecord } from '@kvorum/wire';
import { sha256 } from './sha256.ts';

/** One change of the accepted history, in its order. */
export interface Change {
  readonly revision: number;
  readonly key: string;
  /** Undefined = deleted. */
  readonly value: string | undefined;
  /** Absent = none. */
  readonly lease?: LeaseId;
}

/** The end of a key with its lease. */
export interface LeaseEnd {
  readonly lease: LeaseId;
  readonly revision: number;
  /** Those of the shard at that moment; undefined = no move has touched it. */
  readonly slots: SlotTable | undefined;
}

/** A version of one key; `value` undefined = deleted at `revision`. */
export interface Version {
  readonly revision: number;
  readonly value: string | undefined;
}

interface Position {
  readonly term: number;
  readonly leaderId: string;
  readonly revision: number;
  readonly lastChange: number | undefined;
}

/** What a replica held when its shard was recovered from it. */
export interface RecoveredState {
  readonly index: number;
  readonly chainHash: Uint8Array;
  readonly revision: number;
  /** Newest change of every key. */
  readonly newest: readonly Change[];
}

/**
 * What a shard's log says, read by a second, independent implementation of the acceptance filter: the one history
 * against which everything that replicas and clients saw is held.
 */
export class Truth {
  /** All changes in order. */
  readonly changes: Change[] = [];
  readonly #versions = new Map<string, Version[]>();
  /** Chain hash in hex by index. */
  readonly #chain: string[] = [toHex(new Uint8Array(32))];
  readonly #byValue = new Map<string, Change[]>();
  readonly #positions: Position[] = [{ term: 0, leaderId: '', revision: 1, lastChange: undefined }];
  /** Digest of every record by what its leader calls it. */
  readonly #contents = new Map<string, string>();
  /** Records that their leader sent with two contents under one name. */
  readonly forked: string[] = [];
  compactRevision = -1;
  /** Somebody deleted from the head what nobody allowed. */
  startMoved = false;
  #frozen = false;
  #hash: Uint8Array = new Uint8Array(32);
  #read = 0;
  #term = 0;
  #leader = '';
  #seq = 0;
  #revision = 1;
  fenced = 0;
  /** Deletions of keys with leases, one for each lease and revision. */
  readonly leaseEnds: LeaseEnd[] = [];
  /** Changes of keys that the shard did not serve when they were accepted. */
  readonly foreign: string[] = [];
  readonly #space: SlotSpace | undefined;
  #slots: SlotTable | undefined;
  /** Of a generation above 0: the record that begins it has not come yet. */
  #awaitsGenesis = false;

  /** @param space - of a shard whose slots move. */
  constructor(space?: SlotSpace) {
    this.#space = space;
    if (space?.startsEmpty === true) this.#slots = new SlotTable(emptyOwnership([]), space);
  }

  /** What the log of the next generation says: it goes on from a replica's state. */
  static after(state: RecoveredState): Truth {
    const truth = new Truth();
    for (const change of state.newest) truth.add(change);
    truth.#awaitsGenesis = true;
    truth.#hash = state.chainHash;
    truth.#revision = state.revision;
    truth.#chain.length = state.index;
    truth.#chain.push(toHex(state.chainHash));
    truth.#positions.length = state.index;
    const { revision } = state;
    truth.#positions.push({ term: 0, leaderId: '', revision, lastChange: undefined });
    return truth;
  }

  /** Every accepted `config` record, and the one that begins a generation, by index, in order. */
  readonly memberships: { readonly index: number; readonly membership: Membership }[] = [];

  /** Newest revision. */
  get revision(): number {
    return this.#revision;
  }

  get index(): number {
    return this.#chain.length - 1;
  }

  /** Undefined = no move has touched the shard. */
  get ownership(): SlotOwnership | undefined {
    return this.#slots?.ownership;
  }

  /** The log no longer tells the history: it was damaged. */
  freeze(): void {
    this.#frozen = true;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  /** Takes in what the log holds below `end` beyond what was taken before. */
  extend({ entries, end }: { readonly entries: readonly LogEntry[]; readonly end: number }): void {
    if (this.#frozen) return;
    for (; this.#read < end; this.#read += 1) {
      const entry = entries[this.#read] as LogEntry;
      const record = decodeLogRecord(entry.bytes);
      if (!record.ok) throw new InvariantError(`record ${entry.offset}: ${record.error}`);
      const digest = sha256(entry.bytes);
      this.#compareContent(record.value, toHex(digest));
      if (this.#admits(record.value)) this.#accept(record.value, digest);
      else this.fenced += 1;
    }
  }

  /** Undefined beyond the accepted history. */
  chainAt(index: number): string | undefined {
    return this.#chain[index];
  }

  /** Term and leader of the record that was accepted as number `index`. */
  positionAt(index: number): { readonly term: number; readonly leaderId: string } {
    return this.#positions[index] ?? { term: -1, leaderId: '' };
  }

  /** The revision after the record that was accepted as number `index`. */
  revisionAt(index: number): number | undefined {
    return this.#positions[index]?.revision;
  }

  /** The revision of the newest change up to there; undefined when there is none. */
  lastChangeAt(index: number): number | undefined {
    return this.#positions[index]?.lastChange;
  }

  /** Every change that wrote this value: one revision at most, in a right history. */
  writesOf(value: string): readonly Change[] {
    return this.#byValue.get(value) ?? [];
  }

  /** The version of a key that is newest at `revision`; undefined when it never existed or is deleted then. */
  at(key: string, revision: number): (Version & { readonly value: string }) | undefined {
    const versions = this.#versions.get(key) ?? [];
    for (let i = versions.length - 1; i >= 0; i -= 1) {
      const version = versions[i] as Version;
      if (version.revision > revision) continue;
      const { value } = version;
      return value === undefined ? undefined : { revision: version.revision, value };
    }
    return undefined;
  }

  keys(): readonly string[] {
    return [...this.#versions.keys()];
  }

  #admits(record: LogRecord): boolean {
    if (record.kind === 'genesis' || this.#awaitsGenesis) {
      const begins = record.kind === 'genesis' && this.#awaitsGenesis;
      return begins && equalBytes(record.prevHash, this.#hash);
    }
    if (record.kind === 'barrier') return record.term > this.#term;
    const next =
      record.term === this.#term &&
      record.leaderId === this.#leader &&
      record.seq === this.#seq + 1;
    return next && equalBytes(record.prevHash, this.#hash);
  }

  #accept(record: LogRecord, digest: Uint8Array): void {
    this.#term = record.term;
    this.#leader = record.leaderId;
    this.#seq = record.kind === 'barrier' ? 0 : record.seq;
    this.#awaitsGenesis = false;
    this.#hash = sha256(this.#hash, digest);
    this.#chain.push(toHex(this.#hash));
    if (record.kind === 'batch') this.#take(record.payload);
    if (record.kind === 'genesis') this.#takeGenesis(record);
    if (record.kind === 'config') this.#takeMembership(record);
    this.#positions.push({
      term: record.term,
      leaderId: record.leaderId,
      revision: this.#revision,
      lastChange: this.changes.at(-1)?.revision,
    });
  }

  #takeGenesis({ payload }: LogRecord): void {
    const genesis = decodeGenesis(payload);
    if (!genesis.ok) throw new InvariantError(genesis.error);
    this.memberships.push({ index: this.index, membership: genesis.value.membership });
    this.#take(genesis.value.writeSet);
  }

  #takeMembership({ payload }: LogRecord): void {
    const membership = decodeMembership(payload);
    if (!membership.ok) throw new InvariantError(membership.error);
    this.memberships.push({ index: this.index, membership: membership.value });
  }

  /** A name (term, leader, seq) stands for one content: new bytes never go out under a used one. */
  #compareContent({ kind, term, leaderId, seq }: LogRecord, digest: string): void {
    const name = `${term} ${leaderId} ${kind === 'batch' || kind === 'config' ? seq : kind}`;
    const known = this.#contents.get(name);
    if (known === undefined) this.#contents.set(name, digest);
    else if (known !== digest) this.forked.push(name);
  }

  #take(payload: Uint8Array): void {
    const writeSet = decodeWriteSet(payload);
    if (!writeSet.ok) throw writeSet.error;
    const { baseRevision, revisionCount } = writeSet.value;
    if (baseRevision !== this.#revision) {
      throw new InvariantError(`write set for revision ${baseRevision} on ${this.#revision}`);
    }
    this.#revision += revisionCount;
    this.compactRevision = writeSet.value.compactRevision ?? this.compactRevision;
    const { slots } = writeSet.value;
    if (slots !== undefined && this.#space !== undefined) {
      this.#slots = new SlotTable(decodeOwnership(slots.ownership), this.#space);
    }
    for (const { type, kv } of writeSetEvents(writeSet.value)) {
      const value = type === 'put' ? fromUtf8(kv.value) : undefined;
      if (this.#slots?.refusal(kv.key, undefined, Number.MAX_SAFE_INTEGER) !== undefined) {
        this.foreign.push(`${fromUtf8(kv.key)}@${kv.modRevision}`);
      }
      const lease = kv.lease === NO_LEASE ? {} : { lease: kv.lease };
      this.add({ revision: kv.modRevision, key: fromUtf8(kv.key), value, ...lease });
    }
    this.#takeLeaseEnds(writeSet.value);
  }

  #takeLeaseEnds(writeSet: WriteSet): void {
    const slots = this.#slots;
    for (const { storeKey, value } of writeSet.leases) {
      if (value !== undefined || storeKey[0] !== STATE_PREFIXES.attachment) continue;
      const key = fromUtf8(attachedKey(storeKey));
      const revision = this.#versions.get(key)?.at(-1)?.revision ?? 0;
      // What left with its slot, or was put on another lease, has not ended.
      if (revision <= writeSet.baseRevision || this.at(key, revision) !== undefined) continue;
      const lease = leaseOfKey(storeKey);
      const last = this.leaseEnds.at(-1);
      if (last?.lease !== lease || last.revision !== revision)
        this.leaseEnds.push({ lease, revision, slots });
    }
  }

  /** The store's revision was as high as that, whatever changed. */
  covers(revision: number, compactRevision: number): void {
    this.#revision = Math.max(this.#revision, revision);
    this.compactRevision = Math.max(this.compactRevision, compactRevision);
  }

  /** Adds a change by hand: how tests of the checkers write a history. */
  add(change: Change): void {
    this.#revision = Math.max(this.#revision, change.revision);
    this.changes.push(change);
    push(this.#versions, change.key, { revision: change.revision, value: change.value });
    if (change.value !== undefined) push(this.#byValue, change.value, change);
  }
}

function push<T>(map: Map<string, T[]>, key: string, item: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [item]);
  else list.push(item);
}
