import { EMPTY_BYTES, KvError, prefixEnd, RANGE_END_OPEN } from '@kvorum/base';

/** Text (as UTF-8) or raw bytes. */
export type Bytes = string | Uint8Array;

/** Which keys: all with a prefix, `[from, toExclusive)`, everything from a key on, or every key. */
export type KeyRange =
  | { readonly prefix: Bytes }
  | { readonly range: readonly [from: Bytes, toExclusive: Bytes] }
  | { readonly from: Bytes }
  | { readonly all: true };

/** etcd's form of a range: an empty `rangeEnd` = the single key, one zero byte = no upper bound. */
export interface Span {
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
}

const ZERO = RANGE_END_OPEN;

/** Errors: KV_INVALID_ARGUMENT when it is neither text nor bytes. */
export function toBytes(value: Bytes): Uint8Array {
  if (typeof value === 'string') return Buffer.from(value, 'utf8');
  if (value instanceof Uint8Array) return value;
  throw new KvError('KV_INVALID_ARGUMENT', 'keys and values are strings or Uint8Arrays');
}

/**
 * Errors: KV_INVALID_ARGUMENT when it names no keys, KV_EMPTY_KEY for a range that starts nowhere.
 */
export function spanOf(named: KeyRange): Span {
  // Without a type checker nothing, or something else, may have been given.
  const range: KeyRange | object = typeof named === 'object' ? { ...named } : {};
  if ('prefix' in range && isBytes(range.prefix)) {
    const key = toBytes(range.prefix);
    return key.length === 0 ? { key: ZERO, rangeEnd: ZERO } : { key, rangeEnd: prefixEnd(key) };
  }
  if ('range' in range && Array.isArray(range.range) && range.range.every(isBytes)) {
    const [first, last] = range.range as readonly [Bytes, Bytes];
    const end = toBytes(last);
    // An empty end would mean "the single key" on the wire; as an upper bound nothing is below it.
    if (end.length === 0) throw new KvError('KV_INVALID_ARGUMENT', 'the end of a range is empty');
    return { key: toBytes(first), rangeEnd: end };
  }
  if ('from' in range && isBytes(range.from)) {
    const key = toBytes(range.from);
    return { key: key.length === 0 ? ZERO : key, rangeEnd: ZERO };
  }
  if ('all' in range && range.all === true) return { key: ZERO, rangeEnd: ZERO };
  throw new KvError('KV_INVALID_ARGUMENT', 'name the keys by prefix, range, from or all: true');
}

/** A single key or a range. */
export function spanOfTarget(target: Bytes | KeyRange): Span {
  return isBytes(target) ? { key: toBytes(target), rangeEnd: EMPTY_BYTES } : spanOf(target);
}

function isBytes(value: unknown): value is Bytes {
  return typeof value === 'string' || value instanceof Uint8Array;
}
