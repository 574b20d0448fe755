import { expect, it } from 'vitest';
import { classifyProduce, errorName, parseOffset, reasonOf } from '../src/kafka-errors.ts';

it('parses offsets as numbers, exactly or not at all', () => {
  expect(parseOffset('0')).toBe(0);
  expect([parseOffset('9'), parseOffset('10')]).toEqual([9, 10]);
  expect(parseOffset('9007199254740991')).toBe(Number.MAX_SAFE_INTEGER);
  expect(parseOffset('9007199254740992')).toBeUndefined();
  expect(parseOffset('-1')).toBeUndefined();
  expect(parseOffset('')).toBeUndefined();
  expect(parseOffset(undefined)).toBeUndefined();
});

it.each([
  ['NOT_ENOUGH_REPLICAS', 19, 'absent'],
  ['INVALID_RECORD', 87, 'absent'],
  ['CORRUPT_MESSAGE', 2, 'absent'],
  ['INVALID_TIMESTAMP', 32, 'absent'],
  ['TOPIC_AUTHORIZATION_FAILED', 29, 'absent'],
  ['MESSAGE_TOO_LARGE', 10, 'oversize'],
  ['RECORD_LIST_TOO_LARGE', 18, 'oversize'],
  ['REQUEST_TIMED_OUT', 7, 'unknown'],
  ['NOT_ENOUGH_REPLICAS_AFTER_APPEND', 20, 'unknown'],
  ['NOT_LEADER_FOR_PARTITION', 6, 'unknown'],
  ['UNKNOWN_TOPIC_OR_PARTITION', 3, 'unknown'],
  ['KAFKA_STORAGE_ERROR', 56, 'unknown'],
  ['DUPLICATE_SEQUENCE_NUMBER', 46, 'unknown'],
  ['UNKNOWN', -1, 'unknown'],
] as const)('%s (%i) in answer to a produce means %s', (name, code, meaning) => {
  expect(classifyProduce(code)).toBe(meaning);
  expect(errorName(code)).toBe(`${name} (${code})`);
});

it('gives the reason of the innermost error, however kafkajs wraps it', () => {
  const inner = Object.assign(new Error('the broker said no'), { type: 'NOT_CONTROLLER' });
  const wrapper = Object.assign(new Error('gave up after retries'), { originalError: inner });
  expect(reasonOf(new Error('outer', { cause: wrapper }))).toBe(
    'NOT_CONTROLLER: the broker said no',
  );
  expect(reasonOf('text')).toBe('text');
});
