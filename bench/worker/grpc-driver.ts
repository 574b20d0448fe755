import {
  create,
  type DescMessage,
  fromBinary,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import {
  Compare_CompareResult,
  Compare_CompareTarget,
  PutRequestSchema,
  PutResponseSchema,
  RangeRequestSchema,
  RangeResponseSchema,
  TxnRequestSchema,
  TxnResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import type { Driver } from './driver.ts';
import { wholeAnswer } from './grpc-answer.ts';
import { GrpcConnection } from './grpc-connection.ts';
import { benchKey } from './load-spec.ts';

const PUT = '/etcdserverpb.KV/Put';
const RANGE = '/etcdserverpb.KV/Range';
const TXN = '/etcdserverpb.KV/Txn';
/** Header and counts of an answer take less than this, so anything longer carries the value. */
const EMPTY_ANSWER_BYTES_MAX = 64;

/** Drives etcd's KV service; operations go round robin over the connections. Reads are linearizable. */
export async function openGrpc(
  endpoints: readonly string[],
  connectionsPerMember: number,
): Promise<Driver> {
  const connections: GrpcConnection[] = [];
  for (let i = 0; i < connectionsPerMember; i += 1) {
    for (const endpoint of endpoints) connections.push(await GrpcConnection.open(endpoint));
  }
  let turn = 0;
  const next = (): GrpcConnection => {
    turn = (turn + 1) % connections.length;
    return connections[turn] as GrpcConnection;
  };
  const range = prepared((key) =>
    toBinary(RangeRequestSchema, create(RangeRequestSchema, { key })),
  );
  const serializable = prepared((key) =>
    toBinary(RangeRequestSchema, create(RangeRequestSchema, { key, serializable: true })),
  );
  const put = prepared((key, value) =>
    toBinary(PutRequestSchema, create(PutRequestSchema, { key, value })),
  );
  const txn = prepared(txnRequest);
  return {
    connections,
    put: (key, value) => next().call(PUT, put(key, value)),
    get: (key) => next().call(RANGE, range(key, NO_VALUE), EMPTY_ANSWER_BYTES_MAX),
    hop: (key) => next().call(RANGE, serializable(key, NO_VALUE)),
    txn: (key, value) => next().call(TXN, txn(key, value)),
    check: async (key, value) => {
      const ask = async <Schema extends DescMessage>(
        path: string,
        message: Uint8Array,
        schema: Schema,
      ): Promise<MessageShape<Schema>> =>
        fromBinary(schema, await wholeAnswer(next(), path, message));
      const reversed = value.toReversed();
      const { header } = await ask(PUT, put(key, reversed), PutResponseSchema);
      await expectValue(reversed, ask(RANGE, range(key, NO_VALUE), RangeResponseSchema));
      const { succeeded, responses } = await ask(TXN, txn(key, value), TxnResponseSchema);
      await expectValue(value, ask(RANGE, range(key, NO_VALUE), RangeResponseSchema));
      if ((header?.revision ?? 0n) <= 0n) throw new Error('a put without a revision');
      if (!succeeded || responses[0]?.response.case !== 'responsePut') {
        throw new Error('a transaction that did not put');
      }
    },
    laneOf: async () => 'all',
    close: async () => {
      for (const connection of connections) connection.close();
    },
  };
}

async function expectValue(
  value: Uint8Array,
  answer: Promise<MessageShape<typeof RangeResponseSchema>>,
): Promise<void> {
  const { kvs } = await answer;
  if (Buffer.compare(kvs[0]?.value ?? NO_VALUE, value) !== 0) {
    throw new Error('a get that does not say what was put');
  }
}

function txnRequest(key: Uint8Array, value: Uint8Array): Uint8Array {
  const message = create(TxnRequestSchema, {
    compare: [
      {
        result: Compare_CompareResult.GREATER,
        target: Compare_CompareTarget.VERSION,
        key,
        targetUnion: { case: 'version', value: 0n },
      },
    ],
    success: [{ request: { case: 'requestPut', value: { key, value } } }],
  });
  return toBinary(TxnRequestSchema, message);
}

const NO_VALUE = new Uint8Array();

/**
 * Makes requests out of one that is encoded once for each length of value: a copy with another key and another value in their
 * places costs a fraction of encoding it.
 */
function prepared(
  encode: (key: Uint8Array, value: Uint8Array) => Uint8Array,
): (key: Uint8Array, value: Uint8Array) => Uint8Array {
  const someKey = benchKey(0).fill(0xfe);
  let template: Uint8Array = NO_VALUE;
  let keyAt: readonly number[] = [];
  let valueAt = -1;
  let valueBytes = -1;
  return (key, value) => {
    if (value.length !== valueBytes) {
      const someValue = new Uint8Array(value.length).fill(0xfd);
      const bytes = Buffer.from(encode(someKey, someValue));
      template = bytes;
      keyAt = placesOf(bytes, someKey);
      valueAt = bytes.lastIndexOf(someValue);
      valueBytes = value.length;
    }
    const message = new Uint8Array(template);
    for (const at of keyAt) message.set(key, at);
    message.set(value, valueAt);
    return message;
  };
}

function placesOf(bytes: Buffer, part: Uint8Array): readonly number[] {
  const places: number[] = [];
  for (let at = bytes.indexOf(part); at >= 0; at = bytes.indexOf(part, at + part.length)) {
    places.push(at);
  }
  return places;
}
