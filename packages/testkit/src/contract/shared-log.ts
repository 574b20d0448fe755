import { fromUtf8, type LogOffset, logOffset, type ShardId, shardId, utf8 } from '@kvorum/base';
import type { AppendOutcome, LogBounds, LogEntry, SharedLog, SharedLogs } from '@kvorum/ports';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

/** One shared log service, empty at first, and what removes it. */
export interface SharedLogFixture {
  /** The same logs, as one more member opens them. */
  openMember(): Promise<SharedLogs>;
  /** Closes everything and opens it again over the same data; absent where nothing is kept. */
  restart?(): Promise<void>;
  /** Largest record that the log takes, in bytes. */
  readonly recordBytesMax: number;
  dispose(): Promise<void>;
}

/** Long enough that a wait that should end early is seen to, on a busy machine. */
const LONG_MS = 10_000;
const never = (): AbortSignal => new AbortController().signal;

interface ReadArguments {
  readonly bytesMax?: number;
  readonly waitMs?: number;
  readonly signal?: AbortSignal;
}

async function readRecords(
  log: SharedLog,
  from: number,
  { bytesMax = 1 << 23, waitMs = LONG_MS, signal = never() }: ReadArguments = {},
): Promise<readonly LogEntry[]> {
  const outcome = await log.read(logOffset(from), { bytesMax, waitMs, signal });
  expect(outcome.kind).toBe('records');
  return outcome.kind === 'records' ? outcome.entries : [];
}

/** Reads until `count` records came, in as many reads as it takes. */
async function readCount(log: SharedLog, from: number, count: number): Promise<LogEntry[]> {
  const entries: LogEntry[] = [];
  let next = from;
  while (entries.length < count) {
    const more = await readRecords(log, next);
    expect(more.length).toBeGreaterThan(0);
    entries.push(...more);
    next = (entries.at(-1)?.offset ?? next) + 1;
  }
  return entries;
}

const texts = (entries: readonly LogEntry[]): readonly string[] =>
  entries.map(({ bytes }) => fromUtf8(bytes));

async function append(log: SharedLog, text: string): Promise<LogOffset> {
  return appendedAt(await log.append(utf8(text)));
}

function appendedAt(outcome: AppendOutcome): LogOffset {
  if (outcome.kind !== 'appended') throw outcome.error;
  return outcome.offset;
}

async function boundsOf(log: SharedLog): Promise<LogBounds> {
  const bounds = await log.bounds();
  if ('kind' in bounds) throw bounds.error;
  return bounds;
}

/** Runs the same tests over any SharedLogs; called from a test file of the adapter. */
export function describeSharedLogContract(
  name: string,
  createFixture: () => Promise<SharedLogFixture>,
): void {
  describe(`SharedLog contract: ${name}`, () => {
    let fixture: SharedLogFixture;
    let logs: SharedLogs;
    let log: SharedLog;
    let shards = 0;
    const newShard = (): ShardId => {
      shards += 1;
      return shardId(shards);
    };
    const member = async (): Promise<SharedLogs> => {
      const opened = await fixture.openMember();
      members.push(opened);
      return opened;
    };
    const members: SharedLogs[] = [];

    beforeAll(async () => {
      fixture = await createFixture();
    });
    afterAll(async () => {
      await fixture.dispose();
    });
    // One service for all tests (a Kafka takes seconds to start), a fresh log for each.
    beforeEach(async () => {
      logs = await member();
      log = await logs.open({ shard: newShard(), generation: 0 }, { create: true });
    });
    afterEach(async () => {
      await Promise.all(members.splice(0).map((opened) => opened.close()));
    });

    const tools = (): Tools => ({ fixture, logs, log, member, shard: shardId(shards), newShard });
    describeAppend(tools);
    describeRead(tools);
    describeTruncate(tools);
    describeOpen(tools);
  });
}

interface Tools {
  readonly fixture: SharedLogFixture;
  readonly logs: SharedLogs;
  /** A fresh log, of `shard` and generation 0. */
  readonly log: SharedLog;
  readonly shard: ShardId;
  readonly member: () => Promise<SharedLogs>;
  readonly newShard: () => ShardId;
}

function describeAppend(tools: () => Tools): void {
  it('appends one after the other at rising offsets', async () => {
    const { log } = tools();
    const first = await append(log, 'a');
    expect(await append(log, 'b')).toBe(first + 1);
    expect(await append(log, 'c')).toBe(first + 2);
    expect(texts(await readCount(log, first, 3))).toEqual(['a', 'b', 'c']);
  });

  it('an acknowledged record is readable at once at its offset, by any member', async () => {
    const { log, shard, member } = tools();
    const other = await (await member()).open({ shard, generation: 0 }, { create: false });
    for (const text of ['a', 'b', 'c']) {
      const offset = await append(log, text);
      expect((await readRecords(other, offset))[0]).toEqual({ offset, bytes: utf8(text) });
    }
  });

  it('orders the appends of several members one way for all', async () => {
    const { log, shard, member } = tools();
    const other = await (await member()).open({ shard, generation: 0 }, { create: false });
    const each = async (writer: SharedLog, tag: string): Promise<readonly LogOffset[]> => {
      const offsets: LogOffset[] = [];
      for (let i = 0; i < 20; i += 1) offsets.push(await append(writer, `${tag}${i}`));
      return offsets;
    };
    const [mine, theirs] = await Promise.all([each(log, 'a'), each(other, 'b')]);
    const start = (await boundsOf(log)).start;
    const [seen, seenByOther] = [
      await readCount(log, start, 40),
      await readCount(other, start, 40),
    ];
    expect(seen).toEqual(seenByOther);
    const at = (offset: LogOffset): string | undefined =>
      texts(seen.filter((entry) => entry.offset === offset))[0];
    expect(mine.map(at)).toEqual(mine.map((_, i) => `a${i}`));
    expect(theirs.map(at)).toEqual(theirs.map((_, i) => `b${i}`));
  });

  it('keeps any bytes, also none', async () => {
    const { log } = tools();
    const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) & 0xff);
    const first = appendedAt(await log.append(bytes));
    appendedAt(await log.append(new Uint8Array(0)));
    const entries = await readCount(log, first, 2);
    expect(entries.map((entry) => Uint8Array.from(entry.bytes))).toEqual([
      bytes,
      new Uint8Array(0),
    ]);
  });

  it('takes the largest record, refuses a larger one as absent, and goes on', async () => {
    const { fixture, log } = tools();
    const largest = new Uint8Array(fixture.recordBytesMax).fill(7);
    const first = appendedAt(await log.append(largest));
    const refused = await log.append(new Uint8Array(fixture.recordBytesMax + 1));
    expect(refused).toMatchObject({ kind: 'absent', oversize: true });
    expect(await append(log, 'next')).toBe(first + 1);
    const entries = await readCount(log, first, 2);
    expect(entries.map((entry) => entry.bytes.length)).toEqual([largest.length, 4]);
  });

  it('does not need the record after the answer', async () => {
    const { log } = tools();
    const record = utf8('before');
    const first = appendedAt(await log.append(record));
    record.fill(0);
    expect(texts(await readCount(log, first, 1))).toEqual(['before']);
  });
}

function describeRead(tools: () => Tools): void {
  it('reads from any offset on', async () => {
    const { log } = tools();
    const first = await append(log, 'a');
    await append(log, 'b');
    await append(log, 'c');
    expect(texts(await readCount(log, first + 1, 2))).toEqual(['b', 'c']);
    expect(texts(await readCount(log, first + 2, 1))).toEqual(['c']);
  });

  it('gives at least one whole record, whatever the byte limit', async () => {
    const { log } = tools();
    const first = appendedAt(await log.append(new Uint8Array(100_000)));
    await append(log, 'b');
    const entries = await readRecords(log, first, { bytesMax: 1 });
    expect(entries[0]?.bytes.length).toBe(100_000);
  });

  it('gives no records at the end when the wait is over, with the end', async () => {
    const { log } = tools();
    const end = logOffset((await append(log, 'a')) + 1);
    const outcome = await log.read(end, { bytesMax: 1000, waitMs: 20, signal: never() });
    expect(outcome).toEqual({ kind: 'records', entries: [], end });
  });

  it('wakes a waiting reader for a new record', async () => {
    const { log, shard, member } = tools();
    const other = await (await member()).open({ shard, generation: 0 }, { create: false });
    const end = (await append(log, 'a')) + 1;
    const waiting = readRecords(other, end);
    await append(log, 'b');
    expect(texts(await waiting)).toEqual(['b']);
  });

  it('ends a wait with the signal, and can be read again', async () => {
    const { log } = tools();
    const end = (await append(log, 'a')) + 1;
    const abort = new AbortController();
    const waiting = readRecords(log, end, { signal: abort.signal });
    abort.abort();
    expect(await waiting).toEqual([]);
    expect(await readRecords(log, end - 1, { signal: abort.signal })).toEqual([]);
    const again = readRecords(log, end);
    await append(log, 'b');
    expect(texts(await again)).toEqual(['b']);
  });

  it('says out of range above the end, with the bounds', async () => {
    const { log } = tools();
    const last = await append(log, 'a');
    const bounds = await boundsOf(log);
    expect(bounds.end).toBe(last + 1);
    const above = logOffset(bounds.end + 5);
    const outcome = await log.read(above, { bytesMax: 1000, waitMs: LONG_MS, signal: never() });
    expect(outcome).toEqual({ kind: 'out-of-range', bounds });
  });
}

function describeTruncate(tools: () => Tools): void {
  it('deletes below an offset and keeps the rest where it was', async () => {
    const { log, shard, member } = tools();
    const other = await (await member()).open({ shard, generation: 0 }, { create: false });
    const first = await append(log, 'a');
    await append(log, 'b');
    await append(log, 'c');
    await log.truncate(logOffset(first + 2));
    const bounds = { start: first + 2, end: first + 3 };
    expect(await boundsOf(log)).toEqual(bounds);
    expect(texts(await readCount(log, first + 2, 1))).toEqual(['c']);
    const below = await other.read(logOffset(first), {
      bytesMax: 1000,
      waitMs: LONG_MS,
      signal: never(),
    });
    expect(below).toEqual({ kind: 'out-of-range', bounds });
    expect(await append(log, 'd')).toBe(first + 3);
  });

  it('never deletes records that do not exist yet, and takes no step back', async () => {
    const { log } = tools();
    const first = await append(log, 'a');
    await log.truncate(logOffset(first + 1));
    await log.truncate(logOffset(first));
    await log.truncate(logOffset(first + 100));
    expect(await boundsOf(log)).toMatchObject({ end: first + 1 });
    expect(await append(log, 'b')).toBe(first + 1);
    expect(texts(await readCount(log, first + 1, 1))).toEqual(['b']);
  });
}

function describeOpen(tools: () => Tools): void {
  it('starts empty', async () => {
    const bounds = await boundsOf(tools().log);
    expect(bounds.start).toBe(bounds.end);
  });

  it('does not create what it was not told to create', async () => {
    const { logs, newShard } = tools();
    await expect(
      logs.open({ shard: newShard(), generation: 0 }, { create: false }),
    ).rejects.toMatchObject({ code: 'KV_LOG_MISCONFIGURED' });
  });

  it('keeps shards and generations apart', async () => {
    const { log, logs, shard, newShard } = tools();
    const next = await logs.open({ shard, generation: 1 }, { create: true });
    const sibling = await logs.open({ shard: newShard(), generation: 0 }, { create: true });
    expect(next.name).toBe(`${log.name}.g1`);
    const opened = [log, next, sibling];
    const offsets = await Promise.all(opened.map((one) => append(one, one.name)));
    for (const [i, one] of opened.entries()) {
      expect(texts(await readCount(one, offsets[i] ?? 0, 1))).toEqual([one.name]);
    }
  });

  it('finds no problem in logs that it created', async () => {
    expect(await tools().logs.verify()).toEqual([]);
  });

  it('answers a waiting reader and an append after close', async () => {
    const { log } = tools();
    const end = logOffset((await append(log, 'a')) + 1);
    const waiting = log.read(end, { bytesMax: 1000, waitMs: LONG_MS, signal: never() });
    await log.close();
    expect(await waiting).toMatchObject({ kind: 'unavailable' });
    expect(await log.append(utf8('b'))).toMatchObject({ kind: 'absent', oversize: false });
    expect(await log.bounds()).toMatchObject({ kind: 'unavailable' });
  });

  it('keeps records, start and end over a restart', async ({ skip }) => {
    const { fixture, log, shard, member } = tools();
    if (fixture.restart === undefined) return skip('nothing is kept');
    const first = await append(log, 'a');
    await append(log, 'b');
    await log.truncate(logOffset(first + 1));
    await fixture.restart();
    const again = await (await member()).open({ shard, generation: 0 }, { create: false });
    expect(await boundsOf(again)).toEqual({ start: first + 1, end: first + 2 });
    expect(texts(await readCount(again, first + 1, 1))).toEqual(['b']);
    await again.truncate(logOffset(first + 2));
    await fixture.restart();
    const empty = await (await member()).open({ shard, generation: 0 }, { create: false });
    expect(await append(empty, 'c')).toBe(first + 2);
  });
}
