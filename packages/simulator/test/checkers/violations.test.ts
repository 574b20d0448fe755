import { utf8 } from '@kvorum/base';
import { describe, expect, it } from 'vitest';
import {
  allPut,
  del,
  deleted,
  deleteEvent,
  failed,
  found,
  get,
  HistoryBuilder,
  kv,
  list,
  notSwapped,
  ok,
  put,
  putAll,
  putEvent,
  swap,
  swapped,
  unknown,
  wrote,
} from './history-builder.ts';

const history = (): HistoryBuilder => new HistoryBuilder();
const a = (value: string, mod: number) => kv('a', { value, mod });

interface Case {
  readonly name: string;
  readonly build: () => HistoryBuilder;
  /** What the checker by revisions, the search over orders and the watch checker find. */
  readonly order?: readonly string[];
  readonly search?: boolean;
  readonly watch?: readonly string[];
}

const BAD: readonly Case[] = [
  {
    name: 'a lost write',
    build: () => history().op(put('a', '1'), wrote(2)).op(get('a'), found(2)),
    order: ['wrong-read'],
    search: true,
  },
  {
    name: 'a lost overwrite',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(put('a', '2'), wrote(3))
        .op(get('a'), found(4, a('1', 2))),
    order: ['wrong-read'],
    search: true,
  },
  {
    name: 'a stale read',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(put('a', '2'), wrote(3))
        .op(get('a'), found(2, a('1', 2))),
    order: ['stale'],
    search: true,
  },
  {
    name: 'a stale read after another read',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .during([10, 20], put('a', '2'), wrote(3))
        .during([11, 12], get('a'), found(3, a('2', 3)))
        .during([13, 14], get('a'), found(2, a('1', 2))),
    order: ['stale'],
    search: true,
  },
  {
    name: 'a read from the future',
    build: () =>
      history()
        .op(get('a'), found(2, a('1', 2)))
        .op(put('a', '1'), wrote(2)),
    order: ['stale'],
    search: true,
  },
  {
    name: 'a duplicate apply',
    build: () =>
      history()
        .op(put('a', '1'), unknown)
        .op(get('a'), found(2, a('1', 2)))
        .op(put('a', '2'), wrote(3))
        .op(get('a'), found(4, a('1', 4))),
    order: ['applied-twice'],
    search: true,
  },
  {
    name: 'an acknowledged write applied again',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(put('a', '2'), wrote(3))
        .op(get('a'), found(4, a('1', 4))),
    order: ['applied-twice'],
    search: true,
  },
  {
    name: 'a write reported failed but visible',
    build: () =>
      history()
        .op(put('a', '1'), failed)
        .op(get('a'), found(2, a('1', 2))),
    order: ['failed-but-visible'],
    search: true,
  },
  {
    name: 'a value nobody wrote',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(get('a'), found(3, a('x', 3))),
    order: ['nobody-wrote'],
    search: true,
  },
  {
    name: 'two compare-and-sets that both succeed',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .during([10, 20], swap('a', '1', '2'), swapped(3))
        .during([11, 19], swap('a', '1', '3'), swapped(4)),
    order: ['wrong-condition'],
    search: true,
  },
  {
    name: 'a compare-and-set that fails without a reason',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(swap('a', '1', '2'), notSwapped(2, a('1', 2))),
    order: ['wrong-condition'],
    search: true,
  },
  {
    name: 'two writes of one revision',
    build: () =>
      history().during([1, 9], put('a', '1'), wrote(2)).during([1, 9], put('b', '1'), wrote(2)),
    order: ['shared-revision', 'torn-revision'],
  },
  {
    name: 'a torn txn in a range',
    build: () =>
      history()
        .op(putAll(['a', 'b'], '1'), allPut(2, 2))
        .op(list('a', 'z'), found(2, a('1', 2))),
    order: ['wrong-read'],
    search: true,
  },
  {
    name: 'a torn txn of unknown outcome',
    build: () =>
      history()
        .op(putAll(['a', 'b'], '1'), unknown)
        .op(get('a'), found(2, a('1', 2)))
        .op(get('b'), found(2)),
    order: ['wrong-read'],
    search: true,
  },
  {
    name: 'two values at one revision',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(get('a'), found(2, a('2', 2)))
        .op(put('a', '2'), failed),
    order: ['torn-revision'],
    search: true,
  },
  {
    name: 'a delete of what was not there',
    build: () => history().op(put('b', '1'), wrote(2)).op(del('a'), deleted(3, 1)),
    order: ['wrong-answer'],
    search: true,
  },
  {
    name: 'a deleted key that is back',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(del('a'), deleted(3, 1))
        .op(get('a'), found(3, a('1', 2))),
    order: ['wrong-read'],
    search: true,
  },
  {
    name: 'a wrong version count',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(get('a'), found(2, kv('a', { value: '1', mod: 2, version: 2 }))),
    order: ['wrong-read'],
  },
  {
    name: 'a revision given back',
    build: () => history().op(put('a', '1'), wrote(3)).op(put('b', '1'), wrote(2)),
    order: ['stale'],
  },
  {
    name: 'a linearizable read behind a watch',
    build: () =>
      history()
        .watch('w', { startRevision: 2 })
        .events('w', [putEvent('a', '1', 2)])
        .op(get('a'), found(1))
        .during([1, 90], put('a', '1'), wrote(2)),
    order: ['stale'],
  },
  {
    name: 'a missing event',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(put('a', '2'), wrote(3))
        .watch('w', { startRevision: 2 })
        .events('w', [putEvent('a', '2', 3)]),
    watch: ['watch-missing'],
  },
  {
    name: 'an event that a progress report passes over',
    build: () =>
      history().op(put('a', '1'), wrote(2)).watch('w', { startRevision: 2 }).events('w', [], 2),
    watch: ['watch-missing'],
  },
  {
    name: 'an event lost where a stream resumes',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(put('a', '2'), wrote(3))
        .op(put('a', '3'), wrote(4))
        .watch('w', { startRevision: 2 })
        .events('w', [putEvent('a', '1', 2)])
        .end('w')
        .watch('w', { startRevision: 3 })
        .events('w', [putEvent('a', '3', 4)]),
    watch: ['watch-missing'],
  },
  {
    name: 'a stream that resumes too late',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(put('a', '2'), wrote(3))
        .watch('w', { startRevision: 2 })
        .end('w')
        .watch('w', { startRevision: 3 })
        .events('w', [putEvent('a', '2', 3)]),
    watch: ['watch-gap'],
  },
  {
    name: 'events out of order',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(put('b', '2'), wrote(3))
        .watch('w', { startRevision: 2 })
        .events('w', [putEvent('b', '2', 3), putEvent('a', '1', 2)]),
    watch: ['watch-order'],
  },
  {
    name: 'an event twice',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .watch('w', { startRevision: 2 })
        .events('w', [putEvent('a', '1', 2)])
        .events('w', [putEvent('a', '1', 2)]),
    watch: ['watch-duplicate'],
  },
  {
    name: 'an event from before the start',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .watch('w', { startRevision: 3 })
        .events('w', [putEvent('a', '1', 2)]),
    watch: ['watch-order'],
  },
  {
    name: 'a revision in two deliveries',
    build: () =>
      history()
        .op(putAll(['a', 'b'], '1'), allPut(2, 2))
        .watch('w', { startRevision: 2 })
        .events('w', [putEvent('a', '1', 2)])
        .events('w', [putEvent('b', '1', 2)]),
    watch: ['watch-torn'],
  },
  {
    name: 'half a revision',
    build: () =>
      history()
        .op(putAll(['a', 'b'], '1'), allPut(2, 2))
        .watch('w', { startRevision: 2 })
        .events('w', [putEvent('a', '1', 2)]),
    watch: ['watch-torn'],
  },
  {
    name: 'a wrong previous value',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(put('a', '2'), wrote(3))
        .op(put('a', '3'), wrote(4))
        .watch('w', { startRevision: 4, prevKv: true })
        .events('w', [putEvent('a', '3', 4, a('1', 2))]),
    watch: ['wrong-previous'],
  },
  {
    name: 'a previous value that is missing',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(put('a', '2'), wrote(3))
        .watch('w', { startRevision: 3, prevKv: true })
        .events('w', [putEvent('a', '2', 3)]),
    watch: ['wrong-previous'],
  },
  {
    name: 'an event that was filtered out',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .watch('w', { startRevision: 2, filters: ['no-put'] })
        .events('w', [putEvent('a', '1', 2)]),
    watch: ['watch-filter'],
  },
  {
    name: 'an event outside the range',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .watch('w', { startRevision: 2, key: utf8('b') })
        .events('w', [putEvent('a', '1', 2)]),
    watch: ['watch-filter'],
  },
  {
    name: 'an event that nobody caused',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .watch('w', { startRevision: 2 })
        .events('w', [putEvent('a', '1', 2), deleteEvent('a', 3)]),
    order: ['nobody-wrote'],
  },
];

describe('minimal bad histories', () => {
  it.each(BAD)('$name', ({ build, order = [], search = false, watch = [] }) => {
    const built = build();
    expect(built.check().verdict).toBe('violation');
    expect(built.rules('order')).toEqual(order);
    expect(built.rules('linearizability')).toEqual(search ? ['not-linearizable'] : []);
    expect(built.rules('watch')).toEqual(watch);
  });
});

const GOOD: readonly { readonly name: string; readonly build: () => HistoryBuilder }[] = [
  { name: 'nothing', build: history },
  {
    name: 'a write of unknown outcome that shows up later',
    build: () =>
      history()
        .op(put('a', '1'), unknown)
        .op(get('a'), found(1))
        .op(get('a'), found(2, a('1', 2))),
  },
  {
    name: 'a write of unknown outcome that never shows up',
    build: () => history().op(put('a', '1'), unknown).op(get('a'), found(1)),
  },
  {
    name: 'an overwritten write of unknown outcome that decided a compare',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(put('a', '2'), unknown)
        .op(swap('a', '1', '3'), ok(3, { op: 'txn', succeeded: false }))
        .op(put('a', '4'), wrote(4)),
  },
  {
    name: 'a compare-and-set of unknown outcome that succeeded',
    build: () =>
      history()
        .op(swap('a', undefined, '1'), unknown)
        .op(get('a'), found(2, a('1', 2)))
        .op(swap('a', undefined, '2'), notSwapped(2, a('1', 2))),
  },
  {
    name: 'a delete of unknown outcome that took effect',
    build: () => history().op(put('a', '1'), wrote(2)).op(del('a'), unknown).op(get('a'), found(3)),
  },
  {
    name: 'concurrent writes answered in the other order',
    build: () =>
      history()
        .during([1, 10], put('a', '1'), wrote(3))
        .during([2, 5], put('a', '2'), wrote(2))
        .during([11, 12], get('a'), found(3, a('1', 3))),
  },
  {
    name: 'a read during a write sees it, the other not yet',
    build: () =>
      history()
        .during([1, 10], put('a', '1'), wrote(2))
        .during([2, 3], get('a'), found(1))
        .during([4, 5], get('a'), found(2, a('1', 2))),
  },
  {
    name: 'an answer at the very time of a call binds nothing',
    build: () =>
      history().during([1, 5], put('a', '1'), wrote(2)).during([5, 6], get('a'), found(1)),
  },
  {
    name: 'a stale read that was asked for',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op({ op: 'range', key: utf8('a'), serializable: true }, found(1)),
  },
  {
    name: 'a read at an older revision',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(put('a', '2'), wrote(3))
        .op({ op: 'range', key: utf8('a'), revision: 2 }, found(3, a('1', 2))),
  },
  {
    name: 'the same value written twice by two operations',
    build: () =>
      history()
        .op(put('a', '1'), unknown)
        .op(put('a', '1'), wrote(3))
        .op(get('a'), found(3, a('1', 3))),
  },
  {
    name: 'a range deleted whole',
    build: () =>
      history()
        .op(putAll(['a', 'b'], '1'), allPut(2, 2))
        .op({ op: 'delete-range', key: utf8('a'), rangeEnd: utf8('z') }, deleted(3, 2))
        .op(list('a', 'z'), found(3)),
  },
  {
    name: 'revisions with holes',
    build: () => history().op(put('a', '1'), wrote(7)).op(put('b', '1'), wrote(20)),
  },
  {
    name: 'a stream that resumes after a compaction, and delivers again what it had',
    build: () =>
      history()
        .op(put('a', '1'), wrote(2))
        .op(put('a', '2'), wrote(3))
        .op(del('a'), deleted(4, 1))
        .watch('w', { startRevision: 2 })
        .end('w', 2)
        .watch('w', { startRevision: 3, prevKv: true })
        .events('w', [putEvent('a', '2', 3, a('1', 2))])
        .end('w')
        .watch('w', { startRevision: 3, filters: ['no-delete'] })
        .events('w', [putEvent('a', '2', 3)], 4)
        .events('w', [], 9),
  },
];

describe('tricky good histories', () => {
  it.each(GOOD)('$name', ({ build }) => {
    const report = build().check();
    expect(report.findings.map(({ checker, text }) => `${checker}: ${text}`)).toEqual([]);
    expect(report.verdict).toBe('ok');
  });
});
