import { shardId, utf8 } from '@kvorum/base';
import {
  initialShardMap,
  nameOfPlace,
  piecesOfRange,
  placesOfWatch,
  type ShardMap,
  type WatchPlace,
} from '@kvorum/shard';
import { expect, it } from 'vitest';

const NEXT_TO_Z = utf8('z');

/** Slots of an equal share each, as a cluster is founded. */
function founded(shardCount: number): ShardMap {
  const members = [{ id: '0000000000000001', name: 'm1', peer: 'h:1', client: 'h:2' }];
  const uids = Array.from({ length: shardCount }, (_, i) => `${i}`.padStart(32, '0'));
  const clusterId = '0000000000000002';
  return initialShardMap({ clusterId, shardCount, members, rules: [], replicas: 1, uids });
}

/** The same cluster with its slots spread anew. */
function scaled(from: ShardMap, shardCount: number): ShardMap {
  const { slots } = founded(shardCount);
  return { ...from, slots, shardsMade: Math.max(shardCount, from.shards.length) };
}

const all = (map: ShardMap) => piecesOfRange(map, utf8('a'), NEXT_TO_Z);

const textOf = (places: readonly WatchPlace[]): readonly string[] =>
  places.map((place) => `${nameOfPlace(place)} from ${place.start ?? 'now'}`);

it('names a place by its slots, so that it means the same when they live elsewhere', () => {
  expect(all(founded(2)).map(nameOfPlace)).toEqual(['0:0-8191', '1:8192-16383']);
  expect(all(founded(1)).map(nameOfPlace)).toEqual(['0:0-16383']);
});

it('goes on with a watch of all slots where a shard has but one of them', () => {
  const from = founded(2);
  const slots = [
    { from: 0, to: 4, shard: shardId(0) },
    { from: 5, to: 5, shard: shardId(2) },
    { from: 6, to: 8191, shard: shardId(0) },
    { from: 8192, to: 16383, shard: shardId(1) },
  ];
  const map = { ...from, slots, shardsMade: 3 };
  const positions = new Map(all(map).map((place, at) => [nameOfPlace(place), 10 + at]));
  expect(textOf(placesOfWatch(map, all(map), positions, undefined))).toEqual([
    '0:0-4,6-8191 from 10',
    '2:5-5 from 11',
    '1:8192-16383 from 12',
  ]);
});

it('goes on where each slot stood after a split', () => {
  const positions = new Map([
    ['0:0-8191', 10],
    ['1:8192-16383', 20],
  ]);
  const map = scaled(founded(2), 4);
  expect(textOf(placesOfWatch(map, all(map), positions, undefined))).toEqual([
    '0:0-4095 from 10',
    '1:4096-8191 from 10',
    '2:8192-12287 from 20',
    '3:12288-16383 from 20',
  ]);
});

it('goes on where each slot stood after a merge', () => {
  const positions = new Map([
    ['0:0-8191', 10],
    ['1:8192-16383', 20],
  ]);
  const map = scaled(founded(2), 1);
  expect(textOf(placesOfWatch(map, all(map), positions, undefined))).toEqual([
    '0:0-8191 from 10',
    '0:8192-16383 from 20',
  ]);
});

it('begins with what no name has where nothing else is said', () => {
  const map = founded(2);
  const positions = new Map([['0:0-99', 10]]);
  expect(textOf(placesOfWatch(map, all(map), positions, undefined))).toEqual([
    '0:0-99 from 10',
    '0:100-8191 from now',
    '1:8192-16383 from now',
  ]);
});

it('takes the name of a shard alone only while no slot has moved', () => {
  const before = founded(2);
  const positions = new Map([['0', 10]]);
  expect(textOf(placesOfWatch(before, all(before), positions, 7))).toEqual([
    '0:0-8191 from 10',
    '1:8192-16383 from 7',
  ]);
  const after = scaled(before, 4);
  expect(() => placesOfWatch(after, all(after), positions, undefined)).toThrow('slots have moved');
});

it('goes on with a watch of one slot whatever its place is called', () => {
  const map = scaled(founded(2), 4);
  const key = utf8('some/key');
  const pieces = piecesOfRange(map, key, undefined);
  for (const name of ['0', '9', '3:0-16383']) {
    const [place] = placesOfWatch(map, pieces, new Map([[name, 12]]), undefined);
    expect(place).toEqual({ ...pieces[0], start: 12 });
  }
});

it.each(['0:', '0:5', '0:9-5', '0:0-16384', '0:a-b'])('refuses %s', (name) => {
  const map = founded(2);
  const places = () => placesOfWatch(map, all(map), new Map([[name, 1]]), undefined);
  expect(places).toThrow('no place of a watch');
});
