import { expect, it } from 'vitest';
import { operate } from '../src/commands/bench.ts';

it('gives every operation the time that --timeout says, not that of a dial', async () => {
  const asked: unknown[] = [];
  const client = {
    put: (key: string, _value: Uint8Array, options: unknown) => {
      asked.push([key, options]);
      return Promise.resolve();
    },
    get: (key: string, options: unknown) => {
      asked.push([key, options]);
      return Promise.resolve();
    },
  };
  const value = new Uint8Array(1);
  const plan = { kind: 'mixed', keys: 10, prefix: 'b-' } as const;
  for (const at of [0, 1]) await operate(client, plan, at, { value, timeoutMs: 120_000 });
  expect(asked).toEqual([
    ['b-0', { timeoutMs: 120_000 }],
    ['b-1', { timeoutMs: 120_000 }],
  ]);
});
