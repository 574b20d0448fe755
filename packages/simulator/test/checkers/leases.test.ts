import { leaseId, utf8 } from '@kvorum/base';
import { describe, expect, it } from 'vitest';
import { HistoryBuilder, put, wrote } from './history-builder.ts';
import { TinyStore } from './random-history.ts';

const L7 = leaseId(7n);

/** What clients put, on a lease or not; every put has the next revision. */
function recorded(puts: readonly (readonly [key: string, isOnLease: boolean])[]): {
  readonly store: TinyStore;
  readonly builder: HistoryBuilder;
} {
  const store = new TinyStore();
  const builder = new HistoryBuilder();
  for (const [i, [key, isOnLease]] of puts.entries()) {
    const value = `v${i}`;
    const lease = isOnLease ? { lease: L7 } : {};
    store.write([{ key, value, ...lease }]);
    const request = { op: 'put', key: utf8(key), value: utf8(value), ...lease } as const;
    builder.op(isOnLease ? request : put(key, value), wrote(store.revision));
  }
  return { store, builder };
}

function rules({ store, builder }: ReturnType<typeof recorded>): readonly string[] {
  builder.lines.push(...store.lines);
  return builder.rules('replay');
}

const gone = (key: string): { readonly key: string; readonly value: undefined } => ({
  key,
  value: undefined,
});

describe('the end of a lease in the log', () => {
  it('takes its keys in one revision, and needs no client', () => {
    const run = recorded([
      ['a', true],
      ['b', true],
      ['c', false],
    ]);
    run.store.write([gone('a'), gone('b')]);
    expect(rules(run)).toEqual([]);
  });

  it('leaves none of them', () => {
    const run = recorded([
      ['a', true],
      ['b', true],
    ]);
    run.store.write([gone('a')]);
    expect(rules(run)).toEqual(['torn-lease']);
  });

  it('takes nothing that hangs on no lease, or no longer does', () => {
    const run = recorded([
      ['a', true],
      ['a', false],
      ['b', true],
    ]);
    run.store.write([gone('b')]);
    run.store.write([gone('a')]);
    expect(rules(run)).toEqual(['nobody-wrote']);
  });

  it('is one thing, and what else went in its revision another', () => {
    const run = recorded([
      ['a', true],
      ['b', false],
    ]);
    run.store.write([gone('a'), gone('b')]);
    expect(rules(run)).toEqual(['nobody-wrote']);
  });
});
