import { KvError } from '@kvorum/base';
import { expect, it } from 'vitest';
import { type ObservedMember, troubles } from '../src/cli/dev-trouble.ts';

interface Shard {
  readonly leader?: bigint;
  readonly halted?: { readonly reason: string; readonly detail: string };
}

function member(
  name: string,
  shards: Readonly<Record<string, Shard>>,
  refusal?: KvError,
): ObservedMember {
  const replicas = Object.entries(shards).map(([shard, { leader, halted }]) => ({
    shard,
    status: () => ({ raft: { leader, halted } }),
  }));
  return {
    name,
    host: {
      refusal: () => refusal,
      replicas: () => replicas,
    },
  };
}

const LED: Shard = { leader: 1n };
const HALTED: Shard = { halted: { reason: 'log-end-moved-back', detail: 'from 9 to 2' } };

it('finds nothing wrong where everything serves', () => {
  expect(troubles([member('m1', { '0': LED }), member('m2', { '0': LED })])).toEqual([]);
});

it('names halted shards with the members and the reason, once each', () => {
  const members = ['m1', 'm2'].map((name) => member(name, { '0': HALTED, '1': LED }));
  expect(troubles(members)).toEqual([
    'shard 0 is halted on m1, m2 (log-end-moved-back: from 9 to 2)',
  ]);
});

it('names shards without a leader, and members that do not serve yet', () => {
  const starting = new KvError('KV_UNAVAILABLE', 'member m2 is starting (opening its shards)');
  expect(
    troubles([member('m1', { '0': {}, '1': LED }), member('m2', { '0': {} }, starting)]),
  ).toEqual([
    'm2 does not serve yet (member m2 is starting (opening its shards))',
    'shard 0 has no leader',
  ]);
});
