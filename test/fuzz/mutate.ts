import { Random } from './random.ts';

const OPS_MAX = 4;
const INSERT_BYTES_MAX = 12;
const REPEATS_MAX = 64;

/** Bytes that formats give a meaning: ends of ranges, msgpack's and JSON's heads, line ends, quotes. */
const BYTES: readonly [number, ...number[]] = [
  ...([0, 1, 2, 0x7f, 0x80, 0x81, 0x90, 0x91, 0xa0, 0xc0, 0xc1, 0xc4, 0xc6, 0xc7, 0xc9] as const),
  ...[0xca, 0xcb, 0xcf, 0xd3, 0xd4, 0xd6, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xfe, 0xff],
  ...[0x0a, 0x0d, 0x20, 0x22, 0x27, 0x2c, 0x2d, 0x3a, 0x5b, 0x5c, 0x5d, 0x7b, 0x7d],
];
/** What a length or a counter should never be. */
const COUNTS: readonly [bigint, ...bigint[]] = [
  ...([0n, 1n, 0x7fn, 0xffn, 0x7fffn, 0xffffn, 0x7fff_ffffn, 0x8000_0000n] as const),
  ...[0xffff_ffffn, 0x1fff_ffff_ffff_ffn, 0x20_0000_0000_0000n, 0x7fff_ffff_ffff_ffffn],
  ...[0x8000_0000_0000_0000n, 0xffff_ffff_ffff_ffffn],
];

/** `bytes` with 1 to 4 small damages; `donor` gives what is spliced in. The same for the same seed. */
export function mutateBytes(bytes: Uint8Array, donor: Uint8Array, seed: number): Uint8Array {
  const random = new Random(seed);
  let out = bytes;
  for (let ops = 1 + random.below(OPS_MAX); ops > 0; ops -= 1) out = damage(out, donor, random);
  return out;
}

function damage(bytes: Uint8Array, donor: Uint8Array, random: Random): Uint8Array {
  const at = random.below(bytes.length);
  const rest = bytes.length - at;
  switch (random.below(9)) {
    case 0:
      return changed(bytes, (copy) => {
        copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8));
      });
    case 1:
      return changed(bytes, (copy) => {
        copy[at] = random.pick(BYTES);
      });
    case 2:
      return bytes.slice(0, at);
    case 3:
      return joined(bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(rest)));
    case 4:
      return joined(bytes.subarray(0, at), noise(random), bytes.subarray(at));
    case 5: {
      const from = random.below(donor.length);
      const piece = donor.subarray(from, from + 1 + random.below(donor.length - from));
      return joined(bytes.subarray(0, at), piece, bytes.subarray(at + random.below(rest + 1)));
    }
    case 6: {
      const piece = bytes.subarray(at, at + 1 + random.below(Math.min(rest, 8)));
      const copies = Array.from({ length: 1 + random.below(REPEATS_MAX) }, () => piece);
      return joined(bytes.subarray(0, at), ...copies, bytes.subarray(at));
    }
    default:
      return withCount(bytes, at, random);
  }
}

/** A number of 1, 2, 4 or 8 bytes overwritten by an extreme one. */
function withCount(bytes: Uint8Array, at: number, random: Random): Uint8Array {
  const width = random.pick([1, 2, 4, 8]);
  const value = random.pick(COUNTS);
  return changed(bytes, (copy) => {
    for (let i = 0; i < width && at + i < copy.length; i += 1) {
      copy[at + i] = Number((value >> BigInt(8 * (width - 1 - i))) & 0xffn);
    }
  });
}

function noise(random: Random): Uint8Array {
  return Uint8Array.from({ length: 1 + random.below(INSERT_BYTES_MAX) }, () =>
    random.below(3) === 0 ? random.pick(BYTES) : random.below(256),
  );
}

function changed(bytes: Uint8Array, change: (copy: Uint8Array) => void): Uint8Array {
  const copy = Uint8Array.from(bytes);
  if (copy.length > 0) change(copy);
  return copy;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}

/** `text` with 1 to 4 small damages; `words` are what its grammar knows. The same for the same seed. */
export function mutateText(text: string, words: readonly string[], seed: number): string {
  const random = new Random(seed);
  let out = text;
  for (let ops = 1 + random.below(OPS_MAX); ops > 0; ops -= 1) {
    const at = random.below(out.length + 1);
    const to = at + random.below(Math.min(out.length - at, 8) + 1);
    const piece = TEXT_PIECES[random.below(TEXT_PIECES.length)] ?? '';
    const word = words[random.below(words.length)] ?? '';
    const inserted = random.pick(['', piece, word, out.slice(at, to).repeat(1 + random.below(8))]);
    out = out.slice(0, at) + inserted + out.slice(random.below(2) === 0 ? at : to);
  }
  return out;
}

const TEXT_PIECES: readonly string[] = [
  ...['"', "'", '\\', '\\"', '\0', '\n', '\r\n', '\t', ' ', '--', '-', '=', '(', ')', '[', ']'],
  ...['{', '}', ':', ',', '&a ', '*a', '!!js/function ', '<<: ', '|', '%', '%00', '%ff', '\ud800'],
  ...['é', '\u2028', '-1', '0', '1e309', '9007199254740993', 'null', 'true', 'NaN', 'Infinity'],
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'prototype', 'x'.repeat(300)],
];

/** Plain data with one to three of its values replaced by what should not stand there. The same for the same seed. */
export function mutatePlain(value: unknown, seed: number): unknown {
  const random = new Random(seed);
  let out = value;
  for (let ops = 1 + random.below(3); ops > 0; ops -= 1) out = replaced(out, random, 0);
  return out;
}

function replaced(value: unknown, random: Random, depth: number): unknown {
  const isLeaf = typeof value !== 'object' || value === null || value instanceof Uint8Array;
  if (isLeaf || depth > 8 || random.below(4) === 0) return oddValue(value, random);
  if (Array.isArray(value)) {
    const copy = [...(value as unknown[])];
    const at = random.below(copy.length);
    const change = random.below(8);
    if (change === 0) copy.splice(at, 1);
    else if (change === 1) copy.splice(at, 0, copy[random.below(copy.length)]);
    else copy[at] = replaced(copy[at], random, depth + 1);
    return copy;
  }
  const entries = Object.entries(value);
  const at = random.below(entries.length);
  const [name = '', inner] = entries[at] ?? [];
  const change = random.below(8);
  if (change === 0) entries.splice(at, 1);
  else if (change === 1) entries.push([random.pick(NAMES), inner]);
  else entries[at] = [name, replaced(inner, random, depth + 1)];
  return Object.fromEntries(entries);
}

const NAMES: readonly [string, ...string[]] = ['', 'op', 'key', 'constructor', '__proto__', 'x'];

function oddValue(before: unknown, random: Random): unknown {
  const odd: readonly [() => unknown, ...(() => unknown)[]] = [
    () => null,
    () => undefined,
    () => ({}),
    () => [],
    () => [before, before],
    () => ({ before }),
    () => random.pick([-1, -0, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 1e300]),
    () => random.pick([0n, -1n, 1n << 63n, 1n << 64n, 1n << 2000n]),
    () => random.pick(['', 'constructor', '\0', '\ud800', 'x'.repeat(1000), '0', '-1', '1e9']),
    () => random.pick([true, false]),
    () => new Uint8Array(random.below(4)),
    () => new Date(0),
    () => nested(random.below(2) === 0 ? 40 : 400, before),
  ];
  return random.pick(odd)();
}

function nested(depth: number, inner: unknown): unknown {
  let out: unknown = inner;
  for (let i = 0; i < depth; i += 1) out = { op: 'txn', compare: [], success: [out], failure: [] };
  return out;
}
