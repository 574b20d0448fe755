import { assert } from '@kvorum/base';
import { HARD_STATE_KEY, INSTALL_KEY } from '@kvorum/mvcc';
import type { StoreRange, StoreRow } from '@kvorum/ports';

const LENGTHS_BYTES = 8;

/** Every row of a replica's store: its keys begin with a letter. */
export const ALL_ROWS: StoreRange = { gte: new Uint8Array([0]), lt: new Uint8Array([0x7f]) };

/** Rows that are a replica's own and never leave it: its vote, and how far its own install came. */
export function isOwnRow(key: Uint8Array): boolean {
  return key.length === 1 && (key[0] === HARD_STATE_KEY[0] || key[0] === INSTALL_KEY[0]);
}

/** Key length u32, value length u32, key, value, one row after the other; big-endian. */
export function encodeRows(rows: readonly StoreRow[]): Uint8Array {
  let length = 0;
  for (const [key, value] of rows) length += LENGTHS_BYTES + key.length + value.length;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [key, value] of rows) {
    view.setUint32(at, key.length);
    view.setUint32(at + 4, value.length);
    bytes.set(key, at + LENGTHS_BYTES);
    bytes.set(value, at + LENGTHS_BYTES + key.length);
    at += LENGTHS_BYTES + key.length + value.length;
  }
  assert(at === length, 'rows are as long as they were measured');
  return bytes;
}

/** Reads {@link encodeRows}; keys and values are views of `bytes`. Undefined when they do not fit. */
export function decodeRows(bytes: Uint8Array): readonly StoreRow[] | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const rows: StoreRow[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < LENGTHS_BYTES) return undefined;
    const keyAt = at + LENGTHS_BYTES;
    const valueAt = keyAt + view.getUint32(at);
    const end = valueAt + view.getUint32(at + 4);
    if (end > bytes.length) return undefined;
    rows.push([bytes.subarray(keyAt, valueAt), bytes.subarray(valueAt, end)]);
    at = end;
  }
  return rows;
}
