import { type Compare, type RangeRequest, type TxnOp, type TxnRequest, utf8 } from '@kvorum/base';
import { type CommandResult, isReadOnly, type WatchHub, type WatchSink } from '@kvorum/mvcc';
import fc from 'fast-check';
import { expect } from 'vitest';
import type { TestReplica } from './harness.ts';
import { errorName, type Model } from './model.ts';
import { showEvent, showResponse } from './script.ts';

export const KEYS: readonly Uint8Array[] = ['a', 'aa', 'ab', 'b', 'ba', 'c', '\u0000', 'ÿ'].map(
  utf8,
);
export const key: fc.Arbitrary<Uint8Array> = fc.constantFrom(...KEYS);
export const value: fc.Arbitrary<Uint8Array> = fc.constantFrom(
  ...['', '1', '2', 'x'.repeat(50)].map(utf8),
);
export const revision: fc.Arbitrary<number> = fc.integer({ min: -1, max: 40 });

export function txnOf(
  compare: fc.Arbitrary<Compare>,
  op: fc.Arbitrary<TxnOp>,
): fc.Arbitrary<TxnRequest> {
  return fc.record({
    op: fc.constant('txn' as const),
    compare: fc.array(compare, { maxLength: 2 }),
    success: fc.array(op, { maxLength: 4 }),
    failure: fc.array(op, { maxLength: 3 }),
  });
}

/** What one watcher has been told. */
export interface Watched {
  readonly start: number;
  readonly events: string[];
  lastRevision: number;
  cancelled: boolean;
}

/** The watchers of one hub: they check the order of what they get, and may refuse it for a while. */
export class Watchers<W extends Watched> {
  readonly all: Map<number, W> = new Map();
  full = false;
  readonly sink: WatchSink = {
    deliver: (id, batch) => {
      if (this.full) return false;
      const watched = this.all.get(id);
      expect(watched?.cancelled).toBe(false);
      if (watched === undefined) return true;
      expect(batch.events.length).toBeGreaterThan(0);
      expect(Number(batch.events[0]?.kv.modRevision)).toBeGreaterThan(watched.lastRevision);
      watched.lastRevision = batch.revision;
      watched.events.push(...batch.events.map(showEvent));
      return true;
    },
    moved: (id) => expect.fail(`watch ${id} moved`),
    cancelled: (id, compactRevision) => {
      const watched = this.all.get(id);
      expect(watched?.lastRevision ?? 0).toBeLessThan(compactRevision);
      if (watched !== undefined) watched.cancelled = true;
    },
  };

  drain(hub: WatchHub): void {
    this.full = false;
    for (const id of this.all.keys()) hub.resume(id);
  }
}

export function expectSameRange(replica: TestReplica, model: Model, range: RangeRequest): void {
  const answer = replica.run(replica.engine.range(range));
  const shown = answer.ok ? showResponse(answer.value).join('\n') : errorName(answer.error);
  expect(shown).toBe(model.range(range));
}

/** A transaction that writes is skipped. */
export function expectSameReadTxn(replica: TestReplica, model: Model, txn: TxnRequest): void {
  if (!isReadOnly(txn)) return;
  const answer = replica.run(replica.engine.readTxn(txn));
  const shown = answer.ok ? showResponse(answer.value).join('\n') : 'error';
  expect(shown).toBe(model.write(txn));
}

export function expectSameAfterCompaction(replica: TestReplica): void {
  const before = replica.run(replica.engine.stateHash());
  replica.compactPhysically();
  expect(replica.run(replica.engine.stateHash())).toEqual(before);
}

/** Results of a batch, and where engine and model stand after it. */
export function expectSameBatch(
  replica: TestReplica,
  model: Model,
  results: readonly CommandResult[],
  expected: readonly string[],
): void {
  const shown = results.map((one) =>
    one.ok ? showResponse(one.response).join('\n') : errorName(one.error),
  );
  // The model does not tell why it refuses, but for reads of the past.
  const blurred = shown.map((text, i) =>
    expected[i] === 'error' && !text.includes('rev=') ? 'error' : text,
  );
  expect(blurred).toEqual(expected);
  expect(replica.engine.revision).toBe(model.revision);
  expect(replica.engine.compactRevision).toBe(model.compacted);
}
