import {
  create,
  type DescField,
  type DescMessage,
  fromBinary,
  type Message,
  ScalarType,
  toBinary,
} from '@bufbuild/protobuf';
import { Auth, Cluster, KV, Lease, Maintenance, Watch } from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { EventSchema } from '@kvorum/wire/gen/mvccpb/kv_pb';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { messageDecoder } from '../../src/etcd/codec/decode-message.ts';
import { messageEncoder } from '../../src/etcd/codec/encode-message.ts';

const METHODS = [KV, Watch, Lease, Cluster, Maintenance, Auth].flatMap(({ methods }) => methods);
const TYPES = [...new Set(METHODS.flatMap(({ input, output }) => [input, output]))];
const PREFIX_BYTES = 5;
/** Those of the busy calls are looked at longer. */
const BUSY = /(Put|Range|Txn|Watch|KeepAlive)(Request|Response)$/;

const int64 = (): fc.Arbitrary<bigint> =>
  fc.oneof(
    fc.constantFrom(0n, 1n, 127n, 128n, 2n ** 31n, 2n ** 49n, 2n ** 53n, 2n ** 63n - 1n, -1n),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  );
const uint64 = (): fc.Arbitrary<bigint> =>
  fc.oneof(fc.constantFrom(2n ** 64n - 1n, 2n ** 63n), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }));

function scalar(type: ScalarType): fc.Arbitrary<unknown> {
  switch (type) {
    case ScalarType.INT64:
      return int64();
    case ScalarType.UINT64:
      return uint64();
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.BYTES:
      return fc.uint8Array({ maxLength: 200 });
    case ScalarType.STRING:
      return fc.string({ unit: 'grapheme', maxLength: 40 });
    default:
      return fc.nat({ max: 2 ** 31 - 1 });
  }
}

function fieldValue(field: DescField, depth: number): fc.Arbitrary<unknown> {
  switch (field.fieldKind) {
    case 'scalar':
      return scalar(field.scalar);
    case 'enum':
      return fc.nat({ max: 5 });
    case 'message':
      return messageOf(field.message, depth - 1);
    case 'list': {
      const { listKind } = field;
      if (listKind === 'enum') return fc.array(fc.nat({ max: 5 }), { maxLength: 3 });
      if (listKind === 'scalar') return fc.array(scalar(field.scalar), { maxLength: 3 });
      return fc.array(messageOf(field.message, depth - 1), { maxLength: depth > 0 ? 3 : 0 });
    }
    default:
      return fc.constant({});
  }
}

/** A message with any of its fields. */
function messageOf(descriptor: DescMessage, depth: number): fc.Arbitrary<Message> {
  const fields = descriptor.fields.filter(
    (field) => depth > 0 || (field.fieldKind !== 'message' && field.fieldKind !== 'list'),
  );
  const chosen = fc
    .subarray(fields)
    .chain((some) =>
      fc.tuple(
        ...some.map((field) => fieldValue(field, depth).map((value) => [field, value] as const)),
      ),
    );
  return chosen.map((values) => {
    const init: Record<string, unknown> = {};
    for (const [field, value] of values) {
      if (field.oneof === undefined) init[field.localName] = value;
      else init[field.oneof.localName] = { case: field.localName, value };
    }
    return create(descriptor, init);
  });
}

function outcomeOf(act: () => Message): unknown {
  try {
    return act();
  } catch (error) {
    return String(error);
  }
}

/** Bytes that are nearly those of the message: what a fuzzer sends. */
function damaged(bytes: Uint8Array): fc.Arbitrary<Uint8Array> {
  const at = fc.nat({ max: Math.max(0, bytes.length) });
  const piece = fc.uint8Array({ maxLength: 12 });
  return fc.tuple(at, fc.nat({ max: 4 }), piece).map(([from, cut, added]) => {
    const rest = bytes.subarray(Math.min(bytes.length, from + cut));
    return Uint8Array.from([...bytes.subarray(0, from), ...added, ...rest]);
  });
}

describe.each(TYPES)('$typeName', (descriptor) => {
  const decode = messageDecoder(descriptor);
  const encode = messageEncoder(descriptor, PREFIX_BYTES, [EventSchema]);
  const messages = messageOf(descriptor, 4);
  const numRuns = BUSY.test(descriptor.typeName) ? 100 : 10;

  it('is encoded and decoded as by the generated code', () => {
    fc.assert(
      fc.property(messages, (message) => {
        const bytes = toBinary(descriptor, message);
        expect(encode(message).subarray(PREFIX_BYTES).equals(bytes)).toBe(true);
        // Again, for what is kept of the first time.
        expect(encode(message).subarray(PREFIX_BYTES).equals(bytes)).toBe(true);
        expect(decode(bytes)).toStrictEqual(fromBinary(descriptor, bytes));
      }),
      { numRuns },
    );
  });

  it('is refused or understood as by the generated code when it is damaged', () => {
    const some = messages.chain((message) => damaged(toBinary(descriptor, message)));
    fc.assert(
      fc.property(some, (bytes) => {
        const ours = outcomeOf(() => decode(bytes));
        expect(ours).toStrictEqual(outcomeOf(() => fromBinary(descriptor, bytes)));
      }),
      { numRuns: 2 * numRuns },
    );
  });

  it('is refused or understood as by the generated code whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const ours = outcomeOf(() => decode(bytes));
        expect(ours).toStrictEqual(outcomeOf(() => fromBinary(descriptor, bytes)));
      }),
      { numRuns: 2 * numRuns },
    );
  });
});
