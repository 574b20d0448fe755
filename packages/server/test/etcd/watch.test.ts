import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { fromUtf8, utf8, type WriteRequest } from '@kvorum/base';
import {
  type WatchCreateRequestSchema,
  type WatchRequest,
  WatchRequestSchema,
  type WatchResponse,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { Event_EventType } from '@kvorum/wire/gen/mvccpb/kv_pb';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { watchHandlers } from '../../src/etcd/services/watch.ts';
import type { Host } from '../../src/host.ts';
import { Collected, callOf, Pushed, refusal, withoutLeaders } from '../support/etcd-calls.ts';
import { type OneMember, startOneMember, temporaryDirectory } from '../support/one-member.ts';

type Create = MessageInitShape<typeof WatchCreateRequestSchema>;

function textOf({ watchId, header, ...rest }: WatchResponse): string {
  const words = [`${watchId}@${header?.revision}`];
  if (rest.created) words.push('created');
  if (rest.canceled) words.push('canceled');
  if (rest.compactRevision !== 0n) words.push(`compacted ${rest.compactRevision}`);
  if (rest.cancelReason !== '') words.push(`"${rest.cancelReason}"`);
  if (rest.fragment) words.push('fragment');
  for (const { type, kv, prevKv } of rest.events) {
    const name = `${fromUtf8(kv?.key ?? utf8(''))}=${fromUtf8(kv?.value ?? utf8('')).slice(0, 8)}`;
    const before = prevKv === undefined ? '' : `(${fromUtf8(prevKv.value)})`;
    const kind = type === Event_EventType.PUT ? 'put' : 'delete';
    words.push(`${kind} ${name}${before}@${kv?.modRevision}`);
  }
  return words.join(' ');
}

/** One stream, driven by a test. */
class Stream {
  readonly requests = new Pushed<WatchRequest>();
  readonly out = new Collected<WatchResponse>();
  readonly cancelled = new AbortController();
  readonly ended: Promise<string>;
  #seen = 0;

  constructor(host: Host, metadata: Readonly<Record<string, string>> = {}) {
    const call = callOf(metadata, this.cancelled.signal);
    this.ended = refusal(watchHandlers(host).watch(this.requests, this.out, call));
    onTestFinished(() => this.cancelled.abort());
  }

  create(key: string, end = '', more: Create = {}): void {
    const value = { key: utf8(key), rangeEnd: utf8(end), ...more };
    this.requests.push(
      create(WatchRequestSchema, { requestUnion: { case: 'createRequest', value } }),
    );
  }

  cancel(watchId: bigint): void {
    const requestUnion = { case: 'cancelRequest', value: { watchId } } as const;
    this.requests.push(create(WatchRequestSchema, { requestUnion }));
  }

  askProgress(): void {
    const requestUnion = { case: 'progressRequest', value: {} } as const;
    this.requests.push(create(WatchRequestSchema, { requestUnion }));
  }

  /** The next responses, as text. */
  async next(count: number): Promise<readonly string[]> {
    const from = this.#seen;
    this.#seen += count;
    return (await this.out.first(from + count)).slice(from).map(textOf);
  }
}

function member(shards: number) {
  const directory = temporaryDirectory();
  let running: OneMember | undefined;
  beforeAll(async () => {
    running = await startOneMember(directory.path, {
      shards,
      'limits.watchBufferBytesMax': 4096,
      'limits.watchProgressMs': 20,
    });
  });
  afterAll(async () => {
    await running?.stop();
    directory.remove();
  });
  const host = (): Host => {
    if (running === undefined) throw new Error('not started');
    return running.member.host;
  };
  const run = async (request: Parameters<Host['router']['execute']>[0]): Promise<number> => {
    const deadlineMs = host().clock.nowMs() + 20_000;
    return (await host().router.execute(request, { deadlineMs })).response.revision;
  };
  const put = (key: string, value = 'v'): Promise<number> =>
    run({ op: 'put', key: utf8(key), value: utf8(value) });
  const remove = (key: string): Promise<number> => run({ op: 'delete-range', key: utf8(key) });
  return { host, run, put, remove };
}

describe('with one shard', () => {
  const { host, run, put, remove } = member(1);

  it('tells what happens, with previous values and through filters', async () => {
    const at = await put('a', '0');
    const stream = new Stream(host());
    stream.create('a', 'b', { prevKv: true });
    stream.create('a', '', { filters: [0] });
    stream.create('a', '', { filters: [1] });
    expect(await stream.next(3)).toEqual([0, 1, 2].map((id) => `${id}@${at} created`));
    await put('a', '1');
    // Between watches there is no order.
    const puts = await stream.next(2);
    expect(puts).toContain(`0@${at + 1} put a=1(0)@${at + 1}`);
    expect(puts).toContain(`2@${at + 1} put a=1@${at + 1}`);
    await remove('a');
    const deletes = await stream.next(2);
    expect(deletes).toContain(`0@${at + 2} delete a=(1)@${at + 2}`);
    expect(deletes).toContain(`1@${at + 2} delete a=@${at + 2}`);
  });

  it('tells quiet watches that want to know how far they are, and no others', async () => {
    const stream = new Stream(host());
    stream.create('q');
    stream.create('q', '', { progressNotify: true });
    const at = await put('elsewhere');
    await stream.next(2);
    const told = await stream.next(3);
    expect(told.every((one) => one.startsWith('1@'))).toBe(true);
    expect(told.at(-1)).toBe(`1@${at}`);
  });

  it('answers creates in their order and refuses as etcd does, in one response', async () => {
    const at = await put('z');
    const stream = new Stream(host());
    stream.create('b', '', { watchId: 1n });
    stream.create('b');
    stream.create('b', '', { watchId: 1n });
    stream.create('b', 'a');
    stream.create('b', '', { startRevision: -1n });
    stream.create('');
    stream.cancel(7n);
    stream.cancel(0n);
    stream.create('b', '\0', { watchId: -3n });
    stream.create('b');
    expect(await stream.next(9)).toEqual([
      `1@${at} created`,
      `0@${at} created`,
      `-1@${at} created canceled "mvcc: duplicate watch ID provided on the WatchStream"`,
      `-1@${at} created canceled "mvcc: watcher range is empty"`,
      `-1@${at} created canceled "etcdserver: mvcc: required revision has been compacted"`,
      `2@${at} created`,
      `0@${at} canceled`,
      `-3@${at} created`,
      `3@${at} created`,
    ]);
  });

  it('starts in the past, in the future, and after a compaction says where history begins', async () => {
    const first = await put('p', '1');
    await put('p', '2');
    const last = await put('p', '3');
    const stream = new Stream(host());
    stream.create('p', '', { startRevision: BigInt(first) });
    stream.create('p', '', { startRevision: BigInt(last + 2) });
    stream.create('p', '', { startRevision: 2n ** 63n - 1n });
    const started = await stream.next(4);
    for (const text of [
      `0@${last} created`,
      `0@${last} put p=1@${first} put p=2@${first + 1} put p=3@${last}`,
      `1@${last} created`,
      `2@${last} created`,
    ]) {
      expect(started).toContain(text);
    }
    await put('p', '4');
    await put('p', '5');
    const later = await stream.next(3);
    expect(later).toHaveLength(3);
    for (const text of [
      `0@${last + 1} put p=4@${last + 1}`,
      `0@${last + 2} put p=5@${last + 2}`,
      `1@${last + 2} put p=5@${last + 2}`,
    ]) {
      expect(later).toContain(text);
    }
    await run({ op: 'compact', revision: last + 1 });
    const other = new Stream(host());
    other.create('p', '', { startRevision: BigInt(last) });
    other.create('p', '', { startRevision: BigInt(last + 1) });
    const [created, ...rest] = await other.next(4);
    expect(created).toBe(`0@${last + 2} created`);
    for (const text of [
      `0@0 canceled compacted ${last + 1}`,
      `1@${last + 2} created`,
      `1@${last + 2} put p=4@${last + 1} put p=5@${last + 2}`,
    ]) {
      expect(rest).toContain(text);
    }
    // The id stays in use until the client gives it up.
    other.create('p', '', { watchId: 0n });
    other.cancel(0n);
    expect(await other.next(2)).toEqual([`2@${last + 2} created`, `0@${last + 2} canceled`]);
  });

  it('reports progress of all watches in one response, behind the events, once all have caught up', async () => {
    const at = await put('g', '0');
    const stream = new Stream(host());
    stream.askProgress();
    stream.create('g');
    stream.create('none', 'nonf');
    expect(await stream.next(2)).toEqual([`0@${at} created`, `1@${at} created`]);
    await put('g', '1');
    stream.askProgress();
    expect(await stream.next(2)).toEqual([`0@${at + 1} put g=1@${at + 1}`, `-1@${at + 1}`]);
    // No progress below where a watch begins.
    stream.create('later', '', { startRevision: BigInt(at + 100) });
    expect(await stream.next(1)).toEqual([`2@${at + 1} created`]);
    stream.askProgress();
    stream.cancel(2n);
    stream.askProgress();
    expect(await stream.next(2)).toEqual([`2@${at + 1} canceled`, `-1@${at + 1}`]);
  });

  it('cuts what is too large into fragments for who asked so, and only then', async () => {
    const put700 = (key: string): WriteRequest => ({
      op: 'put',
      key: utf8(key),
      value: utf8('x'.repeat(700_000)),
    });
    const at = await run(put700('f1'));
    for (const key of ['f2', 'f3', 'f4']) await run(put700(key));
    const stream = new Stream(host());
    stream.create('f', 'g', { fragment: true, startRevision: BigInt(at) });
    const whole = new Stream(host());
    whole.create('f', 'g', { startRevision: BigInt(at) });
    const keysOf = ({ events }: WatchResponse): string =>
      events.map(({ kv }) => fromUtf8(kv?.key ?? utf8(''))).join(' ');
    const upTo = async (from: Stream): Promise<readonly WatchResponse[]> => {
      for (let count = 2; ; count += 1) {
        const messages = await from.out.first(count);
        if (keysOf(messages[count - 1] as WatchResponse).endsWith('f4')) return messages.slice(1);
      }
    };
    const parts = await upTo(stream);
    expect(parts.map(keysOf).join(' ')).toBe('f1 f2 f3 f4');
    expect((await upTo(whole)).some(({ fragment }) => fragment)).toBe(false);
  });

  it('keeps nothing for a reader that is slow, and loses nothing', async () => {
    const stream = new Stream(host());
    stream.create('slow');
    await stream.next(1);
    stream.out.hasRoom = false;
    const first = await put('slow', '0');
    for (let i = 1; i < 200; i += 1) await put('slow', `${i}`);
    const sent = stream.out.messages.length;
    expect(sent).toBeLessThan(60);
    stream.out.drain();
    const seen = (): readonly string[] =>
      stream.out.messages.flatMap(({ events }) => events.map(({ kv }) => `${kv?.modRevision}`));
    for (let count = sent; seen().length < 200; count += 1) await stream.out.first(count + 1);
    expect(seen()).toEqual(Array.from({ length: 200 }, (_, i) => `${first + i}`));
  });

  it('stays after its client half-closed it, and ends with its call', async () => {
    const stream = new Stream(host());
    stream.create('half');
    stream.requests.end();
    await stream.next(1);
    const at = await put('half');
    expect(await stream.next(1)).toEqual([`0@${at} put half=v@${at}`]);
    stream.cancelled.abort();
    expect(await stream.ended).toBe('CANCELLED etcdserver: watch canceled');
  });

  it('serves 10,000 watches of one member, each what it asked for', async () => {
    const before = process.memoryUsage().heapUsed;
    const streams = Array.from({ length: 10 }, () => new Stream(host()));
    for (const [s, stream] of streams.entries()) {
      for (let i = 0; i < 999; i += 1) stream.create(`many/${s}/${i}`);
      stream.create('many/', 'many0');
    }
    for (const stream of streams) await stream.next(1000);
    const bytesEach = (process.memoryUsage().heapUsed - before) / 10_000;
    const at = await put('many/3/77');
    for (const [s, stream] of streams.entries()) {
      const texts = await stream.next(s === 3 ? 2 : 1);
      const wanted = [`77@${at} put many/3/77=v@${at}`, `999@${at} put many/3/77=v@${at}`];
      expect([...texts].sort()).toEqual(s === 3 ? wanted : wanted.slice(1));
    }
    // Measured: about 5 KB a watch, garbage included.
    expect(bytesEach).toBeLessThan(20_000);
  }, 30_000);
});

describe('with four shards', () => {
  const { host, put } = member(4);

  it('merges the shards of a range, and progress is what all of them have reached', async () => {
    const stream = new Stream(host());
    stream.create('a', 'z');
    await stream.next(1);
    for (const key of ['b', 'c', 'd', 'e', 'f']) await put(key);
    const texts = await stream.next(5);
    expect(texts.map((text) => text.replace(/\d+@\d+ put (.)=.*/, '$1')).sort()).toEqual([
      'b',
      'c',
      'd',
      'e',
      'f',
    ]);
    stream.askProgress();
    const [progress] = await stream.next(1);
    expect(progress).toMatch(/^-1@\d+$/);
  });

  it('refuses a start in the past over several shards and says what would help; in one shard it works', async () => {
    const at = await put('{t}1');
    const stream = new Stream(host());
    stream.create('a', 'z', { startRevision: 1n });
    stream.create('{t}1', '{t}2', { startRevision: BigInt(at) });
    const [refused, ...fine] = await stream.next(3);
    expect(refused).toMatch(/^-1@\d+ created canceled "rpc error: code = FailedPrecondition desc/);
    expect(refused).toContain('every shard has revisions of its own');
    expect(refused).toContain('{a}');
    expect(fine[1]).toBe(`1@${at} put {t}1=v@${at}`);
  });

  it('ends at once without any leader, when that is required', async () => {
    const leaderless = withoutLeaders(host());
    const stream = new Stream(leaderless, { hasleader: 'true' });
    expect(await stream.ended).toBe('UNAVAILABLE etcdserver: no leader');
  });
});
