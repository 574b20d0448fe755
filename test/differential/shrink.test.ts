import { expect, it } from 'vitest';
import { shrink, simplify } from './shrink.ts';

it('leaves out whatever is not needed', async () => {
  const whole = Array.from({ length: 60 }, (_, i) => i);
  const needed = [7, 31, 59];
  const shows = async (sequence: readonly number[]): Promise<boolean> =>
    needed.every((one) => sequence.includes(one));
  expect(await shrink(whole, shows)).toEqual(needed);
});

it('puts simpler steps in the place of those that need not be as they are', async () => {
  const halves = (step: number): number[] => (step <= 1 ? [] : [Math.floor(step / 2)]);
  const shows = async ([first = 0, second = 0]: readonly number[]): Promise<boolean> =>
    first >= 3 && second >= 1;
  expect(await simplify([24, 16], halves, shows)).toEqual([3, 1]);
});
