import type { Compare, KvRequest, TxnOp } from '@kvorum/base';
import { keyText, shown } from './key-text.ts';
import type { RecordedOperation, RecordedResponse } from './recorded-history.ts';

/** An operation in one line: who, what, and what came of it. */
export function describeOperation(operation: RecordedOperation): string {
  const { id, process, request } = operation;
  return `#${id} ${process} ${describeRequest(request)} ${describeResult(operation)}`;
}

export function describeRequest(request: KvRequest | TxnOp): string {
  switch (request.op) {
    case 'range': {
      const at = (request.revision ?? 0) > 0 ? ` at ${request.revision}` : '';
      const stale = request.serializable === true ? ' serializable' : '';
      const name = isSingle(request) ? 'get' : 'range';
      return `${name} ${keys(request)}${at}${stale}`;
    }
    case 'put':
      return `put ${show(request.key)}=${show(request.value)}`;
    case 'delete-range':
      return `delete ${keys(request)}`;
    case 'compact':
      return `compact ${request.revision}`;
    case 'txn': {
      const conditions = request.compare.map(describeCompare).join(' and ') || 'always';
      const ops = (list: readonly TxnOp[]): string => list.map(describeRequest).join('; ') || '-';
      const otherwise = request.failure.length === 0 ? '' : ` else ${ops(request.failure)}`;
      return `if ${conditions} then ${ops(request.success)}${otherwise}`;
    }
  }
}

/** What came of it: the answer with its revision, or the error. */
export function describeResult({ result }: RecordedOperation): string {
  if (result.outcome !== 'ok') return `→ ${result.outcome} (${result.code})`;
  return `→ ${describeResponse(result.response)} @${result.revision}`;
}

function describeResponse(response: RecordedResponse): string {
  switch (response.op) {
    case 'range': {
      const found = response.kvs.map(({ key, value, modRevision }) => {
        const at = modRevision === undefined ? '' : `@${modRevision}`;
        return `${show(key)}=${value === undefined ? '?' : show(value)}${at}`;
      });
      return found.join(' ') || '(nothing)';
    }
    case 'put':
    case 'compact':
      return 'ok';
    case 'delete-range':
      return `deleted ${response.deleted}`;
    case 'txn': {
      const inner = (response.responses ?? []).map(describeResponse).join('; ');
      return `${response.succeeded ? 'succeeded' : 'not made'}${inner === '' ? '' : ` (${inner})`}`;
    }
  }
}

function describeCompare(compare: Compare): string {
  const sign = { equal: '=', 'not-equal': '≠', greater: '>', less: '<' }[compare.result];
  const value = compare.target === 'value' ? show(compare.value) : String(compare.value);
  return `${compare.target} ${keys(compare)} ${sign} ${value}`;
}

function isSingle(request: { readonly rangeEnd?: Uint8Array }): boolean {
  return request.rangeEnd === undefined || request.rangeEnd.length === 0;
}

function keys(request: { readonly key: Uint8Array; readonly rangeEnd?: Uint8Array }): string {
  const { key, rangeEnd } = request;
  return rangeEnd === undefined || rangeEnd.length === 0
    ? show(key)
    : `[${show(key)}, ${show(rangeEnd)})`;
}

function show(bytes: Uint8Array): string {
  return shown(keyText(bytes));
}
