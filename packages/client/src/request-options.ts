import type { SortOrder, SortTarget } from '@kvorum/base';
import type { LeaseRef } from './lease-ref.ts';
import type { CallOptions } from './options.ts';

export interface PutOptions extends CallOptions {
  /** The key is deleted when the lease ends, unless a later put gives it another one, or none. */
  readonly lease?: LeaseRef | undefined;
  /** Answer what the key held before. */
  readonly prevKv?: boolean | undefined;
  /** Keep the key's value (give an empty one) and change only its lease; or the other way round. */
  readonly ignoreValue?: boolean | undefined;
  readonly ignoreLease?: boolean | undefined;
}

export interface GetOptions extends CallOptions {
  /** Read as of an older revision of the key's shard. */
  readonly revision?: number | undefined;
  /** Answered from one replica's own state, possibly stale; linearizable otherwise. */
  readonly serializable?: boolean | undefined;
}

export interface RangeOptions extends GetOptions {
  /** Shard → revision to read at; the other shards are read at their newest. */
  readonly revisions?: Readonly<Record<string, number>> | undefined;
  readonly limit?: number | undefined;
  readonly sortOrder?: SortOrder | undefined;
  readonly sortTarget?: SortTarget | undefined;
  readonly keysOnly?: boolean | undefined;
  readonly countOnly?: boolean | undefined;
  readonly minModRevision?: number | undefined;
  readonly maxModRevision?: number | undefined;
  readonly minCreateRevision?: number | undefined;
  readonly maxCreateRevision?: number | undefined;
  /** Only what this shard holds of the range. */
  readonly shard?: string | undefined;
}

export interface DeleteOptions extends CallOptions {
  readonly prevKv?: boolean | undefined;
}

export interface CompactOptions extends CallOptions {
  /** One shard; absent = every data shard. */
  readonly shard?: string | undefined;
  /** Answer only after the answering replica's disk is free of it. */
  readonly physical?: boolean | undefined;
}
