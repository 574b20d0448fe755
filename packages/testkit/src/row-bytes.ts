import { KvError, tryUtf8, utf8 } from '@kvorum/base';
import type { StoreRow } from '@kvorum/ports';

const LENGTHS_BYTES = 8;

const LAYOUT = /^rows (\d{1,15})$/;

/** Of the image of a store in memory: so many bytes of rows. */
export function rowsLayout(bytes: number): Uint8Array {
  return utf8(`rows ${bytes}`);
}

/** Reads {@link rowsLayout}. Errors: KV_CORRUPT. */
export function rowsBytes(layout: Uint8Array): number {
  const bytes = LAYOUT.exec(tryUtf8(layout) ?? '')?.[1];
  if (bytes === undefined) throw new KvError('KV_CORRUPT', 'an image of another kind of stores');
  return Number(bytes);
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
  return bytes;
}

/** Reads {@link encodeRows}. Errors: KV_CORRUPT. */
export function decodeRows(bytes: Uint8Array): readonly StoreRow[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const rows: StoreRow[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < LENGTHS_BYTES) throw new KvError('KV_CORRUPT', 'rows are cut off');
    const keyAt = at + LENGTHS_BYTES;
    const valueAt = keyAt + view.getUint32(at);
    const end = valueAt + view.getUint32(at + 4);
    if (end > bytes.length) throw new KvError('KV_CORRUPT', 'rows are cut off');
    rows.push([bytes.slice(keyAt, valueAt), bytes.slice(valueAt, end)]);
    at = end;
  }
  return rows;
}
