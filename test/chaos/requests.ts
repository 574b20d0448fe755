import { type KeyValue, type KvRequest, utf8 } from '@kvorum/base';
import { compare, type KvorumClient, op, type TxnOpResult, type TxnResult } from '@kvorum/client';
import type { RecordedKeyValue, RecordedResponse } from '@kvorum/simulator';
import type { Answered } from './recorder.ts';

export const put = (key: string, value: string): KvRequest => ({
  op: 'put',
  key: utf8(key),
  value: utf8(value),
});

export const remove = (key: string): KvRequest => ({ op: 'delete-range', key: utf8(key) });

export const read = (key: string, serializable = false): KvRequest => ({
  op: 'range',
  key: utf8(key),
  ...(serializable ? { serializable } : {}),
});

/** Puts `value` if the key holds `expected` (undefined = there is no such key), else reads it. */
export function swap(key: string, expected: string | undefined, value: string): KvRequest {
  const condition =
    expected === undefined ? compare(key, 'version', '=', 0) : compare(key, 'value', '=', expected);
  return { op: 'txn', compare: [condition], success: [op.put(key, value)], failure: [op.get(key)] };
}

/** Two writes at one revision. */
export const putBoth = (first: string, second: string, value: string): KvRequest => ({
  op: 'txn',
  compare: [],
  success: [op.put(first, value), op.put(second, value)],
  failure: [],
});

/** A write that moves from one key to another at one revision. */
export const move = (from: string, to: string, value: string): KvRequest => ({
  op: 'txn',
  compare: [],
  success: [op.delete(from), op.put(to, value)],
  failure: [],
});

export const readBoth = (first: string, second: string): KvRequest => ({
  op: 'txn',
  compare: [],
  success: [op.get(first), op.get(second)],
  failure: [],
});

/** Sends a request through the SDK. */
export async function viaClient(
  client: KvorumClient,
  request: KvRequest,
  timeoutMs: number,
): Promise<Answered> {
  switch (request.op) {
    case 'put': {
      const { revision } = await client.put(request.key, request.value, { timeoutMs });
      return { revision, response: { op: 'put' } };
    }
    case 'delete-range': {
      const { revision, deleted } = await client.delete(request.key, { timeoutMs });
      return { revision, response: { op: 'delete-range', deleted } };
    }
    case 'range': {
      const { serializable } = request;
      const answer = await client.range(request.key, { timeoutMs, serializable });
      const kvs = answer.entries.map(recorded);
      return { revision: answer.shards[0]?.revision ?? 0, response: { op: 'range', kvs } };
    }
    case 'txn': {
      const answer = await client.txn(request, { timeoutMs });
      return { revision: answer.revision, response: txnResponse(answer) };
    }
    case 'compact':
      throw new TypeError('the load does not compact');
  }
}

function txnResponse({ succeeded, responses }: TxnResult): RecordedResponse {
  return { op: 'txn', succeeded, responses: responses.map(innerResponse) };
}

function innerResponse(response: TxnOpResult): RecordedResponse {
  switch (response.op) {
    case 'put':
      return { op: 'put' };
    case 'delete-range':
      return { op: 'delete-range', deleted: response.deleted };
    case 'range':
      return { op: 'range', kvs: response.entries.map(recorded) };
    case 'txn':
      return txnResponse(response);
  }
}

/** As it is recorded: copies, since an answer's bytes are views of a received frame. */
export function recorded(kv: KeyValue): RecordedKeyValue & { readonly modRevision: number } {
  return {
    key: new Uint8Array(kv.key),
    value: new Uint8Array(kv.value),
    modRevision: kv.modRevision,
    createRevision: kv.createRevision,
    version: kv.version,
  };
}
