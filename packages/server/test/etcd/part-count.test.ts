import { create, toBinary } from '@bufbuild/protobuf';
import {
  PutRequestSchema,
  RequestOpSchema,
  type TxnRequest,
  TxnRequestSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasTooManyParts, PARTS_MAX } from '../../src/etcd/grpc/part-count.ts';
import { RawGrpc } from '../support/grpc-client.ts';
import { useOneMember } from '../support/use-member.ts';

/** `count` operations of no kind, in two bytes each. */
function emptyOps(count: number): Uint8Array {
  const bytes = new Uint8Array(2 * count);
  for (let at = 0; at < bytes.length; at += 2) bytes[at] = 0x12;
  return bytes;
}

/** Of `puts` puts, inside of as many transactions as `depth` says. */
function nested(depth: number, puts: number): TxnRequest {
  const put = create(RequestOpSchema, {
    request: { case: 'requestPut', value: create(PutRequestSchema, { key: new Uint8Array(300) }) },
  });
  const success =
    depth === 0
      ? Array.from({ length: puts }, () => put)
      : [
          create(RequestOpSchema, {
            request: { case: 'requestTxn', value: nested(depth - 1, puts) },
          }),
        ];
  return create(TxnRequestSchema, { success });
}

describe('messages inside of a request', () => {
  it('are counted exactly, at every depth', () => {
    const half = PARTS_MAX / 2;
    const txn = (depth: number, puts: number): Uint8Array =>
      toBinary(TxnRequestSchema, nested(depth, puts));
    // An operation and its put are two.
    expect(hasTooManyParts(TxnRequestSchema, txn(0, half))).toBe(false);
    expect(hasTooManyParts(TxnRequestSchema, txn(0, half + 1))).toBe(true);
    expect(hasTooManyParts(TxnRequestSchema, txn(3, half - 3))).toBe(false);
    expect(hasTooManyParts(TxnRequestSchema, txn(3, half - 2))).toBe(true);
    expect(hasTooManyParts(TxnRequestSchema, emptyOps(PARTS_MAX))).toBe(false);
    expect(hasTooManyParts(TxnRequestSchema, emptyOps(PARTS_MAX + 1))).toBe(true);
  });

  it('hide behind no field that nobody knows, and behind no group', () => {
    const ops = emptyOps(PARTS_MAX + 1);
    for (const before of [
      [0x78, 0x01],
      [0x7a, 0x02, 0, 0],
      [0x7b],
      [0x79, 1, 2, 3, 4, 5, 6, 7, 8],
    ]) {
      const body = Buffer.concat([Buffer.from(before), ops]);
      expect(hasTooManyParts(TxnRequestSchema, body)).toBe(true);
    }
  });

  it('of whatever bytes come, the count ends', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(hasTooManyParts(TxnRequestSchema, bytes)).toBe(false);
      }),
    );
  });
});

describe('a million operations in two megabytes', () => {
  const member = useOneMember();
  let client: RawGrpc;
  beforeAll(async () => {
    client = new RawGrpc(member.url);
  });
  afterAll(async () => {
    client.close();
  });

  it('are refused before they are decoded', async () => {
    const ended = await client.unary('/etcdserverpb.KV/Txn', emptyOps(1_000_000));
    expect(ended).toMatchObject({
      status: 3,
      message: 'etcdserver: too many operations in txn request',
    });
  });
});
