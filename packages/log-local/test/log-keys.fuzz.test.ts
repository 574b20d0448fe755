import { logOffset } from '@kvorum/base';
import type { LogName } from '@kvorum/ports';
import fc from 'fast-check';
import { describe, expect } from 'vitest';
import { BYTES, fuzz, mutationSeeds, SEED, triedThrowing } from '../../../test/fuzz/fuzz.ts';
import { mutateBytes } from '../../../test/fuzz/mutate.ts';
import { decodeStart, encodeStart, offsetOf, recordKey } from '../src/log-keys.ts';

describe('keys and rows of the embedded log', () => {
  fuzz(
    'read back as written, a damaged start is KV_CORRUPT or a value',
    150,
    fc.property(fc.maxSafeNat(), BYTES, SEED, (offset, donor, seed) => {
      const start = encodeStart(logOffset(offset));
      expect(decodeStart(start)).toBe(offset);
      expect(offsetOf(recordKey('raft-log-0' as LogName, offset))).toBe(offset);
      for (const mutation of mutationSeeds(seed, 16)) {
        const decoded = triedThrowing(() => decodeStart(mutateBytes(start, donor, mutation)));
        if (decoded !== undefined) expect(Number.isSafeInteger(decoded)).toBe(true);
      }
    }),
  );
});
