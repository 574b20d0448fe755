import { createRequire } from 'node:module';
import { crc32c } from '@kvorum/base';
import { seededRng } from '@kvorum/testkit';
import { describe, expect, it } from 'vitest';
import { encodeProduce, RECORD_OVERHEAD_BYTES } from '../src/produce-request.ts';

const require = createRequire(import.meta.url);
const kafkajsCrc32c = require('kafkajs/src/protocol/recordBatch/crc32C') as (b: Buffer) => number;
const Encoder = require('kafkajs/src/protocol/encoder') as new () => {
  writeInt32(value: number): { readonly buffer: Buffer };
};
const requestV7 = require('kafkajs/src/protocol/requests/produce/v7/request') as (
  payload: object,
) => object;
const createRequest = require('kafkajs/src/protocol/request') as (parts: {
  correlationId: number;
  clientId: string;
  request: object;
}) => Promise<{ readonly buffer: Buffer }>;
const Long = require('kafkajs/src/utils/long') as { fromValue(value: number): unknown };

const rng = seededRng(1);
const SIZES = [0, 1, 7, 8, 9, 63, 64, 127, 128, 8191, 8192, 400_000, 2_100_000];

describe('crc32c', () => {
  it('of "123456789" is the catalogued check value', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  });

  it.each(SIZES)('of %i bytes is what kafkajs computes', (size) => {
    const bytes = Buffer.from(rng.bytes(size));
    expect(crc32c(bytes)).toBe(kafkajsCrc32c(bytes));
  });

  it('continues over pieces', () => {
    const bytes = rng.bytes(1000);
    const pieces = [0, 1, 13, 500, 999, 1000];
    let crc = 0;
    for (const [i, from] of pieces.entries())
      crc = crc32c(bytes.subarray(from, pieces[i + 1]), crc);
    expect(crc).toBe(crc32c(bytes));
  });
});

describe('encodeProduce', () => {
  it.each(SIZES)('a record of %i bytes: the same bytes as kafkajs', async (size) => {
    const record = Buffer.from(rng.bytes(size));
    const timestampMs = 1_700_000_000_123;
    const ours = encodeProduce({
      apiVersion: 7,
      correlationId: 77,
      clientId: 'member-ä',
      topic: 'raft-log-3',
      timeoutMs: 1234,
      timestampMs,
      acks: -1,
      key: undefined,
      record,
    });
    const messages = [{ key: null, value: record, timestamp: timestampMs }];
    const partitions = [{ partition: 0, firstSequence: -1, messages }];
    const theirs = await createRequest({
      correlationId: 77,
      clientId: 'member-ä',
      request: requestV7({
        acks: -1,
        timeout: 1234,
        producerId: Long.fromValue(-1),
        producerEpoch: -1,
        compression: 0,
        topicData: [{ topic: 'raft-log-3', partitions }],
      }),
    });
    // kafkajs writes leader number 0 where clients have none, which brokers overwrite; it is not under the checksum.
    const expected = Buffer.from(theirs.buffer);
    const leaderEpochAt = expected.length - (batchTailBytes(size) + 4 + 1 + 4);
    new Encoder().writeInt32(-1).buffer.copy(expected, leaderEpochAt);
    expect(Buffer.concat(ours).equals(expected)).toBe(true);
  });

  it('with a key and acks=1: the same bytes as kafkajs', async () => {
    const [record, key] = [Buffer.from('record'), Buffer.from('00000000000000ab')];
    const common = { correlationId: 7, clientId: 'c' };
    const ours = encodeProduce({
      ...common,
      apiVersion: 7,
      topic: 'raft-leader',
      timeoutMs: 500,
      timestampMs: 5,
      acks: 1,
      key,
      record,
    });
    const messages = [{ key, value: record, timestamp: 5 }];
    const partitions = [{ partition: 0, firstSequence: -1, messages }];
    const theirs = await createRequest({
      ...common,
      request: requestV7({
        acks: 1,
        timeout: 500,
        producerId: Long.fromValue(-1),
        producerEpoch: -1,
        compression: 0,
        topicData: [{ topic: 'raft-leader', partitions }],
      }),
    });
    const expected = Buffer.from(theirs.buffer);
    const leaderEpochAt = expected.length - (batchTailBytes(record.length, key.length) + 4 + 1 + 4);
    new Encoder().writeInt32(-1).buffer.copy(expected, leaderEpochAt);
    expect(Buffer.concat(ours).equals(expected)).toBe(true);
  });

  it('does not copy the record, and adds less than the overhead that topics allow for', () => {
    const record = new Uint8Array(4 * 1024 * 1024);
    const pieces = encodeProduce({
      apiVersion: 7,
      correlationId: 1,
      clientId: '',
      topic: '',
      timeoutMs: 1,
      timestampMs: 1,
      acks: -1,
      key: undefined,
      record,
    });
    expect(pieces).toContain(record);
    const total = pieces.reduce((sum, { length }) => sum + length, 0);
    expect(total - record.length).toBeLessThan(RECORD_OVERHEAD_BYTES);
  });

  it('carries no producer id, epoch or sequence: neither idempotent nor transactional', () => {
    const [head = new Uint8Array()] = encodeProduce({
      apiVersion: 7,
      correlationId: 1,
      clientId: 'a',
      topic: 't',
      timeoutMs: 1,
      timestampMs: 1,
      acks: -1,
      key: undefined,
      record: new Uint8Array(0),
    });
    const none = Buffer.alloc(8 + 2 + 4, 0xff);
    expect(Buffer.from(head).includes(none)).toBe(true);
    // Right behind the client id: no transactional id, acks of all in-sync replicas.
    expect([...head.subarray(15, 19)]).toEqual([0xff, 0xff, 0xff, 0xff]);
  });
});

/** Bytes of a batch from its attributes to the end. */
function batchTailBytes(size: number, keyBytes = 0): number {
  const varint = (value: number): number => Math.max(1, Math.ceil(Math.log2(2 * value + 1) / 7));
  const record = 4 + keyBytes + varint(size) + size + 1;
  return 36 + 4 + varint(record) + record;
}
