import { compareBytes, isOpenEnd, partitionPoint } from '@kvorum/base';

/** Keys with from <= key < to; `to` undefined = no upper bound. Never empty. */
export interface KeySpan {
  readonly from: Uint8Array;
  readonly to: Uint8Array | undefined;
}

function after(key: Uint8Array): Uint8Array {
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return next;
}

/**
 * The keys of an etcd range: an empty end = that single key, one zero byte = no upper bound. An end at or below the key, which names
 * no keys at all, counts as the single key.
 */
export function spanOf(key: Uint8Array, rangeEnd: Uint8Array): KeySpan {
  if (isOpenEnd(rangeEnd)) return { from: key, to: undefined };
  const isRange = rangeEnd.length > 0 && compareBytes(key, rangeEnd) < 0;
  return { from: key, to: isRange ? rangeEnd : after(key) };
}

/** A fixed set of keys, asked often: disjoint spans that do not touch, ascending. */
export class KeySpans {
  readonly #spans: readonly KeySpan[];

  constructor(spans: readonly KeySpan[]) {
    const ordered = [...spans].sort((a, b) => compareBytes(a.from, b.from));
    const merged: KeySpan[] = [];
    for (const span of ordered) {
      const last = merged.at(-1);
      if (last === undefined || endsBefore(last, span.from)) merged.push(span);
      else merged[merged.length - 1] = { from: last.from, to: laterEnd(last.to, span.to) };
    }
    this.#spans = merged;
  }

  /** Whether every key of the span is in the set. */
  covers(span: KeySpan): boolean {
    const at = partitionPoint(this.#spans, ({ from }) => compareBytes(from, span.from) <= 0) - 1;
    const found = this.#spans[at];
    if (found === undefined) return false;
    if (found.to === undefined) return true;
    return span.to !== undefined && compareBytes(span.to, found.to) <= 0;
  }
}

/** Whether there are keys between the end of the span and `key`. */
function endsBefore(span: KeySpan, key: Uint8Array): boolean {
  return span.to !== undefined && compareBytes(span.to, key) < 0;
}

function laterEnd(a: Uint8Array | undefined, b: Uint8Array | undefined): Uint8Array | undefined {
  if (a === undefined || b === undefined) return undefined;
  return compareBytes(a, b) >= 0 ? a : b;
}
