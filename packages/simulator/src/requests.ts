import {
  fromUtf8,
  type KeyValue,
  type KvResponse,
  prefixEnd,
  type RangeRequest,
  type ShardId,
  utf8,
  type WriteRequest,
} from '@kvorum/base';
import type { Found, Op, Outcome } from './history.ts';

/** Key `i` of a shard; clients talk to the shard's replicas directly, so the names need not hash. */
export function keyOf(shard: ShardId, i: number): string {
  return `s${shard}/k${i}`;
}

export function listRequest(shard: ShardId, stale: boolean): RangeRequest {
  const key = utf8(`s${shard}/`);
  return { op: 'range', key, rangeEnd: prefixEnd(key), serializable: stale };
}

export function pastRequest(key: string, revision: number): RangeRequest {
  return { op: 'range', key: utf8(key), revision };
}

/** The request of a write; undefined for reads. */
export function writeRequest(op: Op): WriteRequest | undefined {
  switch (op.kind) {
    case 'put':
      return { op: 'put', key: utf8(op.key), value: utf8(op.value) };
    case 'delete':
      return { op: 'delete-range', key: utf8(op.key) };
    case 'pair': {
      const value = utf8(op.value);
      const success = op.keys.map((key) => ({ op: 'put', key: utf8(key), value }) as const);
      return { op: 'txn', compare: [], success, failure: [] };
    }
    case 'swap': {
      const key = utf8(op.key);
      const compare =
        op.expected === undefined
          ? ({ key, target: 'version', result: 'equal', value: 0 } as const)
          : ({ key, target: 'value', result: 'equal', value: utf8(op.expected) } as const);
      return {
        op: 'txn',
        compare: [compare],
        success: [{ op: 'put', key, value: utf8(op.value) }],
        failure: [{ op: 'range', key }],
      };
    }
    case 'compact':
      return { op: 'compact', revision: op.revision };
    default:
      return undefined;
  }
}

export function found(kvs: readonly KeyValue[]): Found {
  return new Map(
    kvs.map((kv) => [fromUtf8(kv.key), `${fromUtf8(kv.value)}@${kv.modRevision}`] as const),
  );
}

export function outcomeOf(response: KvResponse): Outcome {
  const { revision } = response;
  if (response.op === 'range') {
    return { kind: 'ok', revision, changed: false, found: found(response.kvs) };
  }
  if (response.op === 'delete-range') {
    return { kind: 'ok', revision, changed: response.deleted > 0, found: new Map() };
  }
  if (response.op === 'txn') {
    const reads = response.responses.flatMap((one) => (one.op === 'range' ? one.kvs : []));
    return { kind: 'ok', revision, changed: response.succeeded, found: found(reads) };
  }
  return { kind: 'ok', revision, changed: true, found: new Map() };
}
