import { type KvError, type LeaseId, NO_LEASE, type Result } from '@kvorum/base';
import { byteText } from './binary.ts';
import { KeyOrder } from './key-order.ts';
import {
  attachmentKey,
  decodeLease,
  decodeLeaseMark,
  encodeLease,
  encodeLeaseMark,
  LEASE_MARK_KEY,
  type LeaseMark,
  type LeaseRow,
  leaseKey,
  NO_LEASE_MARK,
} from './lease-codec.ts';
import { getMany, type Reading } from './reading.ts';
import {
  decodeHead,
  type Head,
  headKey,
  revisionKey,
  rowBytesLength,
  userKeyOfHead,
} from './row-codec.ts';
import { type HeadEntry, rowsAt, type Snapshot } from './visible.ts';
import { type StateChange, WriteSetBuilder } from './write-set.ts';

/** What a batch knows of one key. */
export interface Slot {
  readonly key: Uint8Array;
  /** Newest head; undefined = the key never existed. Meaningless until `known`. */
  head: Head | undefined;
  known: boolean;
  wantsRow: boolean;
  /** The store's newest row, once fetched; void when `rowAt` is set. */
  row: Uint8Array | undefined;
  /** Where this batch wrote the newest row in the write set's buffer; -1 = not written. */
  rowAt: number;
  rowLength: number;
}

interface Undo {
  readonly slot: Slot;
  readonly head: Head | undefined;
  readonly rowAt: number;
  readonly rowLength: number;
}

/** The state to come back to when a command fails half-way. */
export interface Mark {
  readonly length: number;
  readonly changeCount: number;
  readonly undoCount: number;
  readonly leaseCount: number;
  readonly attachmentBytes: number;
}

/** The fields of a new version of a key that the caller decides. */
export interface Version {
  readonly main: number;
  readonly sub: number;
  readonly value: Uint8Array;
  readonly lease: LeaseId;
  readonly deleted: boolean;
}

/** Of an attachment's row in a record: the rest of its store key, two lengths, what becomes of it. */
const ATTACHMENT_FRAME_BYTES = 16;

/** What the row that hangs a key on a lease takes of a record, put or deleted; no less. */
export function attachmentBytes(key: Uint8Array): number {
  return key.length + ATTACHMENT_FRAME_BYTES;
}

/**
 * The working state of a batch: the applied state plus what the batch wrote so far. Nothing here reaches the applied
 * state but through the log.
 */
export class BatchState implements Snapshot {
  readonly baseRevision: number;
  readonly builder: WriteSetBuilder;
  readonly leaseChanges: StateChange[] = [];
  /** What those of them take of the record that attach keys to leases, or take them off; no less. */
  attachmentBytes = 0;
  /** Newest revision visible to the command that runs. */
  revision: number;
  compactedTo: number;
  private readonly base: Pick<Snapshot, 'compactRevision' | 'hides'>;
  private readonly slots = new Map<string, Slot>();
  private readonly leases = new Map<LeaseId, LeaseRow | undefined>();
  private leaseMarkRow: LeaseMark = NO_LEASE_MARK;
  private wantsLeaseMark = false;
  /** Slots written by this batch; those of commands that failed stay, without a row. */
  private readonly written = new KeyOrder<Slot>();
  private undo: Undo[] = [];

  constructor(
    base: Pick<Snapshot, 'revision' | 'compactRevision' | 'hides'> & {
      readonly compactedTo: number;
    },
    capacity: number,
  ) {
    this.baseRevision = base.revision;
    this.revision = base.revision;
    this.compactedTo = base.compactedTo;
    this.base = base;
    this.builder = new WriteSetBuilder(capacity);
  }

  compactRevision(): number {
    return Math.max(this.compactedTo, this.base.compactRevision());
  }

  hides(key: Uint8Array): boolean {
    return this.base.hides(key);
  }

  slot(key: Uint8Array): Slot {
    const text = byteText(key);
    let slot = this.slots.get(text);
    if (slot === undefined) {
      slot = {
        key,
        head: undefined,
        known: false,
        wantsRow: false,
        row: undefined,
        rowAt: -1,
        rowLength: 0,
      };
      this.slots.set(text, slot);
    }
    return slot;
  }

  /** The slot of a key whose head a scan has just shown. */
  slotOf(key: Uint8Array, head: Head): Slot {
    const slot = this.slot(key);
    if (!slot.known) {
      slot.head = head;
      slot.known = true;
    }
    return slot;
  }

  wantLease(id: LeaseId): void {
    this.leases.set(id, undefined);
  }

  /** A key may be put on it. */
  hasLease(id: LeaseId): boolean {
    const row = this.leases.get(id);
    return row !== undefined && row.isEnding !== true;
  }

  /** Of a lease that was asked for before. */
  lease(id: LeaseId): LeaseRow | undefined {
    return this.leases.get(id);
  }

  /** Writes the row of a lease; undefined = it is gone. */
  setLease(id: LeaseId, row: LeaseRow | undefined): void {
    this.leases.set(id, row);
    const value = row === undefined ? undefined : encodeLease(row);
    this.leaseChanges.push({ storeKey: leaseKey(id), value });
  }

  wantLeaseMark(): void {
    this.wantsLeaseMark = true;
  }

  get leaseMark(): LeaseMark {
    return this.leaseMarkRow;
  }

  setLeaseMark(mark: LeaseMark): void {
    this.leaseMarkRow = mark;
    this.leaseChanges.push({ storeKey: LEASE_MARK_KEY, value: encodeLeaseMark(mark) });
  }

  /** Reads everything that was asked for with two get-many calls: heads and leases, then rows. */
  *prefetch(): Reading<void> {
    const unknown = [...this.slots.values()].filter((slot) => !slot.known);
    const leases = [...this.leases.keys()];
    const keys = unknown.map((slot) => headKey(slot.key));
    for (const id of leases) keys.push(leaseKey(id));
    if (this.wantsLeaseMark) keys.push(LEASE_MARK_KEY);
    const answers = yield* getMany(keys);
    for (const [i, slot] of unknown.entries()) {
      const value = answers[i];
      slot.head = value === undefined ? undefined : decodeHead(value);
      slot.known = true;
    }
    for (const [i, id] of leases.entries()) {
      const value = answers[unknown.length + i];
      this.leases.set(id, value === undefined ? undefined : sound(decodeLease(value)));
    }
    const mark = this.wantsLeaseMark ? answers.at(-1) : undefined;
    if (mark !== undefined) this.leaseMarkRow = sound(decodeLeaseMark(mark));
    yield* this.pinHeads(unknown);
    yield* this.fetchRows();
  }

  /** The slots of keys that no request has named. */
  *slotsOf(keys: readonly Uint8Array[]): Reading<readonly Slot[]> {
    const slots = keys.map((key) => this.slot(key));
    const unknown = slots.filter((slot) => !slot.known);
    const values = yield* getMany(unknown.map(({ key }) => headKey(key)));
    for (const [i, slot] of unknown.entries()) {
      const value = values[i];
      slot.head = value === undefined ? undefined : decodeHead(value);
      slot.known = true;
    }
    return slots;
  }

  /** The newest row of a slot, when it was prefetched or written by this batch. */
  rowOf(slot: Slot): Uint8Array | undefined {
    if (slot.rowAt < 0) return slot.row;
    return this.builder.out.bytes.subarray(slot.rowAt, slot.rowAt + slot.rowLength);
  }

  /** Writes a version of a key. */
  write(slot: Slot, version: Version): void {
    const { key, head } = slot;
    const { main, sub, value, lease, deleted } = version;
    const live = head !== undefined && !head.deleted;
    this.undo.push({ slot, head, rowAt: slot.rowAt, rowLength: slot.rowLength });
    if (slot.rowAt < 0) this.written.add(slot);
    const create = deleted ? 0 : live ? head.create : main;
    const number = deleted ? 0 : live ? head.version + 1 : 1;
    const prevMain = head === undefined ? 0 : head.modMain;
    const prevSub = head === undefined ? 0 : head.modSub;
    slot.rowAt = this.builder.add({
      modMain: main,
      modSub: sub,
      create,
      version: number,
      lease,
      deleted,
      prevMain,
      prevSub,
      key,
      value,
    });
    slot.rowLength = rowBytesLength(key, value);
    slot.head = { modMain: main, modSub: sub, create, version: number, lease, deleted };
    const oldLease = live ? head.lease : NO_LEASE;
    if (oldLease !== lease) this.moveLease(key, oldLease, lease);
  }

  mark(): Mark {
    this.undo = [];
    return {
      length: this.builder.length,
      changeCount: this.builder.changeCount,
      undoCount: 0,
      leaseCount: this.leaseChanges.length,
      attachmentBytes: this.attachmentBytes,
    };
  }

  rollback(mark: Mark): void {
    for (const { slot, head, rowAt, rowLength } of this.undo.reverse()) {
      slot.head = head;
      slot.rowAt = rowAt;
      slot.rowLength = rowLength;
    }
    this.undo = [];
    this.builder.rollback(mark.length, mark.changeCount);
    this.leaseChanges.length = mark.leaseCount;
    this.attachmentBytes = mark.attachmentBytes;
  }

  knownHead(key: Uint8Array): Head | undefined {
    const slot = this.slots.get(byteText(key));
    return slot?.known === true ? slot.head : undefined;
  }

  overlay(gte: Uint8Array, lt: Uint8Array): readonly HeadEntry[] {
    const from = userKeyOfHead(gte);
    const to = lt[0] === gte[0] ? userKeyOfHead(lt) : undefined;
    const entries: HeadEntry[] = [];
    for (const { key, head, rowAt } of this.written.between(from, to)) {
      if (rowAt >= 0 && head !== undefined) entries.push({ key, head });
    }
    return entries;
  }

  localRow(main: number, sub: number): Uint8Array | undefined {
    return main > this.baseRevision ? this.builder.findRow(main, sub) : undefined;
  }

  private moveLease(key: Uint8Array, from: LeaseId, to: LeaseId): void {
    if (from !== NO_LEASE) {
      this.leaseChanges.push({ storeKey: attachmentKey(from, key), value: undefined });
      this.attachmentBytes += attachmentBytes(key);
    }
    if (to !== NO_LEASE) {
      this.leaseChanges.push({ storeKey: attachmentKey(to, key), value: new Uint8Array(0) });
      this.attachmentBytes += attachmentBytes(key);
    }
  }

  /** Heads newer than the base come from a write applied while a read-only txn runs: step back to the base. */
  private *pinHeads(slots: readonly Slot[]): Reading<void> {
    const late = slots.filter((slot) => (slot.head?.modMain ?? 0) > this.baseRevision);
    if (late.length === 0) return;
    const pointers = late.map(({ head }) => ({ main: head?.modMain ?? 0, sub: head?.modSub ?? 0 }));
    const rows = yield* rowsAt(this, pointers, this.baseRevision);
    for (const [i, slot] of late.entries()) {
      const row = rows[i];
      slot.head = row === undefined ? undefined : decodeHead(row);
    }
  }

  private *fetchRows(): Reading<void> {
    const wanting = [...this.slots.values()].filter(
      ({ wantsRow, head }) => wantsRow && head !== undefined && !head.deleted,
    );
    const rows = yield* getMany(
      wanting.map(({ head }) => revisionKey(head?.modMain ?? 0, head?.modSub ?? 0)),
    );
    for (const [i, slot] of wanting.entries()) slot.row = rows[i];
  }
}

/** Throws KV_CORRUPT: a row of the own store is damaged. */
function sound<T>(row: Result<T, KvError>): T {
  if (!row.ok) throw row.error;
  return row.value;
}
