import { SlotLoad } from '@kvorum/shard';
import { describe, expect, it } from 'vitest';

describe('SlotLoad', () => {
  it('comes to the rate of a steady load, and back to exactly nothing', () => {
    const load = new SlotLoad();
    load.advance(0);
    for (let at = 2000; at <= 200_000; at += 2000) {
      for (let i = 0; i < 20; i += 1) load.write(7, 100);
      for (let i = 0; i < 6; i += 1) load.read(7, 10);
      load.advance(at);
    }
    const { reads, writes, traffic } = load.of(7);
    expect([reads, writes, traffic].map((rate) => Math.round(rate * 10) / 10)).toEqual([
      3, 10, 1030,
    ]);
    expect(load.of(8).writes).toBe(0);
    for (let at = 202_000; at <= 600_000; at += 2000) load.advance(at);
    expect(load.of(7)).toMatchObject({ reads: 0, writes: 0, traffic: 0 });
  });

  it('shows two thirds of a change after 20 seconds, whenever it is looked at', () => {
    const rates = [1000, 4000, 20_000].map((stepMs) => {
      const load = new SlotLoad();
      load.advance(0);
      for (let at = stepMs; at <= 20_000; at += stepMs) {
        for (let i = 0; i < stepMs / 10; i += 1) load.write(0, 1);
        load.advance(at);
      }
      return Math.round(load.of(0).writes);
    });
    expect(rates).toEqual([63, 63, 63]);
  });

  it('counts nothing at a clock that stands or goes back', () => {
    const load = new SlotLoad();
    load.advance(1000);
    load.write(3, 1);
    load.advance(1000);
    load.advance(500);
    expect(load.of(3).writes).toBe(0);
  });

  it('keeps the sizes that another shard told when the former one tells that the slot is gone', () => {
    const load = new SlotLoad();
    const size = { keys: 5, bytes: 500 };
    load.setSizes(
      '0',
      new Map([
        [1, size],
        [2, size],
      ]),
    );
    load.setSizes('4', new Map([[2, { keys: 6, bytes: 600 }]]));
    load.setSizes('0', new Map([[1, size]]));
    expect(load.of(2)).toMatchObject({ keys: 6, bytes: 600 });
    expect(load.sum([[0, 10]])).toMatchObject({ keys: 11, bytes: 1100 });
    load.setSizes('4', new Map());
    expect(load.sum([[0, 16_383]])).toMatchObject({ keys: 5, bytes: 500 });
  });
});
