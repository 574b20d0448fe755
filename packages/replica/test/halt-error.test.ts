import { shardId } from '@kvorum/base';
import { haltError } from '@kvorum/replica';
import { expect, it } from 'vitest';

it('says whether the log or this member is to blame, without a stack', () => {
  const log = haltError(shardId(0), { reason: 'seq-gap', detail: 'record at offset 7: seq-gap' });
  expect(log.message).toBe(
    'kv: shard halted: its log contradicts this replica (seq-gap): record at offset 7: seq-gap',
  );
  expect(log.details.hint).toContain('kvctl shard recover 0');
  const detail = 'InvariantError: write set for revision 4\n    at apply (apply-loop.ts:1:2)';
  const own = haltError(shardId(0), { reason: 'apply-failed', detail });
  expect(own.message).toBe(
    'kv: shard halted: this replica failed (apply-failed): InvariantError: write set for revision 4',
  );
  expect(own.details.hint).toContain('report it');
});
