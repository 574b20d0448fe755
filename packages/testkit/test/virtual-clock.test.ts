import { InvariantError } from '@kvorum/base';
import { seededRng, VirtualClock } from '@kvorum/testkit';
import { describe, expect, it } from 'vitest';

describe('VirtualClock', () => {
  it('fires timers in order of due time, then of creation, at their own time', () => {
    const clock = new VirtualClock();
    const fired: string[] = [];
    const timer = (name: string, delayMs: number): (() => void) =>
      clock.setTimer(delayMs, () => fired.push(`${name}@${clock.nowMs()}`));
    timer('c', 20);
    timer('a', 10);
    timer('b', 10);
    timer('late', 21);
    clock.advance(20);
    expect(fired).toEqual(['a@10', 'b@10', 'c@20']);
    expect(clock.nowMs()).toBe(20);
  });

  it('fires timers that timers create, while they fall due', () => {
    const clock = new VirtualClock();
    const times: number[] = [];
    const tick = (): void => {
      times.push(clock.nowMs());
      clock.setTimer(10, tick);
    };
    clock.setTimer(10, tick);
    clock.advance(35);
    expect(times).toEqual([10, 20, 30]);
    expect(clock.nextTimerMs()).toBe(40);
  });

  it('cancels, also from a timer of the same moment, and harmlessly after firing', () => {
    const clock = new VirtualClock();
    const fired: string[] = [];
    let cancelB = (): void => undefined;
    const cancelA = clock.setTimer(5, () => {
      fired.push('a');
      cancelB();
    });
    cancelB = clock.setTimer(5, () => fired.push('b'));
    clock.advance(5);
    cancelA();
    expect(fired).toEqual(['a']);
    expect(clock.nextTimerMs()).toBeUndefined();
    expect(clock.advanceToNextTimer()).toBe(false);
  });

  it('orders thousands of random timers', () => {
    const clock = new VirtualClock();
    const rng = seededRng(3);
    const fired: number[] = [];
    for (let i = 0; i < 3000; i += 1) {
      const cancel = clock.setTimer(rng.integer(0, 500), () => fired.push(clock.nowMs()));
      if (i % 3 === 0) cancel();
    }
    while (clock.advanceToNextTimer()) {
      // until no timer is left
    }
    expect(fired.length).toBe(2000);
    expect(fired).toEqual([...fired].sort((a, b) => a - b));
  });
});

describe('seededRng', () => {
  it('gives the same numbers for the same seed: printed seeds must replay for ever', () => {
    const rng = seededRng(42);
    const numbers = Array.from({ length: 6 }, () => rng.integer(0, 1_000_000));
    expect(numbers).toMatchInlineSnapshot(`
      [
        413701,
        3983,
        650083,
        684602,
        830647,
        736241,
      ]
    `);
    expect([...rng.bytes(6)]).toMatchInlineSnapshot(`
      [
        206,
        135,
        42,
        95,
        131,
        85,
      ]
    `);
    expect(seededRng(43).integer(0, 1_000_000)).not.toBe(numbers[0]);
  });

  it('is uniform enough, within its bounds', () => {
    const rng = seededRng(1);
    const counts = new Map<number, number>();
    for (let i = 0; i < 60_000; i += 1) {
      const value = rng.integer(-3, 3);
      counts.set(value, (counts.get(value) ?? 0) + 1);
    }
    expect([...counts.keys()].sort((a, b) => a - b)).toEqual([-3, -2, -1, 0, 1, 2]);
    for (const count of counts.values()) expect(Math.abs(count - 10_000)).toBeLessThan(500);
  });

  it('refuses an empty range', () => {
    expect(() => seededRng(1).integer(5, 5)).toThrow(InvariantError);
  });
});
