import { type ShardId, shardId } from '@kvorum/base';
import {
  initialShardMap,
  NO_FIGURES,
  planRebalance,
  planSplit,
  SLOT_COUNT,
  type SlotFigures,
  slotWeights,
} from '@kvorum/shard';
import { describe, expect, it } from 'vitest';
import { evenOut, type ShardSlots, secondHalf } from '../src/weighted-plan.ts';

const ID = '1'.padStart(16, '0');
const map = initialShardMap({
  clusterId: ID,
  shardCount: 2,
  members: [{ id: ID, name: 'm1', peer: '', client: '' }],
  rules: [],
  replicas: 1,
  uids: ['a'.repeat(32), 'b'.repeat(32)],
});

function figuresOf(some: Readonly<Record<number, Partial<SlotFigures>>>): readonly SlotFigures[] {
  const all = new Array<SlotFigures>(SLOT_COUNT).fill(NO_FIGURES);
  for (const [slot, figures] of Object.entries(some)) {
    all[Number(slot)] = { ...NO_FIGURES, ...figures };
  }
  return all;
}

const weighing =
  (of: Readonly<Record<number, number>>, other = 0) =>
  (slot: number): number =>
    of[slot] ?? other;

const held = (slots: Readonly<Record<number, readonly number[]>>): readonly ShardSlots[] =>
  Object.entries(slots).map(([id, list]) => ({ shard: shardId(Number(id)), slots: list }));

const to = (id: number): ShardId => shardId(id);

describe('slotWeights', () => {
  it('says nothing of a cold cluster', () => {
    expect(slotWeights(figuresOf({}))).toBeUndefined();
    expect(slotWeights(figuresOf({ 3: { reads: 4, writes: 5, bytes: 1e6 } }))).toBeUndefined();
  });

  it('weighs a slot by its part of load and size', () => {
    const weight = slotWeights(
      figuresOf({ 3: { reads: 50, writes: 50, bytes: 2 ** 25 }, 4: { writes: 100 } }),
    );
    expect(weight?.(3)).toBeCloseTo(0.6, 4);
    expect(weight?.(4)).toBeCloseTo(0.3, 4);
    expect(weight?.(5)).toBeCloseTo(0.1 / SLOT_COUNT, 9);
  });
});

describe('evenOut', () => {
  it('moves nothing while nobody is a tenth above the others', () => {
    const weight = weighing({ 0: 52, 1: 48 });
    expect(evenOut(held({ 0: [0], 1: [1] }), weight)).toEqual([]);
  });

  it('takes one of two hot slots away', () => {
    const weight = weighing({ 0: 50, 1: 50, 2: 1, 3: 1 });
    expect(evenOut(held({ 0: [0, 1, 2], 1: [3] }), weight)).toEqual([
      { shard: to(0), to: to(1), slots: [1] },
    ]);
  });

  it('lets the others leave a slot that weighs more than a share, until it is alone', () => {
    const weight = weighing({ 0: 100, 1: 5, 2: 5, 3: 10 });
    expect(evenOut(held({ 0: [0, 1, 2], 1: [3] }), weight)).toEqual([
      { shard: to(0), to: to(1), slots: [2, 1] },
    ]);
    expect(evenOut(held({ 0: [0], 1: [1, 2, 3] }), weight)).toEqual([]);
  });

  it('never leaves a shard without slots, and no shard gives and takes', () => {
    const weight = weighing({ 0: 9, 1: 9, 2: 9, 3: 1, 4: 1 });
    const moved = evenOut(held({ 0: [0, 1, 2], 1: [3], 2: [4] }), weight);
    expect(moved.map(({ shard }) => shard)).toEqual([to(0), to(0)]);
    expect(new Set(moved.flatMap(({ slots }) => slots))).toEqual(new Set([1, 2]));
  });
});

describe('secondHalf', () => {
  it('is what lies behind the middle by weight', () => {
    expect(secondHalf([1, 2, 3, 4], weighing({}, 1))).toEqual([3, 4]);
    expect(secondHalf([1, 2, 3, 4], weighing({ 1: 3 }, 1))).toEqual([2, 3, 4]);
    expect(secondHalf([1, 2], weighing({}, 1))).toEqual([2]);
  });

  it('is the hot slot alone', () => {
    expect(secondHalf([1, 2, 3, 4], weighing({ 2: 10 }, 1))).toEqual([2]);
    expect(secondHalf([1, 2], weighing({ 1: 10 }, 1))).toEqual([1]);
  });

  it('leaves something on both sides, also without weight', () => {
    expect(secondHalf([1, 2, 3], weighing({}, 0))).toHaveLength(1);
  });
});

describe('plans by weight', () => {
  it('a hot slot is split off alone, and its shard is left alone afterwards', () => {
    const weight = slotWeights(figuresOf({ 17: { writes: 1000 } }));
    const plan = planSplit(map, '0', () => 'c'.repeat(32), weight);
    expect(plan.moves).toEqual([{ from: '0', to: '2', slots: [[17, 17]] }]);
  });

  it('rebalancing a hot shard moves slots to the other one only', () => {
    const weight = slotWeights(figuresOf({ 17: { writes: 500 }, 18: { writes: 500 } }));
    const plan = planRebalance(map, weight);
    expect(plan.moves).toMatchObject([{ from: '0', to: '1', slots: [[18, 18]] }]);
    expect(planRebalance(map, () => 1).moves).toEqual([]);
  });
});
