import {
  type Compare,
  type CompareResult,
  EMPTY_BYTES,
  type TxnOp,
  type TxnRequest,
} from '@kvorum/base';
import type { TxnResult } from './answer.ts';
import { type Bytes, type KeyRange, spanOfTarget, toBytes } from './key-range.ts';
import { idOfLease, type LeaseRef } from './lease-ref.ts';
import type { CallOptions } from './options.ts';

export type CompareSign = '=' | '!=' | '<' | '>';

const SIGNS: Readonly<Record<CompareSign, CompareResult>> = {
  '=': 'equal',
  '!=': 'not-equal',
  '<': 'less',
  '>': 'greater',
};

/** `version` 0 = the key does not exist. */
export type NumberTarget = 'version' | 'create' | 'mod';

/**
 * One comparison: the stored `target` of `key` against `value`. With a range it must hold for every
 * key in it.
 */
export function compare(
  key: Bytes | KeyRange,
  target: NumberTarget,
  sign: CompareSign,
  value: number,
): Compare;
export function compare(
  key: Bytes | KeyRange,
  target: 'value',
  sign: CompareSign,
  value: Bytes,
): Compare;
export function compare(
  key: Bytes | KeyRange,
  target: 'lease',
  sign: CompareSign,
  value: LeaseRef,
): Compare;
export function compare(
  key: Bytes | KeyRange,
  target: NumberTarget | 'value' | 'lease',
  sign: CompareSign,
  value: number | LeaseRef | Bytes,
): Compare {
  const span = spanOfTarget(key);
  const base = {
    key: span.key,
    ...(span.rangeEnd.length === 0 ? {} : { rangeEnd: span.rangeEnd }),
    result: SIGNS[sign],
  };
  if (target === 'value') return { ...base, target, value: toBytes(value as Bytes) };
  if (target === 'lease') return { ...base, target, value: idOfLease(value as LeaseRef) };
  return { ...base, target, value: value as number };
}

export interface PutOpOptions {
  readonly lease?: LeaseRef | undefined;
  readonly prevKv?: boolean | undefined;
  readonly ignoreValue?: boolean | undefined;
  readonly ignoreLease?: boolean | undefined;
}

/** The operations of a transaction's branches. */
export const op = {
  put(key: Bytes, value: Bytes, options: PutOpOptions = {}): TxnOp {
    const { lease, prevKv, ignoreValue, ignoreLease } = options;
    return {
      op: 'put',
      key: toBytes(key),
      value: ignoreValue === true ? EMPTY_BYTES : toBytes(value),
      ...(lease === undefined ? {} : { lease: idOfLease(lease) }),
      ...(prevKv === undefined ? {} : { prevKv }),
      ...(ignoreValue === undefined ? {} : { ignoreValue }),
      ...(ignoreLease === undefined ? {} : { ignoreLease }),
    };
  },
  get(target: Bytes | KeyRange, options: { readonly limit?: number } = {}): TxnOp {
    return { op: 'range', ...spanOfTarget(target), ...options };
  },
  delete(target: Bytes | KeyRange, options: { readonly prevKv?: boolean } = {}): TxnOp {
    return { op: 'delete-range', ...spanOfTarget(target), ...options };
  },
  txn(inner: TxnInit): TxnOp {
    return txnRequestOf(inner);
  },
} as const;

/** The plain form of a transaction. */
export interface TxnInit {
  readonly compare?: readonly Compare[] | undefined;
  readonly success?: readonly TxnOp[] | undefined;
  readonly failure?: readonly TxnOp[] | undefined;
}

export function txnRequestOf(init: TxnInit): TxnRequest {
  return {
    op: 'txn',
    compare: init.compare ?? [],
    success: init.success ?? [],
    failure: init.failure ?? [],
  };
}

/**
 * Builds a transaction: `when` every comparison holds `do` these operations, `otherwise` those;
 * atomically, within one shard. (No method is called `then`: that would make it a promise to
 * `await`.)
 */
export class TxnBuilder {
  readonly #compare: Compare[] = [];
  readonly #success: TxnOp[] = [];
  readonly #failure: TxnOp[] = [];
  readonly #commit: (request: TxnInit, options: CallOptions) => Promise<TxnResult>;

  constructor(commit: (request: TxnInit, options: CallOptions) => Promise<TxnResult>) {
    this.#commit = commit;
  }

  when(...comparisons: readonly Compare[]): this {
    this.#compare.push(...comparisons);
    return this;
  }

  do(...operations: readonly TxnOp[]): this {
    this.#success.push(...operations);
    return this;
  }

  otherwise(...operations: readonly TxnOp[]): this {
    this.#failure.push(...operations);
    return this;
  }

  commit(options: CallOptions = {}): Promise<TxnResult> {
    return this.#commit(
      { compare: this.#compare, success: this.#success, failure: this.#failure },
      options,
    );
  }
}
