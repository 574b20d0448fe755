import { isOpenEnd, partitionPoint, tryUtf8 } from '@kvorum/base';

/**
 * Bytes as a text of one character a byte: cheap to hash and to compare, and ordered as the bytes are. The checkers
 * work on these.
 */
export function keyText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

const SHOWN_MAX = 40;

/** A key or value for people, from its checker form. */
export function shown(text: string | undefined): string {
  if (text === undefined) return '(absent)';
  const bytes = new Uint8Array(Buffer.from(text, 'latin1'));
  const readable = tryUtf8(bytes) ?? `0x${Buffer.from(bytes).toString('hex')}`;
  return readable.length > SHOWN_MAX ? `${readable.slice(0, SHOWN_MAX)}…` : readable;
}

/** Keys from `from` on and below `to`; `to` undefined = no upper bound. A single key ends right after itself. */
export interface KeyRange {
  readonly from: string;
  readonly to: string | undefined;
  readonly single: boolean;
}

export function keyRange(key: Uint8Array, rangeEnd: Uint8Array | undefined): KeyRange {
  const from = keyText(key);
  if (rangeEnd === undefined || rangeEnd.length === 0)
    return { from, to: `${from}\0`, single: true };
  return { from, to: isOpenEnd(rangeEnd) ? undefined : keyText(rangeEnd), single: false };
}

export function covers(range: KeyRange, key: string): boolean {
  return key >= range.from && (range.to === undefined || key < range.to);
}

/** The part of a sorted list of keys that lies in a range. */
export function keysWithin(sorted: readonly string[], range: KeyRange): readonly string[] {
  const start = partitionPoint(sorted, (key) => key < range.from);
  const { to } = range;
  const end = to === undefined ? sorted.length : partitionPoint(sorted, (key) => key < to);
  return sorted.slice(start, end);
}
