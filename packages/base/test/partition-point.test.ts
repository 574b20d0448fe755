import { partitionPoint } from '@kvorum/base';
import { expect, it } from 'vitest';

it.each([
  [[], 5, 0],
  [[5], 5, 0],
  [[4], 5, 1],
  [[1, 3, 3, 7], 3, 1],
  [[1, 3, 3, 7], 8, 4],
  [[1, 3, 3, 7], 0, 0],
])('of %j, %i is preceded by %i', (items: readonly number[], wanted, count) => {
  expect(partitionPoint(items, (item) => item < wanted)).toBe(count);
});
