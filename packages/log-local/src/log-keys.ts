import { fromUtf8, KvError, type LogOffset, logOffset, utf8 } from '@kvorum/base';
import type { LogName } from '@kvorum/ports';

/** Says whose database it is; checked before anything is written. */
export const FORMAT_KEY: Uint8Array = utf8('kvorum');
export const FORMAT_VALUE: string = 'log-local 1';

const START_TAG = 0x73; // s
const RECORD_TAG = 0x72; // r
const OFFSET_BYTES = 8;

function tagged(tag: number, log: LogName, extraBytes: number): Uint8Array {
  const name = utf8(log);
  const key = new Uint8Array(2 + name.length + extraBytes);
  key[0] = tag;
  key.set(name, 1);
  // A zero byte ends the name, so that no name's range holds another's (log names have none).
  return key;
}

/** `s<log>\0` → the start offset, decimal; its presence says that the log exists. */
export function startKey(log: LogName): Uint8Array {
  return tagged(START_TAG, log, 0);
}

/** `r<log>\0<offset, 8 bytes big endian>` → the record. */
export function recordKey(log: LogName, offset: number): Uint8Array {
  const key = tagged(RECORD_TAG, log, OFFSET_BYTES);
  new DataView(key.buffer).setBigUint64(key.length - OFFSET_BYTES, BigInt(offset));
  return key;
}

/** The offset in a record's key. */
export function offsetOf(key: Uint8Array): LogOffset {
  const view = new DataView(key.buffer, key.byteOffset, key.byteLength);
  return logOffset(Number(view.getBigUint64(key.length - OFFSET_BYTES)));
}

export function encodeStart(start: LogOffset): Uint8Array {
  return utf8(String(start));
}

/** Throws KV_CORRUPT for what {@link encodeStart} does not write. */
export function decodeStart(value: Uint8Array): LogOffset {
  const text = fromUtf8(value);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(Number(text))) {
    throw new KvError('KV_CORRUPT', 'unreadable start of a log');
  }
  return logOffset(Number(text));
}
