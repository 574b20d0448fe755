import type { KvRequest, TxnOp } from '@kvorum/base';
import type { ModelKeyValue, ModelResponse } from './execute.ts';
import { keyText, shown } from './key-text.ts';
import type { RecordedKeyValue, RecordedResponse } from './recorded-history.ts';

/** The first difference between a recorded answer and the model's, as a text; undefined = none. */
export function difference(
  recorded: RecordedResponse,
  model: ModelResponse,
  request: KvRequest | TxnOp,
): string | undefined {
  switch (recorded.op) {
    case 'range':
      return model.op === 'range' ? rangeDifference(recorded, model, request) : undefined;
    case 'put': {
      const asked = request.op === 'put' && request.prevKv === true;
      const judged = asked && model.op === 'put';
      return judged ? previousDifference(recorded.prevKv, model.previous) : undefined;
    }
    case 'delete-range':
      return model.op === 'delete-range' ? deleteDifference(recorded, model, request) : undefined;
    case 'txn':
      return model.op === 'txn' ? txnDifference(recorded, model, request) : undefined;
    case 'compact':
      return undefined;
  }
}

function deleteDifference(
  recorded: RecordedResponse & { readonly op: 'delete-range' },
  { previous }: ModelResponse & { readonly op: 'delete-range' },
  request: KvRequest | TxnOp,
): string | undefined {
  if (recorded.deleted !== previous.length) {
    return `deleted ${recorded.deleted} keys, there were ${previous.length}`;
  }
  const asked = request.op === 'delete-range' && request.prevKv === true;
  return asked && recorded.prevKvs !== undefined
    ? listDifference(recorded.prevKvs, previous, { values: true })
    : undefined;
}

function txnDifference(
  recorded: RecordedResponse & { readonly op: 'txn' },
  model: ModelResponse & { readonly op: 'txn' },
  request: KvRequest | TxnOp,
): string | undefined {
  if (request.op !== 'txn') return undefined;
  if (recorded.succeeded !== model.succeeded) {
    const held = model.succeeded ? 'held' : 'did not hold';
    return `took the ${recorded.succeeded ? 'success' : 'failure'} branch, the compares ${held}`;
  }
  const ops = recorded.succeeded ? request.success : request.failure;
  return responsesDifference(recorded.responses, model.responses, ops);
}

function responsesDifference(
  recorded: readonly RecordedResponse[] | undefined,
  model: readonly ModelResponse[],
  ops: readonly TxnOp[],
): string | undefined {
  if (recorded === undefined) return undefined;
  if (recorded.length !== model.length) {
    return `${recorded.length} answers to ${model.length} operations of the txn`;
  }
  for (const [i, op] of ops.entries()) {
    const [one, other] = [recorded[i], model[i]];
    if (one === undefined || other === undefined) continue;
    if (one.op !== other.op) return `answer ${i} of the txn is of ${one.op}, not ${other.op}`;
    const different = difference(one, other, op);
    if (different !== undefined) return different;
  }
  return undefined;
}

function rangeDifference(
  recorded: RecordedResponse & { readonly op: 'range' },
  model: ModelResponse & { readonly op: 'range' },
  request: KvRequest | TxnOp,
): string | undefined {
  const options = request.op === 'range' ? request : undefined;
  const different = listDifference(recorded.kvs, model.kvs, { values: options?.keysOnly !== true });
  if (different !== undefined) return different;
  if (recorded.more !== undefined && recorded.more !== model.more) {
    return `answered more=${recorded.more}, was ${model.more}`;
  }
  if (recorded.count !== undefined && recorded.count !== model.count) {
    return `answered the count ${recorded.count}, was ${model.count}`;
  }
  return undefined;
}

function listDifference(
  recorded: readonly RecordedKeyValue[],
  model: readonly ModelKeyValue[],
  judge: { readonly values: boolean },
): string | undefined {
  for (let i = 0; i < Math.max(recorded.length, model.length); i += 1) {
    const [one, other] = [recorded[i], model[i]];
    if (one === undefined) return `lacks ${describe(other)}`;
    const different = keyValueDifference(one, other, judge);
    if (different !== undefined) return different;
  }
  return undefined;
}

function previousDifference(
  recorded: RecordedKeyValue | undefined,
  model: ModelKeyValue | undefined,
): string | undefined {
  if (recorded === undefined) {
    return model === undefined ? undefined : `lacks the previous ${describe(model)}`;
  }
  const different = keyValueDifference(recorded, model, { values: true });
  return different === undefined ? undefined : `previous: ${different}`;
}

/** The first field of an answered key that is not as the model has it. */
export function keyValueDifference(
  recorded: RecordedKeyValue,
  model: ModelKeyValue | undefined,
  judge: { readonly values: boolean },
): string | undefined {
  const key = keyText(recorded.key);
  if (model === undefined || model.key !== key) {
    const text = `${shown(key)}=${shown(recorded.value && keyText(recorded.value))}`;
    const at = recorded.modRevision === undefined ? '' : `@${recorded.modRevision}`;
    return `has ${text}${at}, was ${describe(model)}`;
  }
  if (judge.values && recorded.value !== undefined && keyText(recorded.value) !== model.value) {
    return `has ${shown(key)}=${shown(keyText(recorded.value))}, was ${describe(model)}`;
  }
  const fields = [
    ['mod revision', recorded.modRevision, model.revision],
    ['create revision', recorded.createRevision, model.createRevision],
    ['version', recorded.version, model.version],
    ['lease', recorded.lease, model.lease],
  ] as const;
  for (const [name, seen, right] of fields) {
    if (seen !== undefined && seen !== right) {
      return `has ${shown(key)} with ${name} ${seen}, was ${right}`;
    }
  }
  return undefined;
}

export function describe(kv: ModelKeyValue | undefined): string {
  return kv === undefined ? '(absent)' : `${shown(kv.key)}=${shown(kv.value)}@${kv.revision}`;
}
