import { type Compare, fromBase64, leaseId, type Plain, type TxnOp } from '@kvorum/base';
import {
  type Bytes,
  type CompareSign,
  compare,
  type KeyRange,
  op,
  type TxnInit,
} from '@kvorum/client';
import { InputError } from './exit.ts';
import { parseLease } from './txn-grammar.ts';

/**
 * A transaction as JSON:
 *
 * `{ "compare": [{ "key": "a", "target": "version", "result": "=", "value": 0 }], "success": [{
 * "op": "put", "key": "a", "value": "1" }], "failure": [{ "op": "get", "prefix": "a/" }] }`
 *
 * Bytes that are no text are given as `keyBase64` and `valueBase64`. Errors: InputError naming the
 * field.
 */
export function parseTxnFile(text: string): TxnInit {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InputError(`the transaction is not JSON: ${(error as Error).message}`);
  }
  return txn(value, 'txn', 0);
}

/** Deeper than any member takes, and far from what the stack does. */
const DEPTH_MAX = 32;

function fail(path: string, expected: string): never {
  throw new InputError(`${path} must be ${expected}`, 'see `kvctl help txn` for the form');
}

function object(value: unknown, path: string, known: readonly string[]): Plain {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(path, 'an object');
  for (const name of Object.keys(value)) {
    if (!known.includes(name)) fail(`${path}.${name}`, `one of ${known.join(', ')}`);
  }
  return value as Plain;
}

function list<T>(value: unknown, path: string, read: (item: unknown, path: string) => T): T[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) return fail(path, 'an array');
  return value.map((item, at) => read(item, `${path}[${at}]`));
}

function txn(value: unknown, path: string, depth: number): TxnInit {
  if (depth > DEPTH_MAX) throw new InputError(`the transaction is nested deeper than ${DEPTH_MAX}`);
  const from = object(value, path, ['op', 'compare', 'success', 'failure']);
  const inner = (item: unknown, at: string): TxnOp => operation(item, at, depth);
  return {
    compare: list(from['compare'], `${path}.compare`, comparison),
    success: list(from['success'], `${path}.success`, inner),
    failure: list(from['failure'], `${path}.failure`, inner),
  };
}

/** `name` as text, or `nameBase64` as bytes. */
function bytes(from: Plain, name: string, path: string): Bytes | undefined {
  const text = from[name];
  if (typeof text === 'string') return text;
  const base64 = from[`${name}Base64`];
  if (typeof base64 === 'string') {
    return fromBase64(base64) ?? fail(`${path}.${name}Base64`, 'base64');
  }
  return text === undefined && base64 === undefined
    ? undefined
    : fail(`${path}.${name}`, 'a string');
}

function needed(from: Plain, name: string, path: string): Bytes {
  return bytes(from, name, path) ?? fail(`${path}.${name}`, `given (or ${name}Base64)`);
}

function wholeNumber(value: unknown, path: string): number {
  return Number.isSafeInteger(value) ? (value as number) : fail(path, 'a whole number');
}

function leaseText(value: unknown, path: string): string {
  return typeof value === 'string' ? value : fail(`${path}.lease`, 'a string of hex digits');
}

function flag(from: Plain, name: string, path: string): boolean {
  const value = from[name];
  if (value === undefined || typeof value === 'boolean') return value === true;
  return fail(`${path}.${name}`, 'true or false');
}

const SIGNS: readonly CompareSign[] = ['=', '!=', '<', '>'];
const COMPARE_FIELDS = ['key', 'keyBase64', 'target', 'result', 'value', 'valueBase64'];

function comparison(value: unknown, path: string): Compare {
  const from = object(value, path, COMPARE_FIELDS);
  const key = needed(from, 'key', path);
  const sign =
    SIGNS.find((one) => one === from['result']) ?? fail(`${path}.result`, '=, !=, < or >');
  const target = from['target'];
  switch (target) {
    case 'value':
      return compare(key, target, sign, needed(from, 'value', path));
    case 'lease':
      return compare(key, target, sign, parseLease(leaseText(from['value'], path)));
    case 'version':
    case 'create':
    case 'mod':
      return compare(key, target, sign, wholeNumber(from['value'], `${path}.value`));
    default:
      return fail(`${path}.target`, 'version, create, mod, value or lease');
  }
}

const RANGE_FIELDS = [
  'op',
  'key',
  'keyBase64',
  'rangeEnd',
  'rangeEndBase64',
  'prefix',
  'prefixBase64',
  'from',
];

function target(from: Plain, path: string): Bytes | KeyRange {
  const prefix = bytes(from, 'prefix', path);
  if (prefix !== undefined) return { prefix };
  const first = bytes(from, 'from', path);
  if (first !== undefined) return { from: first };
  const key = needed(from, 'key', path);
  const end = bytes(from, 'rangeEnd', path);
  return end === undefined ? key : { range: [key, end] };
}

function operation(value: unknown, path: string, depth: number): TxnOp {
  const name = typeof value === 'object' && value !== null ? (value as Plain)['op'] : undefined;
  switch (name) {
    case 'put':
      return put(value, path);
    case 'get': {
      const from = object(value, path, [...RANGE_FIELDS, 'limit']);
      const limit = from['limit'];
      const limited = limit === undefined ? {} : { limit: wholeNumber(limit, `${path}.limit`) };
      return op.get(target(from, path), limited);
    }
    case 'del': {
      const from = object(value, path, [...RANGE_FIELDS, 'prevKv']);
      return op.delete(target(from, path), flag(from, 'prevKv', path) ? { prevKv: true } : {});
    }
    case 'txn':
      return op.txn(txn(value, path, depth + 1));
    default:
      return fail(`${path}.op`, 'put, get, del or txn');
  }
}

const PUT_FIELDS = [
  'op',
  'key',
  'keyBase64',
  'value',
  'valueBase64',
  'lease',
  'prevKv',
  'ignoreValue',
  'ignoreLease',
];

function put(value: unknown, path: string): TxnOp {
  const from = object(value, path, PUT_FIELDS);
  const ignoreValue = flag(from, 'ignoreValue', path);
  const lease = from['lease'];
  return op.put(needed(from, 'key', path), ignoreValue ? '' : needed(from, 'value', path), {
    ...(flag(from, 'prevKv', path) ? { prevKv: true } : {}),
    ...(ignoreValue ? { ignoreValue } : {}),
    ...(flag(from, 'ignoreLease', path) ? { ignoreLease: true } : {}),
    ...(lease === undefined ? {} : { lease: leaseId(parseLease(leaseText(lease, path))) }),
  });
}
