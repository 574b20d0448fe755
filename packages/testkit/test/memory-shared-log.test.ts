import { fromUtf8, logOffset, shardId, utf8 } from '@kvorum/base';
import type { AppendOutcome, Clock, SharedLog } from '@kvorum/ports';
import {
  type AppendFault,
  describeSharedLogContract,
  MemoryLogBroker,
  seededRng,
  VirtualClock,
} from '@kvorum/testkit';
import { describe, expect, it } from 'vitest';

const realClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  setTimer: (delayMs, callback) => {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

describeSharedLogContract('memory', async () => {
  const broker = new MemoryLogBroker({ clock: realClock, rng: seededRng(1) });
  let members = 0;
  return {
    recordBytesMax: 4 * 1024 * 1024,
    openMember: async () => {
      members += 1;
      return broker.forMember(`m${members}`);
    },
    dispose: async () => {},
  };
});

const NAME = 'raft-log-0';
const SPEC = { shard: shardId(0), generation: 0 };

interface Setup {
  readonly clock: VirtualClock;
  readonly broker: MemoryLogBroker;
  readonly log: SharedLog;
}

async function setup(seed = 1): Promise<Setup> {
  const clock = new VirtualClock();
  const broker = new MemoryLogBroker({ clock, rng: seededRng(seed) });
  const log = await broker.forMember('a').open(SPEC, { create: true });
  return { clock, broker, log };
}

const texts = (broker: MemoryLogBroker): readonly string[] =>
  broker.records(NAME).map(({ bytes }) => fromUtf8(bytes));

async function appendWith(
  { broker, log }: Setup,
  fault: AppendFault,
  text: string,
): Promise<AppendOutcome> {
  broker.failNextAppend(NAME, fault);
  return log.append(utf8(text));
}

describe('faults of an append', () => {
  it('refused: absent, and not there', async () => {
    const cluster = await setup();
    expect(await appendWith(cluster, { kind: 'refused' }, 'x')).toMatchObject({ kind: 'absent' });
    expect(texts(cluster.broker)).toEqual([]);
  });

  it('lost: unknown, and not there', async () => {
    const cluster = await setup();
    expect(await appendWith(cluster, { kind: 'lost' }, 'x')).toMatchObject({ kind: 'unknown' });
    expect(texts(cluster.broker)).toEqual([]);
  });

  it('answer lost: unknown, and there', async () => {
    const cluster = await setup();
    const outcome = await appendWith(cluster, { kind: 'answer-lost' }, 'x');
    expect(outcome).toMatchObject({ kind: 'unknown' });
    expect(texts(cluster.broker)).toEqual(['x']);
  });

  it('late: unknown, and lands behind the next record', async () => {
    const cluster = await setup();
    const outcome = await appendWith(cluster, { kind: 'late', delayMs: 50 }, 'x');
    expect(outcome).toMatchObject({ kind: 'unknown' });
    await cluster.log.append(utf8('y'));
    expect(texts(cluster.broker)).toEqual(['y', 'x']);
    cluster.clock.advance(100);
    expect(texts(cluster.broker)).toEqual(['y', 'x']);
  });

  it('late: lands after its time when nobody else appends', async () => {
    const cluster = await setup();
    await appendWith(cluster, { kind: 'late', delayMs: 50 }, 'x');
    cluster.clock.advance(49);
    expect(texts(cluster.broker)).toEqual([]);
    cluster.clock.advance(1);
    expect(texts(cluster.broker)).toEqual(['x']);
  });

  it('duplicate: there twice, acknowledged at one of the two offsets', async () => {
    const offsets = new Set<number>();
    for (let seed = 0; seed < 20; seed += 1) {
      const cluster = await setup(seed);
      const outcome = await appendWith(cluster, { kind: 'duplicate' }, 'x');
      expect(texts(cluster.broker)).toEqual(['x', 'x']);
      if (outcome.kind === 'appended') offsets.add(outcome.offset);
    }
    expect([...offsets].sort((a, b) => a - b)).toEqual([0, 1]);
  });

  it('slow: lands and answers only after its time', async () => {
    const cluster = await setup();
    const appending = appendWith(cluster, { kind: 'slow', delayMs: 50 }, 'x');
    expect(texts(cluster.broker)).toEqual([]);
    cluster.clock.advance(50);
    expect(await appending).toEqual({ kind: 'appended', offset: 0 });
  });

  it('by chance: the same seed gives the same log', async () => {
    const run = async (seed: number): Promise<readonly string[]> => {
      const { broker, log, clock } = await setup(seed);
      const rates = { refused: 100, lost: 100, 'answer-lost': 100, duplicate: 100, late: 100 };
      broker.setAppendFaultRates({ ...rates, stray: 100, slow: 0, delayMsMax: 10 });
      for (let i = 0; i < 100; i += 1) {
        await log.append(utf8(`${i}`));
        clock.advance(1);
      }
      return texts(broker);
    };
    expect(await run(7)).toEqual(await run(7));
    expect(await run(7)).not.toEqual(await run(8));
  });
});

describe('faults of the log', () => {
  const read = { bytesMax: 1000, waitMs: 0, signal: new AbortController().signal };

  it('unavailable: for one member or for all, an append in flight is unknown', async () => {
    const { broker, log, clock } = await setup();
    const other = await broker.forMember('b').open(SPEC, { create: false });
    broker.setUnavailable(true, 'a');
    expect(await log.append(utf8('x'))).toMatchObject({ kind: 'absent', oversize: false });
    expect(await log.read(logOffset(0), read)).toMatchObject({ kind: 'unavailable' });
    expect(await other.append(utf8('y'))).toMatchObject({ kind: 'appended' });
    broker.failNextAppend(NAME, { kind: 'slow', delayMs: 5 });
    const inFlight = other.append(utf8('z'));
    broker.setUnavailable(true);
    clock.advance(5);
    expect(await inFlight).toMatchObject({ kind: 'unknown' });
    broker.setUnavailable(false);
    broker.setUnavailable(false, 'a');
    expect(await log.read(logOffset(0), read)).toMatchObject({ kind: 'records', end: 1 });
  });

  it('rewritten tail: other records at the same offsets', async () => {
    const { broker, log } = await setup();
    for (const text of ['a', 'b', 'c']) await log.append(utf8(text));
    broker.rewriteTail(NAME, logOffset(1), [utf8('B')]);
    expect(texts(broker)).toEqual(['a', 'B']);
    const outcome = await log.read(logOffset(3), read);
    expect(outcome).toEqual({ kind: 'out-of-range', bounds: { start: 0, end: 2 } });
  });

  it('truncated head and deleted log', async () => {
    const { broker, log } = await setup();
    await log.append(utf8('a'));
    broker.truncateHead(NAME, logOffset(1));
    expect(await log.read(logOffset(0), read)).toMatchObject({ kind: 'out-of-range' });
    broker.deleteLog(NAME);
    expect(await log.read(logOffset(1), read)).toMatchObject({ kind: 'unavailable' });
  });

  it('keeps what was deleted from the head for checkers', async () => {
    const { broker, log } = await setup();
    for (const text of ['a', 'b']) await log.append(utf8(text));
    broker.truncateHead(NAME, logOffset(1));
    expect(texts(broker)).toEqual(['b']);
    const { entries, end } = broker.history(NAME);
    expect([entries.map(({ bytes }) => fromUtf8(bytes)), end]).toEqual([['a', 'b'], 2]);
    expect(broker.bounds(NAME)).toEqual({ start: 1, end: 2 });
  });

  it('reports a problem put on it', async () => {
    const { broker } = await setup();
    const logs = broker.forMember('b');
    await logs.open(SPEC, { create: false });
    broker.setProblem(NAME, 'retention.ms is 7 days');
    expect(await logs.verify()).toEqual([{ log: NAME, problem: 'retention.ms is 7 days' }]);
  });
});

describe('a partition with replicas', () => {
  const read = { bytesMax: 1000, waitMs: 0, signal: new AbortController().signal };

  async function replicated(): Promise<Setup> {
    const clock = new VirtualClock();
    const broker = new MemoryLogBroker({
      clock,
      rng: seededRng(1),
      replicationMs: [10, 10],
      appendTimeoutMs: 100,
    });
    const log = await broker.forMember('a').open(SPEC, { create: true });
    return { clock, broker, log };
  }

  /** Lets the promises that can go on do so, then time pass. */
  async function pass(clock: VirtualClock, ms: number): Promise<void> {
    for (let i = 0; i < 5; i += 1) await Promise.resolve();
    clock.advance(ms);
    for (let i = 0; i < 5; i += 1) await Promise.resolve();
  }

  it('shows and acknowledges a record once the high-water mark has passed it', async () => {
    const { clock, log } = await replicated();
    const appending = log.append(utf8('x'));
    await pass(clock, 9);
    expect(await log.read(logOffset(0), read)).toMatchObject({ kind: 'records', entries: [] });
    await pass(clock, 1);
    expect(await appending).toEqual({ kind: 'appended', offset: 0 });
    expect(await log.read(logOffset(0), read)).toMatchObject({ kind: 'records', end: 1 });
  });

  it.each([0, 1])('a new leader: %i of the uncommitted records survive', async (kept) => {
    const { broker, clock, log } = await replicated();
    const appending = log.append(utf8('x'));
    await pass(clock, 5);
    broker.changeLeader(NAME, { kept, hiddenCount: 0, hiddenMs: 50 });
    expect(await appending).toMatchObject({ kind: 'unknown' });
    await pass(clock, 50);
    expect(texts(broker)).toEqual(kept === 0 ? [] : ['x']);
  });

  it('a new leader may show less for a while: empty, never out of range', async () => {
    const { broker, clock, log } = await replicated();
    const appending = log.append(utf8('x'));
    await pass(clock, 10);
    await appending;
    broker.changeLeader(NAME, { kept: 0, hiddenCount: 1, hiddenMs: 50 });
    expect(await log.read(logOffset(1), read)).toMatchObject({ kind: 'records', end: 0 });
    await pass(clock, 50);
    expect(await log.read(logOffset(0), read)).toMatchObject({ kind: 'records', end: 1 });
  });

  it('too few replicas in sync: nothing is committed, what landed is afterwards', async () => {
    const { broker, clock, log } = await replicated();
    broker.setIsrBelowMin(NAME, true);
    const kinds: string[] = [];
    for (let i = 0; i < 20; i += 1) kinds.push((await log.append(utf8('x'))).kind);
    expect(new Set(kinds)).toEqual(new Set(['absent', 'unknown']));
    await pass(clock, 100);
    expect(texts(broker)).toEqual([]);
    broker.setIsrBelowMin(NAME, false);
    await pass(clock, 10);
    expect(texts(broker)).toHaveLength(kinds.filter((kind) => kind === 'unknown').length);
  });

  it('a stale broker shows the log as it was and loses what it is sent', async () => {
    const { broker, clock, log } = await replicated();
    broker.setStale(true, 'b');
    const other = await broker.forMember('b').open(SPEC, { create: false });
    expect(await other.bounds()).toEqual({ start: 0, end: 0 });
    const appending = log.append(utf8('x'));
    await pass(clock, 10);
    await appending;
    expect(await other.read(logOffset(0), read)).toMatchObject({ kind: 'records', end: 0 });
    const lost = other.append(utf8('y'));
    await pass(clock, 100);
    expect(await lost).toMatchObject({ kind: 'unknown' });
    broker.setStale(false, 'b');
    expect(await other.bounds()).toEqual({ start: 0, end: 1 });
  });

  it('stray: lands after its time, whatever came meanwhile', async () => {
    const { broker, clock, log } = await setup();
    broker.failNextAppend(NAME, { kind: 'stray', delayMs: 50 });
    expect(await log.append(utf8('stray'))).toMatchObject({ kind: 'unknown' });
    for (const text of ['a', 'b']) await log.append(utf8(text));
    clock.advance(50);
    expect(texts(broker)).toEqual(['a', 'b', 'stray']);
  });
});
