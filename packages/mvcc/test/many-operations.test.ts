import {
  compareBytes,
  DEFAULT_LIMITS,
  inRange,
  RANGE_END_OPEN,
  type TxnOp,
  utf8,
} from '@kvorum/base';
import { validate } from '@kvorum/mvcc';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { byteText } from '../src/binary.ts';
import { KeyIntervals } from '../src/key-intervals.ts';
import { KeyOrder } from '../src/key-order.ts';
import { TestReplica } from './harness.ts';

const key = fc.uint8Array({ max: 3, maxLength: 3 });
const range = fc.record({
  key,
  rangeEnd: fc.oneof(fc.constant(new Uint8Array(0)), key, fc.constant(RANGE_END_OPEN)),
});

describe('a set of ranges', () => {
  it('holds the keys that any of them holds, however they overlap', () => {
    fc.assert(
      fc.property(
        fc.array(range, { maxLength: 12 }),
        fc.array(range, { maxLength: 4 }),
        (some, more) => {
          const set = new KeyIntervals();
          for (const one of some) set.addRange(one.key, one.rangeEnd);
          const others = new KeyIntervals();
          for (const one of more) others.addRange(one.key, one.rangeEnd);
          set.addAll(others);
          for (let code = 0; code < 256; code += 1) {
            const digits = [(code >> 6) & 3, (code >> 4) & 3, (code >> 2) & 3].slice(0, code & 3);
            const probe = Uint8Array.from(digits);
            const expected = [...some, ...more].some((one) =>
              inRange(probe, one.key, one.rangeEnd),
            );
            expect(set.has(byteText(probe))).toBe(expected);
          }
        },
      ),
      { seed: 20_261_121, numRuns: 300 },
    );
  });
});

describe('things in key order', () => {
  it('are found between two keys, whenever they were added', () => {
    const part = fc.record({
      added: fc.array(key, { maxLength: 50 }),
      from: key,
      to: fc.option(key),
    });
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
        const order = new KeyOrder<{ readonly key: Uint8Array }>();
        const all = new Map<string, { readonly key: Uint8Array }>();
        for (const { added, from, to } of parts) {
          for (const name of added) {
            const item = all.get(byteText(name)) ?? { key: name };
            all.set(byteText(name), item);
            order.add(item);
          }
          const expected = [...all.values()]
            .filter((one) => compareBytes(one.key, from) >= 0)
            .filter((one) => to === null || compareBytes(one.key, to) < 0)
            .sort((a, b) => compareBytes(a.key, b.key));
          expect(order.between(from, to ?? undefined)).toEqual(expected);
        }
      }),
      { seed: 20_261_121, numRuns: 200 },
    );
  });
});

/** Every other operation a put, every other one a delete of a range: as many as fit into one request by nesting. */
function nestedTxn(width: number): TxnOp {
  let count = 0;
  const leaf = (): TxnOp => {
    count += 1;
    const name = count.toString(36).padStart(4, '0');
    if (count % 2 === 0) return { op: 'put', key: utf8(`p${name}`), value: new Uint8Array(0) };
    return { op: 'delete-range', key: utf8(`d${name}`), rangeEnd: utf8(`d${name}0`) };
  };
  const txn = (make: () => TxnOp): TxnOp => {
    const success = Array.from({ length: width }, make);
    return { op: 'txn', compare: [], success, failure: [] };
  };
  return txn(() => txn(() => txn(leaf)));
}

describe('a transaction of tens of thousands of operations', () => {
  it('is checked and executed in about the time it takes to read it', () => {
    const request = nestedTxn(32);
    if (request.op !== 'txn') throw new TypeError('a txn');
    expect(validate(request, DEFAULT_LIMITS)).toBeUndefined();
    const replica = new TestReplica();
    const [result] = replica.run(replica.engine.execute([{ request }], 1)).results;
    expect(result).toMatchObject({ ok: true, response: { revision: 2 } });
  });
});
