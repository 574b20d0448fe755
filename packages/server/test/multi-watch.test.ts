import { KvError, revision, type ShardId, shardId, utf8, type WatchRequest } from '@kvorum/base';
import type { WatchSink } from '@kvorum/replica';
import { initialShardMap, type ShardMap } from '@kvorum/shard';
import { VirtualClock } from '@kvorum/testkit';
import { expect, it } from 'vitest';
import { MultiWatch } from '../src/router/multi-watch.ts';
import { decodeResumeToken } from '../src/router/resume-token.ts';

const RANGE = { key: utf8('a'), rangeEnd: utf8('z') };

/** Slots of an equal share each; `shardsMade`: they have moved since the cluster was founded. */
function mapOf(shardCount: number, shardsMade?: number): ShardMap {
  const map = initialShardMap({
    clusterId: '0000000000000002',
    shardCount,
    members: [{ id: '0000000000000001', name: 'm1', peer: 'h:1', client: 'h:2' }],
    rules: [],
    replicas: 1,
    uids: Array.from({ length: shardCount }, (_, i) => `${i}`.padStart(32, '0')),
  });
  return shardsMade === undefined ? map : { ...map, shardsMade };
}

interface Opened {
  readonly shard: ShardId;
  readonly request: WatchRequest;
  readonly sink: WatchSink;
}

function watched(map: ShardMap, request: WatchRequest, resume?: ReadonlyMap<string, number>) {
  const rig = { map, opened: [] as Opened[], cancelled: [] as KvError[], token: () => '' };
  const clock = new VirtualClock();
  const host = {
    clock,
    map: () => rig.map,
    watches: {
      watch: (shard: ShardId, asked: WatchRequest, sink: WatchSink) => {
        rig.opened.push({ shard, request: asked, sink });
        return { resume: () => undefined, progress: () => undefined, cancel: () => undefined };
      },
    },
  };
  const watch = new MultiWatch(host, request, resume, {
    created: () => undefined,
    events: () => true,
    cancelled: (error) => rig.cancelled.push(error),
  });
  const position = () => {
    const decoded = decodeResumeToken(watch.token());
    return decoded.ok ? Object.fromEntries(decoded.value) : decoded.error;
  };
  return { ...rig, rig, clock, position };
}

const textOf = (opened: readonly Opened[]) =>
  opened.map(
    ({ shard, request }) =>
      `${shard}:${(request.slots ?? []).map((span) => span.join('-')).join(',')} from ${request.startRevision}`,
  );

it('begins where the token of the version before says, while no slot has moved', () => {
  const { opened } = watched(mapOf(2), RANGE, new Map([['0', 10]]));
  expect(textOf(opened)).toEqual(['0:0-8191 from 10', '1:8192-16383 from 0']);
});

it('refuses such a token once slots have moved: it does not say where they stood', () => {
  expect(() => watched(mapOf(4, 4), RANGE, new Map([['0', 10]]))).toThrow('slots have moved');
});

it('begins with the rest of a shard where only some of its slots have a position', () => {
  const { opened } = watched(mapOf(2), RANGE, new Map([['0:0-99', 10]]));
  expect(textOf(opened)).toEqual(['0:0-99 from 10', '0:100-8191 from 0', '1:8192-16383 from 0']);
});

it('goes on at the shards that have its slots now, from where it stood', () => {
  const { rig, opened, clock, position } = watched(mapOf(1), RANGE);
  opened[0]?.sink.created(revision(6));
  expect(position()).toEqual({ '0:0-16383': 7 });
  rig.map = mapOf(2, 2);
  opened[0]?.sink.cancelled(new KvError('KV_WRONG_SHARD'));
  clock.advance(1000);
  expect(textOf(rig.opened.slice(1))).toEqual(['0:0-8191 from 7', '1:8192-16383 from 7']);
  expect(position()).toEqual({ '0:0-8191': 7, '1:8192-16383': 7 });
});

it('tells the shard of one key nothing of slots, and goes on at another one', () => {
  const { rig, opened, clock } = watched(mapOf(1), { key: utf8('some/key'), startRevision: 5 });
  expect(opened[0]?.request).toEqual({ key: utf8('some/key'), startRevision: 5 });
  rig.map = { ...mapOf(2, 2), slots: [{ from: 0, to: 16_383, shard: shardId(1) }] };
  opened[0]?.sink.cancelled(new KvError('KV_WRONG_SHARD'));
  clock.advance(1000);
  expect(rig.opened[1]).toMatchObject({ shard: '1', request: { startRevision: 5 } });
});
