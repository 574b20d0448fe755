import type { Random } from '../fuzz/random.ts';
import { revision } from './symbols.ts';

const ENCODER = new TextEncoder();
const NOTHING = new Uint8Array();
const ZERO = new Uint8Array([0]);
const INT64_MAX = 2n ** 63n - 1n;

export function bytes(text: string): Uint8Array {
  return ENCODER.encode(text);
}

/**
 * Few, so that requests meet, and with every kind of neighbour. At most twelve: the reference sorts so many without changing
 * the order of equals, more of them in an order of its own.
 */
export const KEYS: readonly [Uint8Array, ...Uint8Array[]] = [
  bytes('a'),
  bytes('b'),
  bytes('aa'),
  bytes('ab'),
  bytes('a\0'),
  bytes('a/b'),
  ZERO,
  new Uint8Array([0, 0]),
  new Uint8Array([0xff]),
  new Uint8Array([0xff, 0xff]),
  new Uint8Array([0x61, 0xff]),
  new Uint8Array(300).fill(0x62),
];

const VALUES: readonly [Uint8Array, ...Uint8Array[]] = [
  bytes('x'),
  bytes('y'),
  bytes('x\0'),
  NOTHING,
  ZERO,
  new Uint8Array([0xff, 0xfe]),
  new Uint8Array(3000).fill(0x7a),
];

/** Choices from a tiny world, most of them valid, some at the edges. */
export class Choose {
  readonly random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  /** True once in so many. */
  once(inHowMany: number): boolean {
    return this.random.below(inHowMany) === 0;
  }

  /** So many of something, each drawn anew. */
  list<T>(countMax: number, draw: () => T): T[] {
    return Array.from({ length: this.random.below(countMax + 1) }, draw);
  }

  key(): Uint8Array {
    return this.once(60) ? NOTHING : this.random.pick(KEYS);
  }

  value(): Uint8Array {
    return this.random.pick(VALUES);
  }

  /** A key alone, a range between two, a prefix, everything from a key on, everything, or an end that is no end. */
  range(): { key: Uint8Array; rangeEnd: Uint8Array } {
    const key = this.key();
    switch (this.random.below(8)) {
      case 0:
      case 1:
        return { key, rangeEnd: NOTHING };
      case 2:
        return { key, rangeEnd: prefixEnd(key) };
      case 3:
        return { key, rangeEnd: ZERO };
      case 4:
        return { key: ZERO, rangeEnd: ZERO };
      case 5:
        return { key: NOTHING, rangeEnd: ZERO };
      default:
        return { key, rangeEnd: this.random.pick(KEYS) };
    }
  }

  /** Zero mostly; else near what is current or compacted, or far from everything. */
  revision(zeroIn = 2): bigint {
    if (!this.once(zeroIn)) return 0n;
    switch (this.random.below(10)) {
      case 0:
        return revision('compacted', this.random.below(5) - 2);
      case 1:
        return this.random.pick([-1n, 1n, INT64_MAX, -INT64_MAX - 1n]);
      case 2:
        return revision('base', this.random.below(4) - 1);
      default:
        return revision('current', 1 - this.random.below(10));
    }
  }
}

/** The end of the range of keys that begin with this one, as etcd's clients compute it. */
function prefixEnd(prefix: Uint8Array): Uint8Array {
  const last = prefix.findLastIndex((byte) => byte !== 0xff);
  if (last < 0) return ZERO;
  const end = prefix.slice(0, last + 1);
  end[last] = (end[last] ?? 0) + 1;
  return end;
}
