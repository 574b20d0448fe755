import fc from 'fast-check';
import { describe, expect } from 'vitest';
import { countInputs, fuzz, mutationSeeds, SEED, triedThrowing } from '../../../test/fuzz/fuzz.ts';
import { mutateBytes } from '../../../test/fuzz/mutate.ts';
import { parseOffset } from '../src/kafka-errors.ts';
import { decodeRights } from '../src/topic-rights.ts';

const MUTANTS = 16;

const int16 = (value: number): number[] => [(value >> 8) & 0xff, value & 0xff];
const int32 = (value: number): number[] => [...int16(value >> 16), ...int16(value)];
const text = (value: string): number[] => [...int16(value.length), ...Buffer.from(value, 'latin1')];
const list = (items: readonly (readonly number[])[]): number[] => [
  ...int32(items.length),
  ...items.flat(),
];

interface Answer {
  readonly brokers: number;
  readonly partitions: number;
  readonly allowed: number;
}

/** A Metadata response, version 8. Source: Kafka protocol guide. */
function metadata({ brokers, partitions, allowed }: Answer): Uint8Array {
  const broker = [...int32(1), ...text('host'), ...int32(9092), ...text('rack')];
  const ids = list([int32(1), int32(2)]);
  const partition = [...int16(0), ...int32(0), ...int32(1), ...int32(5), ...ids, ...ids, ...ids];
  const topic = [
    ...[...int16(0), ...text('topic'), 0],
    ...list(Array.from({ length: partitions }, () => partition)),
    ...int32(allowed),
  ];
  return Uint8Array.from([
    ...int32(0),
    ...list(Array.from({ length: brokers }, () => broker)),
    ...[...text('cluster'), ...int32(1)],
    ...list([topic]),
    ...int32(allowed),
  ]);
}

const answer = fc.record({ brokers: fc.nat(3), partitions: fc.nat(3), allowed: fc.nat(0xffff) });

describe('what brokers answer', () => {
  fuzz(
    'rights: read as sent, anything else is KV_LOG_UNAVAILABLE or a value',
    80,
    fc.property(answer, answer, SEED, (one, other, seed) => {
      const [bytes, donor] = [metadata(one), metadata(other)];
      expect(decodeRights(Buffer.from(bytes))).toBe(one.allowed);
      for (const mutation of mutationSeeds(seed, MUTANTS)) {
        const mutant = Buffer.from(mutateBytes(bytes, donor, mutation));
        const decoded = triedThrowing(() => decodeRights(mutant));
        expect(['number', 'undefined']).toContain(typeof decoded);
      }
    }),
  );

  fuzz(
    'offsets: a safe integer of at least 0, or none',
    80,
    fc.property(
      fc.oneof(fc.string(), fc.bigInt().map(String), fc.maxSafeInteger().map(String)),
      (offset) => {
        countInputs(1);
        const parsed = parseOffset(offset);
        expect(parsed === undefined || (Number.isSafeInteger(parsed) && parsed >= 0)).toBe(true);
      },
    ),
  );
});
