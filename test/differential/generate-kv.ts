import { create } from '@bufbuild/protobuf';
import {
  type Compare,
  CompareSchema,
  type DeleteRangeRequest,
  DeleteRangeRequestSchema,
  type PutRequest,
  PutRequestSchema,
  type RangeRequest,
  RangeRequestSchema,
  type RequestOp,
  RequestOpSchema,
  type TxnRequest,
  TxnRequestSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { bytes, type Choose } from './choose.ts';
import type { Traits } from './generate.ts';
import { chosenLease, revision } from './symbols.ts';

/** etcd's limit of operations a list. */
const OPERATIONS_MAX = 128;
const DEPTH_MAX = 5;
const UNKNOWN_ENUM = 9;

/** Ids of the systems' choice and of ours. */
export const LEASES: readonly [bigint, ...bigint[]] = [
  chosenLease(0),
  chosenLease(1),
  chosenLease(2),
  1001n,
  5n,
  -9n,
  2n ** 63n - 1n,
];

/** An id that was granted perhaps. */
export function lease(choose: Choose): bigint {
  return choose.once(6) ? choose.random.pick([0n, 424_242n]) : choose.random.pick(LEASES);
}

export function putRequest(choose: Choose): PutRequest {
  const ignoreValue = choose.once(8);
  const ignoreLease = choose.once(8);
  return create(PutRequestSchema, {
    key: choose.key(),
    value: ignoreValue && !choose.once(8) ? bytes('') : choose.value(),
    lease: choose.once(4) && (!ignoreLease || choose.once(8)) ? lease(choose) : 0n,
    prevKv: choose.once(3),
    ignoreValue,
    ignoreLease,
  });
}

export function rangeRequest(choose: Choose, { unknownEnums }: Traits): RangeRequest {
  const { random } = choose;
  const enumOf = (count: number): number =>
    unknownEnums && choose.once(60) ? UNKNOWN_ENUM : random.below(count);
  const sorted = choose.once(2);
  return create(RangeRequestSchema, {
    ...choose.range(),
    limit: choose.once(2) ? random.pick([1n, 2n, 3n, 4n, 100n, -1n, 2n ** 63n - 1n]) : 0n,
    revision: choose.revision(3),
    sortOrder: sorted ? enumOf(3) : 0,
    sortTarget: sorted ? enumOf(5) : 0,
    serializable: choose.once(4),
    keysOnly: choose.once(5),
    countOnly: choose.once(6),
    minModRevision: choose.revision(8),
    maxModRevision: choose.revision(8),
    minCreateRevision: choose.revision(8),
    maxCreateRevision: choose.revision(8),
  });
}

export function txnRequest(choose: Choose, traits: Traits): TxnRequest {
  if (choose.once(40)) return manyOperations(choose);
  return txn(choose, traits, 1);
}

function txn(choose: Choose, traits: Traits, depth: number): TxnRequest {
  const operation = (): RequestOp => requestOp(choose, traits, depth);
  return create(TxnRequestSchema, {
    compare: choose.list(3, () => compare(choose, traits)),
    success: choose.list(4, operation),
    failure: choose.list(4, operation),
  });
}

/** Around the limit, also by what a nested one has left of it. */
function manyOperations(choose: Choose): TxnRequest {
  const { random } = choose;
  const count = OPERATIONS_MAX - 1 + random.below(3);
  const reads = (length: number, from: number): RequestOp[] =>
    Array.from({ length }, (_, i) => {
      // Reads only: more keys than the alphabet has would change how the reference sorts.
      const key = bytes(`many${from + i}`);
      return create(RequestOpSchema, {
        request: { case: 'requestRange', value: create(RangeRequestSchema, { key }) },
      });
    });
  const inner = create(TxnRequestSchema, { success: reads(1 + random.below(3), 1000) });
  const nested = create(RequestOpSchema, { request: { case: 'requestTxn', value: inner } });
  const list = choose.once(2) ? [...reads(count - 2, 0), nested] : reads(count, 0);
  const compares = choose.once(4)
    ? Array.from({ length: count }, () => create(CompareSchema, { key: bytes('a') }))
    : [];
  return create(TxnRequestSchema, {
    compare: compares,
    success: choose.once(2) ? list : [],
    failure: choose.once(2) ? list : [],
  });
}

function requestOp(choose: Choose, traits: Traits, depth: number): RequestOp {
  return create(RequestOpSchema, { request: requestOf(choose, traits, depth) });
}

function requestOf(choose: Choose, traits: Traits, depth: number): RequestOp['request'] {
  switch (choose.random.below(depth < DEPTH_MAX ? 9 : 7)) {
    case 0:
    case 1:
    case 2:
      return { case: 'requestPut', value: putRequest(choose) };
    case 3:
      return { case: 'requestDeleteRange', value: deleteRequest(choose) };
    case 4:
    case 5:
      return { case: 'requestRange', value: rangeRequest(choose, traits) };
    case 6:
      return choose.once(6)
        ? { case: undefined }
        : { case: 'requestPut', value: putRequest(choose) };
    default:
      return { case: 'requestTxn', value: txn(choose, traits, depth + 1) };
  }
}

/** With an end mostly: etcd's check for duplicate keys does not see those without one. */
function deleteRequest(choose: Choose): DeleteRangeRequest {
  const { key, rangeEnd } = choose.range();
  const end = rangeEnd[0] === 0 && !choose.once(10) ? bytes('b') : rangeEnd;
  return create(DeleteRangeRequestSchema, { key, rangeEnd: end, prevKv: choose.once(2) });
}

/** The value belongs to the target mostly; etcd takes what belongs to another for nothing. */
function compare(choose: Choose, { unknownEnums }: Traits): Compare {
  const { random } = choose;
  const strange = unknownEnums && choose.once(40);
  const target = strange && choose.once(2) ? UNKNOWN_ENUM : random.below(5);
  const { key, rangeEnd } = choose.range();
  return create(CompareSchema, {
    result: strange ? UNKNOWN_ENUM : random.below(4),
    target,
    key,
    rangeEnd: choose.once(3) ? rangeEnd : bytes(''),
    targetUnion: targetOf(choose, choose.once(20) ? random.below(6) : target),
  });
}

function targetOf(choose: Choose, target: number): Compare['targetUnion'] {
  const near = (): bigint => (choose.once(3) ? 0n : revision('current', -choose.random.below(8)));
  switch (target) {
    case 0:
      return { case: 'version', value: BigInt(choose.random.below(4)) };
    case 1:
      return { case: 'createRevision', value: near() };
    case 2:
      return { case: 'modRevision', value: near() };
    case 3:
      return { case: 'value', value: choose.value() };
    case 4:
      return { case: 'lease', value: lease(choose) };
    default:
      return { case: undefined };
  }
}
