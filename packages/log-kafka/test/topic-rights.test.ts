import { expect, it } from 'vitest';
import { missingRights } from '../src/topic-rights.ts';

const bits = (...operations: readonly number[]): number =>
  operations.reduce((set, operation) => set | (1 << operation), 0);

it('names what a member needs and may not do', () => {
  expect(missingRights(bits(3, 4, 6, 8, 10))).toEqual([]);
  expect(missingRights(bits(3, 8, 10))).toEqual(['Write', 'Delete']);
  expect(missingRights(0)).toEqual(['Describe', 'DescribeConfigs', 'Read', 'Write', 'Delete']);
});

it('takes a broker that says nothing for one that allows everything', () => {
  expect(missingRights(undefined)).toEqual([]);
});
