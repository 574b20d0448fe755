import { create } from '@bufbuild/protobuf';
import { revision, utf8 } from '@kvorum/base';
import {
  type WatchRequest,
  WatchRequestSchema,
  type WatchResponse,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { expect, it, onTestFinished, vi } from 'vitest';
import { watchHandlers } from '../../src/etcd/services/watch.ts';
import { Collected, callOf } from '../support/etcd-calls.ts';
import { useOneMember } from '../support/use-member.ts';

const member = useOneMember();

const creation = (key: Uint8Array): WatchRequest =>
  create(WatchRequestSchema, { requestUnion: { case: 'createRequest', value: { key } } });
const cancellation = (watchId: bigint): WatchRequest =>
  create(WatchRequestSchema, { requestUnion: { case: 'cancelRequest', value: { watchId } } });
const question = create(WatchRequestSchema, {
  requestUnion: { case: 'progressRequest', value: {} },
});

/** As if the shards were somewhere else; `stands`: whether they answer that a watch stands. Returns how often they are asked for progress. */
function putShardsAway(stands: boolean): () => number {
  let asked = 0;
  const watch = vi.spyOn(member.member.host.watches, 'watch');
  watch.mockImplementation((_shard, _request, sink) => {
    if (stands) queueMicrotask(() => sink.created(revision(1)));
    const progress = (): void => {
      asked += 1;
      queueMicrotask(() => sink.events([], revision(1), 0));
    };
    return { resume: () => undefined, cancel: () => undefined, progress };
  });
  onTestFinished(() => watch.mockRestore());
  return () => asked;
}

/** A stream of these requests; says how many were taken, and what the stream holds. */
function streamOf(requests: () => Iterable<WatchRequest>) {
  const state = { taken: 0, held: 0, heldMax: 0 };
  const over = new AbortController();
  onTestFinished(() => over.abort());
  const out = new Collected<WatchResponse>();
  async function* taken() {
    for (const request of requests()) {
      state.taken += 1;
      yield request;
    }
  }
  const holds = (change: number): void => {
    state.held += change;
    state.heldMax = Math.max(state.heldMax, state.held);
  };
  const call = { ...callOf({}, over.signal), holds };
  const done = watchHandlers(member.member.host).watch(taken(), out, call);
  done.catch(() => undefined);
  return { state, out, done, over };
}

it('who asks for watches that nobody answers, and cancels them, is not read on and on', async () => {
  function* requests() {
    yield creation(utf8('k'));
    for (let id = 1n; id < 50_000n; id += 1n) {
      yield creation(utf8('k'));
      yield cancellation(id);
    }
  }
  putShardsAway(false);
  const { state } = streamOf(requests);
  let before = -1;
  while (state.taken !== before) {
    before = state.taken;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(state.taken).toBeLessThan(40_000);
});

it('questions for progress that come together are asked together, and each is answered', async () => {
  const WATCHES = 500;
  const QUESTIONS = 2000;
  function* requests() {
    for (let i = 0; i < WATCHES; i += 1) yield creation(utf8('k'));
    for (let i = 0; i < QUESTIONS; i += 1) yield question;
  }
  const asked = putShardsAway(true);
  const { out } = streamOf(requests);
  const answers = await out.first(WATCHES + QUESTIONS);
  expect(answers.at(-1)).toMatchObject({ watchId: -1n });
  expect(asked()).toBeLessThan(WATCHES * 50);
});

it('the keys of its watches are held for a stream as long as they stand', async () => {
  const key = new Uint8Array(100_000).fill(1);
  function* requests() {
    for (let i = 0n; i < 10n; i += 1n) {
      yield creation(key);
      if (i >= 5n) yield cancellation(i);
    }
  }
  putShardsAway(true);
  const { state, out, over, done } = streamOf(requests);
  await out.first(15);
  expect(state.held).toBeGreaterThanOrEqual(5 * key.length);
  expect(state.held).toBeLessThan(6 * key.length);
  over.abort();
  await done.catch(() => undefined);
  expect(state.held).toBe(0);
});
