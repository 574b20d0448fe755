import type { LeaseId, Revision } from './ids.ts';

/**
 * The requests and answers of the key-value service, in etcd's semantics (etcd api/etcdserverpb/rpc.proto), as plain data. One
 * shard executes one request; what spans shards is split and merged above.
 */
export interface KeyValue {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly createRevision: Revision;
  readonly modRevision: Revision;
  readonly version: number;
  readonly lease: LeaseId;
}

export type SortOrder = 'none' | 'ascend' | 'descend';
export type SortTarget = 'key' | 'version' | 'create' | 'mod' | 'value';

export interface RangeRequest {
  readonly op: 'range';
  readonly key: Uint8Array;
  /** Empty or absent = the single key; one zero byte = every key from `key` on. */
  readonly rangeEnd?: Uint8Array;
  /** 0, negative or absent = unlimited. */
  readonly limit?: number;
  /** <= 0 or absent = newest. */
  readonly revision?: number;
  readonly sortOrder?: SortOrder;
  readonly sortTarget?: SortTarget;
  /** Local and possibly stale instead of linearizable. */
  readonly serializable?: boolean;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
  readonly minModRevision?: number;
  readonly maxModRevision?: number;
  readonly minCreateRevision?: number;
  readonly maxCreateRevision?: number;
}

export interface PutRequest {
  readonly op: 'put';
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  readonly lease?: LeaseId;
  readonly prevKv?: boolean;
  readonly ignoreValue?: boolean;
  readonly ignoreLease?: boolean;
}

export interface DeleteRangeRequest {
  readonly op: 'delete-range';
  readonly key: Uint8Array;
  readonly rangeEnd?: Uint8Array;
  readonly prevKv?: boolean;
}

export type CompareResult = 'equal' | 'greater' | 'less' | 'not-equal';

/** `stored <result> given`; with `rangeEnd` it must hold for every key of the range. */
export type Compare = {
  readonly key: Uint8Array;
  readonly rangeEnd?: Uint8Array;
  readonly result: CompareResult;
} & (
  | { readonly target: 'version' | 'create' | 'mod'; readonly value: number }
  | { readonly target: 'lease'; readonly value: LeaseId }
  | { readonly target: 'value'; readonly value: Uint8Array }
);

export type TxnOp = RangeRequest | PutRequest | DeleteRangeRequest | TxnRequest;

export interface TxnRequest {
  readonly op: 'txn';
  readonly compare: readonly Compare[];
  readonly success: readonly TxnOp[];
  readonly failure: readonly TxnOp[];
}

export interface CompactRequest {
  readonly op: 'compact';
  readonly revision: number;
  /** Answer only after the superseded rows are gone from the answering replica's disk. */
  readonly physical?: boolean;
}

/** Requests that go through the log. A txn of ranges only is a read (see isReadOnly in mvcc). */
export type WriteRequest = PutRequest | DeleteRangeRequest | TxnRequest | CompactRequest;
export type KvRequest = RangeRequest | WriteRequest;

export interface RangeResponse {
  readonly op: 'range';
  /** The store's current revision, also when an older one was read. */
  readonly revision: Revision;
  readonly kvs: readonly KeyValue[];
  readonly more: boolean;
  readonly count: number;
}
export interface PutResponse {
  readonly op: 'put';
  readonly revision: Revision;
  readonly prevKv?: KeyValue;
}
export interface DeleteRangeResponse {
  readonly op: 'delete-range';
  readonly revision: Revision;
  readonly deleted: number;
  readonly prevKvs: readonly KeyValue[];
}
export interface TxnResponse {
  readonly op: 'txn';
  readonly revision: Revision;
  readonly succeeded: boolean;
  readonly responses: readonly TxnOpResponse[];
}
export interface CompactResponse {
  readonly op: 'compact';
  readonly revision: Revision;
}
export type TxnOpResponse = RangeResponse | PutResponse | DeleteRangeResponse | TxnResponse;
export type KvResponse = TxnOpResponse | CompactResponse;

/**
 * Which attempt of which client a write is: makes a retry exactly-once.
 *
 * `seq` counts from 1 per (client, shard) without holes; everything up to `ackedThrough` has been answered and will not be
 * retried. `retry` = these bytes may have been sent before.
 */
export interface SessionTag {
  /** 16 random bytes as 32 lower-case hex digits. */
  readonly clientId: string;
  readonly seq: number;
  readonly ackedThrough: number;
  readonly retry: boolean;
}

export type WatchFilter = 'no-put' | 'no-delete';

export interface WatchRequest {
  readonly key: Uint8Array;
  readonly rangeEnd?: Uint8Array;
  /** First revision to deliver; 0 or absent = after now. */
  readonly startRevision?: number;
  readonly prevKv?: boolean;
  readonly filters?: readonly WatchFilter[];
  /** Ask for empty progress batches while nothing happens. */
  readonly progressNotify?: boolean;
  /** Only keys of these slots, [from, to] both inclusive: a part of a watch whose slots moved apart. */
  readonly slots?: readonly (readonly [from: number, to: number])[];
}

export interface WatchEvent {
  readonly type: 'put' | 'delete';
  /** For a delete only key and modRevision carry meaning; value is empty and the rest 0. */
  readonly kv: KeyValue;
  readonly prevKv?: KeyValue;
}
