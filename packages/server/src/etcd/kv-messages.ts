import { create, type MessageShape } from '@bufbuild/protobuf';
import {
  type Compare,
  type CompareResult,
  type DeleteRangeRequest,
  type DeleteRangeResponse,
  EMPTY_BYTES,
  type KeyValue,
  type LeaseId,
  type PutRequest,
  type PutResponse,
  type RangeRequest,
  type RangeResponse,
  type SortOrder,
  type SortTarget,
  type TxnOp,
  type TxnOpResponse,
  type TxnRequest,
  type TxnResponse,
} from '@kvorum/base';
import type * as pb from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import {
  DeleteRangeResponseSchema,
  PutResponseSchema,
  RangeResponseSchema,
  ResponseHeaderSchema,
  ResponseOpSchema,
  TxnResponseSchema,
} from '@kvorum/wire/gen/etcdserverpb/rpc_pb';
import { KeyValueSchema, type KeyValue as PbKeyValue } from '@kvorum/wire/gen/mvccpb/kv_pb';
import type { ResponseHeader } from './header.ts';

/**
 * etcd's messages to the requests of kv-api.ts and back. Nothing is refused here: what no request of ours can say goes through as
 * something that validation refuses, so that the errors come in etcd's order.
 */

const SAFE_MAX = BigInt(Number.MAX_SAFE_INTEGER);

/**
 * An int64 as a number. Revisions, versions and limits never get beyond 2^53, so what lies beyond is as far away as the last number
 * that can be told from its neighbours: a future revision, no limit, greater than every version.
 */
export function numberOf(value: bigint): number {
  if (value > SAFE_MAX) return Number.MAX_SAFE_INTEGER;
  return value < -SAFE_MAX ? -Number.MAX_SAFE_INTEGER : Number(value);
}

const SORT_ORDERS: readonly SortOrder[] = ['none', 'ascend', 'descend'];
const SORT_TARGETS: readonly SortTarget[] = ['key', 'version', 'create', 'mod', 'value'];
const RESULTS: readonly CompareResult[] = ['equal', 'greater', 'less', 'not-equal'];
const TARGETS = ['version', 'create', 'mod', 'value', 'lease'] as const;

export function rangeRequestOf(message: pb.RangeRequest): RangeRequest {
  const { sortOrder, sortTarget } = message;
  return {
    op: 'range',
    key: message.key,
    rangeEnd: message.rangeEnd,
    limit: numberOf(message.limit),
    revision: numberOf(message.revision),
    sortOrder: SORT_ORDERS[sortOrder] ?? (String(sortOrder) as SortOrder),
    sortTarget: SORT_TARGETS[sortTarget] ?? (String(sortTarget) as SortTarget),
    serializable: message.serializable,
    keysOnly: message.keysOnly,
    countOnly: message.countOnly,
    minModRevision: numberOf(message.minModRevision),
    maxModRevision: numberOf(message.maxModRevision),
    minCreateRevision: numberOf(message.minCreateRevision),
    maxCreateRevision: numberOf(message.maxCreateRevision),
  };
}

export function putRequestOf(message: pb.PutRequest): PutRequest {
  return {
    op: 'put',
    key: message.key,
    value: message.value,
    lease: message.lease as LeaseId,
    prevKv: message.prevKv,
    ignoreValue: message.ignoreValue,
    ignoreLease: message.ignoreLease,
  };
}

export function deleteRequestOf(message: pb.DeleteRangeRequest): DeleteRangeRequest {
  const { key, rangeEnd, prevKv } = message;
  return { op: 'delete-range', key, rangeEnd, prevKv };
}

export function txnRequestOf(message: pb.TxnRequest): TxnRequest {
  return {
    op: 'txn',
    compare: message.compare.map(compareOf),
    success: message.success.map(opOf),
    failure: message.failure.map(opOf),
  };
}

function opOf({ request }: pb.RequestOp): TxnOp {
  switch (request.case) {
    case 'requestRange':
      return rangeRequestOf(request.value);
    case 'requestPut':
      return putRequestOf(request.value);
    case 'requestDeleteRange':
      return deleteRequestOf(request.value);
    case 'requestTxn':
      return txnRequestOf(request.value);
    default:
      // Of no kind: validation answers it as etcd does.
      return { op: String(request.case) as 'put', key: EMPTY_BYTES, value: EMPTY_BYTES };
  }
}

/**
 * A compare of an unknown result always holds in etcd, unless it is of the value of a key that is not there; one of an unknown
 * target finds everything equal. Here the same is said in terms of the version, which is never below 0, and above it for a key.
 */
function compareOf(message: pb.Compare): Compare {
  const { key, rangeEnd } = message;
  const result = RESULTS[message.result];
  const target = TARGETS[message.target];
  const place = { key, rangeEnd };
  if (result === undefined) {
    const above = target === 'value' ? 0 : -1;
    return { ...place, target: 'version', result: 'greater', value: above };
  }
  if (target === undefined) {
    const always = result === 'equal' ? 'greater' : 'less';
    return { ...place, target: 'version', result: always, value: -1 };
  }
  const { targetUnion } = message;
  const given = (name: string): bigint =>
    targetUnion.case === name && typeof targetUnion.value === 'bigint' ? targetUnion.value : 0n;
  switch (target) {
    case 'value': {
      const value = targetUnion.case === 'value' ? targetUnion.value : EMPTY_BYTES;
      return { ...place, result, target, value };
    }
    case 'lease':
      return { ...place, result, target, value: given('lease') as LeaseId };
    case 'version':
      return { ...place, result, target, value: numberOf(given('version')) };
    case 'create':
      return { ...place, result, target, value: numberOf(given('createRevision')) };
    case 'mod':
      return { ...place, result, target, value: numberOf(given('modRevision')) };
  }
}

/** A copy of an empty message costs a fraction of making one. */
const EMPTY = {
  keyValue: create(KeyValueSchema),
  range: create(RangeResponseSchema),
  put: create(PutResponseSchema),
  delete: create(DeleteRangeResponseSchema),
  txn: create(TxnResponseSchema),
  op: create(ResponseOpSchema),
  header: create(ResponseHeaderSchema),
};

export function keyValueMessage(kv: KeyValue): PbKeyValue {
  return {
    ...EMPTY.keyValue,
    key: kv.key,
    value: kv.value,
    createRevision: BigInt(kv.createRevision),
    modRevision: BigInt(kv.modRevision),
    version: BigInt(kv.version),
    lease: kv.lease,
  };
}

export function rangeMessage(
  header: ResponseHeader | undefined,
  response: RangeResponse,
): MessageShape<typeof RangeResponseSchema> {
  const message = {
    ...EMPTY.range,
    kvs: response.kvs.map(keyValueMessage),
    more: response.more,
    count: BigInt(response.count),
  };
  if (header !== undefined) message.header = header;
  return message;
}

export function putMessage(
  header: ResponseHeader,
  { prevKv }: PutResponse,
): MessageShape<typeof PutResponseSchema> {
  if (prevKv === undefined) return { ...EMPTY.put, header };
  return { ...EMPTY.put, header, prevKv: keyValueMessage(prevKv) };
}

export function deleteMessage(
  header: ResponseHeader,
  { deleted, prevKvs }: DeleteRangeResponse,
): MessageShape<typeof DeleteRangeResponseSchema> {
  return {
    ...EMPTY.delete,
    header,
    deleted: BigInt(deleted),
    prevKvs: prevKvs.map(keyValueMessage),
  };
}

export function txnMessage(
  header: ResponseHeader,
  { succeeded, responses }: TxnResponse,
): MessageShape<typeof TxnResponseSchema> {
  return {
    ...EMPTY.txn,
    header,
    succeeded,
    responses: responses.map((one) => ({ ...EMPTY.op, response: opMessage(one) })),
  };
}

/** Headers inside a txn carry the revision alone, and that of a nested txn nothing. */
function opMessage(response: TxnOpResponse): MessageShape<typeof ResponseOpSchema>['response'] {
  const header = { ...EMPTY.header, revision: BigInt(response.revision) };
  switch (response.op) {
    case 'range':
      return { case: 'responseRange', value: rangeMessage(header, response) };
    case 'put':
      return { case: 'responsePut', value: putMessage(header, response) };
    case 'delete-range':
      return { case: 'responseDeleteRange', value: deleteMessage(header, response) };
    case 'txn':
      return { case: 'responseTxn', value: txnMessage(header, response) };
  }
}
