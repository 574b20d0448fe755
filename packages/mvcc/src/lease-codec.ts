import { err, KvError, type LeaseId, ok, type Result } from '@kvorum/base';
import { ByteReader, ByteWriter, readI64, writeI64 } from './binary.ts';
import { STATE_PREFIXES } from './row-codec.ts';

/** Of a lease that can be used; what the version before knows. */
const FORMAT_LIVE = 1;
/** Of one that is being revoked. */
const FORMAT_ENDING = 2;
const MARK_FORMAT = 1;
const LEASE_KEY_BYTES = 9;

/** A lease as stored under `l<id>`. `grantedAtMs` is the granting leader's time, for people only. */
export interface LeaseRow {
  readonly id: LeaseId;
  readonly ttlSeconds: number;
  readonly grantedAtMs: number;
  /** It is being revoked: no key can be put on it any more, and what still hangs on it goes. */
  readonly isEnding?: true;
}

/**
 * The row `l` of a shard: which permissions to admit leases are void there. The leases' home gives them, numbered, in its term.
 */
export interface LeaseMark {
  /** Highest term of the home that the shard has heard of; what comes from an earlier one is refused. */
  readonly term: number;
  /** Permissions of that term with a lower number are void. */
  readonly floor: number;
}

export const NO_LEASE_MARK: LeaseMark = { term: 0, floor: 0 };
export const LEASE_MARK_KEY: Uint8Array = new Uint8Array([STATE_PREFIXES.lease]);

/** Store key `l<id>`. */
export function leaseKey(id: LeaseId): Uint8Array {
  const out = new Uint8Array(LEASE_KEY_BYTES);
  out[0] = STATE_PREFIXES.lease;
  writeI64(out, 1, id);
  return out;
}

/** Store key `a<id><key>`: the key is attached to the lease. The row's value is empty. */
export function attachmentKey(id: LeaseId, key: Uint8Array): Uint8Array {
  const out = new Uint8Array(LEASE_KEY_BYTES + key.length);
  out[0] = STATE_PREFIXES.attachment;
  writeI64(out, 1, id);
  out.set(key, LEASE_KEY_BYTES);
  return out;
}

/** The user key of an attachment's store key, as a view. */
export function attachedKey(storeKey: Uint8Array): Uint8Array {
  return storeKey.subarray(LEASE_KEY_BYTES);
}

/** Whether a store key is one that {@link leaseKey} makes. */
export function isLeaseRowKey(storeKey: Uint8Array): boolean {
  return storeKey.length === LEASE_KEY_BYTES && storeKey[0] === STATE_PREFIXES.lease;
}

/** Whether a store key is an attachment of the lease. */
export function isAttachmentOf(storeKey: Uint8Array, id: LeaseId): boolean {
  return (
    storeKey.length > LEASE_KEY_BYTES &&
    storeKey[0] === STATE_PREFIXES.attachment &&
    readI64(storeKey, 1) === id
  );
}

/** The lease of a store key that {@link isLeaseRowKey} knows. */
export function leaseOfKey(storeKey: Uint8Array): LeaseId {
  return readI64(storeKey, 1) as LeaseId;
}

/** Store range of the rows of all leases, the mark not included. */
export const LEASE_ROWS: { readonly gte: Uint8Array; readonly lt: Uint8Array } = {
  gte: new Uint8Array([STATE_PREFIXES.lease, 0]),
  lt: new Uint8Array([STATE_PREFIXES.lease + 1]),
};

/** Store range of the attachments of a lease: its keys in their order. */
export function attachmentsOf(id: LeaseId): { readonly gte: Uint8Array; readonly lt: Uint8Array } {
  const gte = attachmentKey(id, new Uint8Array(0));
  let last = gte.length - 1;
  while (gte[last] === 0xff) last -= 1;
  const lt = gte.slice(0, last + 1);
  lt[last] = (gte[last] ?? 0) + 1;
  return { gte, lt };
}

export function encodeLease(lease: LeaseRow): Uint8Array {
  const out = new ByteWriter(32);
  out.u8(lease.isEnding === true ? FORMAT_ENDING : FORMAT_LIVE);
  out.i64(lease.id);
  out.u64(lease.ttlSeconds);
  out.u64(lease.grantedAtMs);
  return out.view();
}

/** Errors: KV_CORRUPT when the row is damaged or of an unknown format. */
export function decodeLease(bytes: Uint8Array): Result<LeaseRow, KvError> {
  const input = new ByteReader(bytes);
  const format = input.u8();
  const lease = { id: input.i64() as LeaseId, ttlSeconds: input.u64(), grantedAtMs: input.u64() };
  if ((format !== FORMAT_LIVE && format !== FORMAT_ENDING) || !input.finished()) {
    return err(new KvError('KV_CORRUPT', 'unreadable lease row'));
  }
  return ok(format === FORMAT_ENDING ? { ...lease, isEnding: true } : lease);
}

export function encodeLeaseMark({ term, floor }: LeaseMark): Uint8Array {
  const out = new ByteWriter(24);
  out.u8(MARK_FORMAT);
  out.u64(term);
  out.u64(floor);
  return out.view();
}

/** Errors: KV_CORRUPT when the row is damaged or of an unknown format. */
export function decodeLeaseMark(bytes: Uint8Array): Result<LeaseMark, KvError> {
  const input = new ByteReader(bytes);
  const format = input.u8();
  const mark = { term: input.u64(), floor: input.u64() };
  if (format !== MARK_FORMAT || !input.finished()) {
    return err(new KvError('KV_CORRUPT', 'unreadable mark of the leases'));
  }
  return ok(mark);
}
