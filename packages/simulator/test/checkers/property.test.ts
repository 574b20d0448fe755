import { fromUtf8, type KvRequest, utf8 } from '@kvorum/base';
import type { Rng } from '@kvorum/ports';
import {
  checkHistory,
  collectHistory,
  type HistoryLine,
  type RecordedEvents,
  type RecordedHistory,
  type RecordedKeyValue,
  type RecordedOperation,
  type RecordedResponse,
} from '@kvorum/simulator';
import { seededRng } from '@kvorum/testkit';
import { describe, expect, it } from 'vitest';
import { Findings } from '../../src/checkers/finding.ts';
import { checkLinearizability } from '../../src/checkers/linearizability.ts';
import { randomHistory } from './random-history.ts';

const HEADER = { type: 'history', version: 1, source: 'test', tick: 'event' } as const;

function historyOf(lines: readonly HistoryLine[]): RecordedHistory {
  return collectHistory(HEADER, lines);
}

function problems(history: RecordedHistory): readonly string[] {
  const { findings, unverified } = checkHistory(history);
  return [
    ...findings.map(({ checker, rule, text }) => `${checker} ${rule}: ${text}`),
    ...unverified,
  ];
}

describe('random right histories', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('are accepted, seed %i', (block) => {
    for (let seed = block * 100; seed < block * 100 + 12; seed += 1) {
      const keys = 1 + (seed % 6);
      const shape = { operations: 120, processes: 1 + (seed % 7), keys, watchers: 2 };
      const values = seed % 3 === 0 ? { values: 3 } : {};
      const lines = randomHistory({
        seed,
        ...shape,
        unknownPercent: seed % 4 === 0 ? 0 : 8,
        ...values,
      });
      const all = historyOf(lines);
      expect([seed, problems(all)]).toEqual([seed, []]);
      // And without the log, on what clients saw alone.
      expect([seed, problems({ ...all, log: [] })]).toEqual([seed, []]);
    }
  });
});

/** One change that makes a right history wrong, whatever it is applied to; undefined when it has nothing to change. */
type Mutation = (history: RecordedHistory, rng: Rng) => RecordedHistory | undefined;

function pick<T>(items: readonly T[], rng: Rng): T | undefined {
  return items.length === 0 ? undefined : items[rng.integer(0, items.length)];
}

function withOperation(history: RecordedHistory, changed: RecordedOperation): RecordedHistory {
  const operations = history.operations.map((one) => (one.id === changed.id ? changed : one));
  return { ...history, operations };
}

function mutateAnswer(
  history: RecordedHistory,
  rng: Rng,
  change: (response: RecordedResponse, request: KvRequest) => RecordedResponse | undefined,
): RecordedHistory | undefined {
  const able = history.operations.flatMap((operation) => {
    if (operation.result.outcome !== 'ok') return [];
    const response = change(operation.result.response, operation.request);
    return response === undefined
      ? []
      : [{ ...operation, result: { ...operation.result, response } }];
  });
  const changed = pick(able, rng);
  return changed === undefined ? undefined : withOperation(history, changed);
}

function mutateDelivery(
  history: RecordedHistory,
  rng: Rng,
  change: (line: RecordedEvents) => RecordedEvents | undefined,
): RecordedHistory | undefined {
  const able = history.watches.flatMap((line, at) => {
    const changed = line.type === 'events' ? change(line) : undefined;
    return changed === undefined ? [] : [{ at, changed }];
  });
  const one = pick(able, rng);
  if (one === undefined) return undefined;
  return { ...history, watches: history.watches.with(one.at, one.changed) };
}

const other = (kv: RecordedKeyValue): RecordedKeyValue => ({ ...kv, value: utf8('other') });

const MUTATIONS: Readonly<Record<string, Mutation>> = {
  'a read has another value': (history, rng) =>
    mutateAnswer(history, rng, (response) => {
      if (response.op !== 'range' || response.kvs.length === 0) return undefined;
      return { ...response, kvs: response.kvs.map(other) };
    }),
  'a read lacks a key': (history, rng) =>
    mutateAnswer(history, rng, (response) => {
      if (response.op !== 'range' || response.kvs.length === 0) return undefined;
      return { ...response, kvs: response.kvs.slice(1) };
    }),
  'a read has an older version': (history, rng) =>
    mutateAnswer(history, rng, (response) => {
      const [kv] = response.op === 'range' ? response.kvs : [];
      if (response.op !== 'range' || kv?.modRevision === undefined) return undefined;
      return {
        ...response,
        kvs: [{ ...kv, modRevision: kv.modRevision - 1 }, ...response.kvs.slice(1)],
      };
    }),
  'a swap went the other way': (history, rng) =>
    mutateAnswer(history, rng, (response, request) => {
      if (response.op !== 'txn' || request.op !== 'txn' || request.compare.length === 0) {
        return undefined;
      }
      return { op: 'txn', succeeded: !response.succeeded };
    }),
  'a delete had nothing to delete': (history, rng) =>
    mutateAnswer(history, rng, (response) =>
      response.op === 'delete-range' && response.deleted === 1
        ? { op: 'delete-range', deleted: 0 }
        : undefined,
    ),
  'an acknowledged write names the next revision': (history, rng) => {
    const able = history.operations.filter(
      ({ request, result }) => request.op === 'put' && result.outcome === 'ok',
    );
    const one = pick(able, rng);
    if (one?.result.outcome !== 'ok') return undefined;
    const { response, revision } = one.result;
    return withOperation(history, {
      ...one,
      result: { outcome: 'ok', revision: revision + 1, response },
    });
  },
  'an acknowledged write was reported as failed': (history, rng) => {
    const able = history.operations.filter(
      ({ request, result }) => request.op === 'put' && result.outcome === 'ok',
    );
    const one = pick(able, rng);
    return one && withOperation(history, { ...one, result: { outcome: 'failed', code: 'X' } });
  },
  'an operation stands before its call': (history, rng) => {
    const last = Math.max(...history.operations.map((one) => one.return ?? 0));
    const able = history.operations.filter(({ result, ...one }) => {
      const later = history.operations.some(
        (two) =>
          two.result.outcome === 'ok' &&
          result.outcome === 'ok' &&
          two.result.revision > result.revision &&
          two.call > (one.return ?? 0),
      );
      return result.outcome === 'ok' && later;
    });
    const one = pick(able, rng);
    return one && withOperation(history, { ...one, call: last + 1, return: last + 2 });
  },
  'an event is missing': (history, rng) =>
    mutateDelivery(history, rng, (line) => ({
      ...line,
      through: maxOf(line),
      events: line.events.slice(1),
    })),
  'an event came twice': (history, rng) =>
    mutateDelivery(history, rng, (line) => ({ ...line, events: [...line.events, ...line.events] })),
  'an event has another value': (history, rng) =>
    mutateDelivery(history, rng, (line) => {
      if (line.events[0]?.type !== 'put') return undefined;
      return {
        ...line,
        events: line.events.map((event) => ({
          ...event,
          kv: { ...event.kv, value: utf8('other') },
        })),
      };
    }),
  'an event has another revision': (history, rng) =>
    mutateDelivery(history, rng, (line) => ({
      ...line,
      events: line.events.map((event) => ({
        ...event,
        kv: { ...event.kv, modRevision: event.kv.modRevision + 1 },
      })),
    })),
  'an event has another previous value': (history, rng) =>
    mutateDelivery(history, rng, (line) => {
      const previous = line.events[0]?.prevKv;
      if (previous === undefined) return undefined;
      return {
        ...line,
        events: line.events.map((event) => ({ ...event, prevKv: other(event.prevKv ?? previous) })),
      };
    }),
  'a record of the log is gone': (history, rng) => {
    const at = rng.integer(1, history.log.length - 1);
    return { ...history, log: history.log.toSpliced(at, 1) };
  },
  'the log lacks its end': (history) => ({ ...history, log: history.log.slice(0, -3) }),
};

function maxOf({ events }: RecordedEvents): number {
  return Math.max(...events.map(({ kv }) => kv.modRevision));
}

describe('single mutations of right histories are rejected', () => {
  it.each(Object.keys(MUTATIONS))('%s', (name) => {
    let applied = 0;
    for (let seed = 1; seed <= 15; seed += 1) {
      const lines = randomHistory({
        seed,
        operations: 60,
        processes: 4,
        keys: 3,
        watchers: 2,
        unknownPercent: 4,
      });
      const mutated = MUTATIONS[name]?.(historyOf(lines), seededRng(seed));
      if (mutated === undefined) continue;
      applied += 1;
      expect([seed, checkHistory(mutated).verdict]).toEqual([seed, 'violation']);
    }
    expect(applied).toBeGreaterThan(5);
  });
});

/** Tries every order, without any of the search's cleverness, on values alone. */
function isLinearizable(operations: readonly RecordedOperation[]): boolean {
  const judged = operations.filter(({ result }) => result.outcome !== 'failed');
  const tryFrom = (
    left: readonly RecordedOperation[],
    state: ReadonlyMap<string, string>,
  ): boolean => {
    if (left.every(({ result }) => result.outcome !== 'ok')) return true;
    return left.some((operation) => {
      const late = left.some(
        (one) => one.result.outcome === 'ok' && (one.return ?? 0) < operation.call,
      );
      if (late) return false;
      const next = new Map(state);
      if (!fits(operation, next)) return false;
      return tryFrom(
        left.filter((one) => one !== operation),
        next,
      );
    });
  };
  return tryFrom(judged, new Map());
}

/** Runs an operation on the values and compares the answer, if there is one. */
function fits({ request, result }: RecordedOperation, state: Map<string, string>): boolean {
  const response = result.outcome === 'ok' ? result.response : undefined;
  return run(request, response, state);
}

function run(
  request: KvRequest,
  response: RecordedResponse | undefined,
  state: Map<string, string>,
): boolean {
  if (request.op === 'put') {
    state.set(fromUtf8(request.key), fromUtf8(request.value));
    return true;
  }
  if (request.op === 'delete-range') {
    const had = state.delete(fromUtf8(request.key));
    return response?.op !== 'delete-range' || response.deleted === (had ? 1 : 0);
  }
  if (request.op === 'range') {
    const single = request.rangeEnd === undefined;
    const keys = single ? [fromUtf8(request.key)] : [...state.keys()].sort();
    const right = keys.filter((key) => state.has(key)).map((key) => `${key}=${state.get(key)}`);
    if (response?.op !== 'range') return true;
    const seen = response.kvs.map(({ key, value }) => `${fromUtf8(key)}=${fromUtf8(value ?? key)}`);
    return seen.join() === right.join();
  }
  if (request.op !== 'txn') return true;
  const succeeded = request.compare.every((compare) => {
    const value = state.get(fromUtf8(compare.key));
    return compare.target === 'value' ? value === fromUtf8(compare.value) : value === undefined;
  });
  if (response?.op === 'txn' && response.succeeded !== succeeded) return false;
  const ops = succeeded ? request.success : request.failure;
  return ops.every((op, i) =>
    run(op, response?.op === 'txn' ? response.responses?.[i] : undefined, state),
  );
}

describe('the search over orders', () => {
  it.each([1, 2, 3, 4])('agrees with trying every order, block %i', (block) => {
    const counts = { right: 0, wrong: 0 };
    for (let seed = block * 1000; seed < block * 1000 + 250; seed += 1) {
      const rng = seededRng(seed);
      const shape = { operations: 7, processes: 3, keys: 2, values: 2, unknownPercent: 15 };
      const history = historyOf(randomHistory({ seed, ...shape }));
      const scrambled = scramble(history, rng);
      const right = isLinearizable(scrambled.operations);
      counts[right ? 'right' : 'wrong'] += 1;
      const { findings, unverified } = checkHistory({ ...scrambled, log: [] });
      const found = findings.filter(({ checker }) => checker === 'linearizability');
      expect([seed, found.length === 0, unverified]).toEqual([seed, right, []]);
      // Without anybody's order to try first.
      const alone = new Findings('linearizability', '0');
      const nowhere = (): number => Number.POSITIVE_INFINITY;
      checkLinearizability(scrambled.operations, nowhere, GENEROUS, alone);
      expect([seed, alone.list.length === 0]).toEqual([seed, right]);
    }
    expect(Math.min(counts.right, counts.wrong)).toBeGreaterThan(40);
  });

  // Found by seeds 11200 and 11250: a score of unknown outcomes on joined keys took more than five million steps.
  it('needs no search where the log names the order', () => {
    const shape = { operations: 300, processes: 6, keys: 8, unknownPercent: 30 };
    for (let seed = 1; seed <= 5; seed += 1) {
      const history = historyOf(randomHistory({ seed, ...shape }));
      const report = checkHistory(history, { stepsMax: 1 });
      expect([seed, report.verdict, report.unverified]).toEqual([seed, 'ok', []]);
    }
  });
});

const GENEROUS = { stepsMax: 1_000_000, memoMax: 1_000_000, isOver: () => false };

/** Changes some answers to what another operation of the same kind answered, and some times. */
function scramble(history: RecordedHistory, rng: Rng): RecordedHistory {
  const operations = history.operations.map((operation) => {
    const { request, result } = operation;
    if (result.outcome !== 'ok' || rng.integer(0, 3) > 0) return operation;
    if (request.op === 'range') {
      const value = utf8(`v${rng.integer(0, 2)}`);
      const kvs = rng.integer(0, 3) === 0 ? [] : [{ key: request.key, value }];
      const single = request.rangeEnd === undefined;
      return single
        ? { ...operation, result: { ...result, response: { op: 'range', kvs } as const } }
        : operation;
    }
    const { response } = result;
    if (response.op === 'delete-range') {
      const deleted = 1 - response.deleted;
      return { ...operation, result: { ...result, response: { ...response, deleted } } };
    }
    return { ...operation, return: (operation.return ?? operation.call) + rng.integer(0, 6) };
  });
  return { ...history, operations };
}
