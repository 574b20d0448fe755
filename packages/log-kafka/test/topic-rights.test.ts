import { expect, it } from 'vitest';
import { missingRights, type Operation } from '../src/topic-rights.ts';

const NEEDED: readonly Operation[] = ['Describe', 'DescribeConfigs', 'Read', 'Write', 'Delete'];
const bits = (...operations: readonly number[]): number =>
  operations.reduce((set, operation) => set | (1 << operation), 0);

it('names what a member needs and may not do', () => {
  expect(missingRights(bits(3, 4, 6, 8, 10), NEEDED)).toEqual([]);
  expect(missingRights(bits(3, 8, 10), NEEDED)).toEqual(['Write', 'Delete']);
  expect(missingRights(0, NEEDED)).toEqual(NEEDED);
});

it('takes a broker that says nothing for one that allows everything', () => {
  expect(missingRights(undefined, NEEDED)).toEqual([]);
});
