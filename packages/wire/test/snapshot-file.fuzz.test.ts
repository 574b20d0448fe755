import { createHash } from 'node:crypto';
import {
  clusterId,
  compareBytes,
  concatBytes,
  logIndex,
  logOffset,
  shardId,
  term,
} from '@kvorum/base';
import {
  SnapshotDecoder,
  SnapshotEncoder,
  type SnapshotHeader,
  type SnapshotPart,
  type SnapshotRow,
} from '@kvorum/wire';
import fc from 'fast-check';
import { describe, expect } from 'vitest';
import {
  BYTES,
  COUNT,
  expectTyped,
  fuzz,
  mutationSeeds,
  SEED,
  tried,
} from '../../../test/fuzz/fuzz.ts';
import { mutateBytes } from '../../../test/fuzz/mutate.ts';

const MUTANTS = 16;
const bytesOf = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });

const header: fc.Arbitrary<SnapshotHeader> = fc.record({
  clusterId: fc.bigInt({ min: 1n, max: (1n << 64n) - 1n }).map(clusterId),
  shard: fc.nat(99_999).map(shardId),
  shardUid: bytesOf(16),
  generation: COUNT,
  position: fc.record({
    offset: fc.integer({ min: -1 }).map(logOffset),
    index: COUNT.map(logIndex),
    term: COUNT.map(term),
    leaderId: fc.constantFrom('', 'ab'.repeat(16)),
    seq: COUNT,
    chainHash: bytesOf(32),
    lastOffset: fc.integer({ min: -1 }).map(logOffset),
    lastDigest: fc.oneof(bytesOf(0), bytesOf(32)),
  }),
  revision: COUNT,
  compactRevision: fc.integer({ min: -1 }),
  storeFormat: COUNT,
  createdAtMs: COUNT,
});

/** Chunks of rows whose keys ascend over all of them. */
const chunks: fc.Arbitrary<readonly (readonly SnapshotRow[])[]> = fc
  .tuple(
    fc.uniqueArray(
      BYTES.filter((key) => key.length > 0),
      {
        maxLength: 12,
        comparator: (a, b) => compareBytes(a, b) === 0,
      },
    ),
    fc.array(BYTES, { minLength: 12, maxLength: 12 }),
    fc.integer({ min: 1, max: 5 }),
  )
  .map(([keys, values, size]) => {
    const rows = keys
      .sort(compareBytes)
      .map((key, i): SnapshotRow => [key, values[i] ?? new Uint8Array(0)]);
    return Array.from({ length: Math.ceil(rows.length / size) }, (_, i) =>
      rows.slice(i * size, (i + 1) * size),
    );
  });

const sha = (): ReturnType<typeof createHash> => createHash('sha256');

function encode(head: SnapshotHeader, rows: readonly (readonly SnapshotRow[])[]): Uint8Array {
  const encoder = new SnapshotEncoder(sha());
  const pieces = [encoder.begin(head), ...rows.map((chunk) => encoder.rows(chunk))];
  return concatBytes(...pieces, encoder.end('').bytes);
}

const file = fc.tuple(header, chunks).map(([head, rows]) => encode(head, rows));

/** The parts as they come in pieces of many sizes; undefined when it is refused, as it must be in both forms. */
function decode(bytes: Uint8Array, seed: number): readonly SnapshotPart[] | undefined {
  const decoder = new SnapshotDecoder(sha());
  const parts: SnapshotPart[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + ((seed >>> (at % 24)) & 127);
    const pushed = tried(() => decoder.push(bytes.subarray(at, end)));
    expectTyped(pushed);
    if (!pushed.ok) return undefined;
    parts.push(...pushed.value);
    at = end;
  }
  const last = decoder.end();
  expectTyped(last);
  return last.ok ? parts : undefined;
}

describe('snapshot files', () => {
  fuzz(
    'come back as they were, in pieces of any size',
    60,
    fc.property(header, chunks, SEED, (head, rows, seed) => {
      const parts = decode(encode(head, rows), seed);
      expect(parts?.[0]).toEqual({ kind: 'header', header: head });
      expect(parts?.slice(1, -1)).toEqual(rows.map((chunk) => ({ kind: 'rows', rows: chunk })));
    }),
  );

  fuzz(
    'are refused when they are damaged',
    60,
    fc.property(file, file, SEED, (bytes, donor, seed) => {
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const mutant = mutateBytes(bytes, donor, mutation);
        const parts = decode(mutant, mutation);
        const isWhole = [bytes, donor].some((one) => compareBytes(one, mutant) === 0);
        if (!isWhole) expect(parts).toBeUndefined();
      }
    }),
  );
});
