import { err, KvError, type LeaseId, ok, type Result } from '@kvorum/base';
import { ByteReader, ByteWriter, writeI64 } from './binary.ts';
import { STATE_PREFIXES } from './row-codec.ts';

const LEASE_FORMAT = 1;

/** A lease as stored under `l<id>`. `grantedAtMs` is the granting leader's wall clock, for people only. */
export interface LeaseRow {
  readonly id: LeaseId;
  readonly ttlSeconds: number;
  readonly grantedAtMs: number;
}

/** Store key `l<id>`. */
export function leaseKey(id: LeaseId): Uint8Array {
  const out = new Uint8Array(9);
  out[0] = STATE_PREFIXES.lease;
  writeI64(out, 1, id);
  return out;
}

/** Store key `a<id><key>`: the key is attached to the lease. The row's value is empty. */
export function attachmentKey(id: LeaseId, key: Uint8Array): Uint8Array {
  const out = new Uint8Array(9 + key.length);
  out[0] = STATE_PREFIXES.attachment;
  writeI64(out, 1, id);
  out.set(key, 9);
  return out;
}

/** The user key of an attachment's store key, as a view. */
export function attachedKey(storeKey: Uint8Array): Uint8Array {
  return storeKey.subarray(9);
}

export function encodeLease(lease: LeaseRow): Uint8Array {
  const out = new ByteWriter(32);
  out.u8(LEASE_FORMAT);
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
  if (format !== LEASE_FORMAT || !input.finished()) {
    return err(new KvError('KV_CORRUPT', 'unreadable lease row'));
  }
  return ok(lease);
}
