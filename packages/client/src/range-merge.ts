import { compareBytes, type Revision, type SortOrder, type SortTarget } from '@kvorum/base';
import type { ShardRangeResult } from './answer.ts';
import type { Entry } from './entry.ts';

/** Revision at which one shard answered. */
export interface ShardRevision {
  readonly shard: string;
  readonly revision: Revision;
}

/** What a range holds, over all its shards. */
export interface RangeResult {
  readonly entries: readonly Entry[];
  /** Keys in the range, whatever the limit. */
  readonly count: number;
  readonly more: boolean;
  /**
   * Each shard has its own timeline until there is one for the cluster: one revision per shard
   * asked.
   */
  readonly shards: readonly ShardRevision[];
}

export interface MergeOrder {
  readonly sortOrder?: SortOrder | undefined;
  readonly sortTarget?: SortTarget | undefined;
  readonly limit?: number | undefined;
}

function comparison(target: SortTarget): (a: Entry, b: Entry) => number {
  switch (target) {
    case 'version':
      return (a, b) => a.version - b.version;
    case 'create':
      return (a, b) => a.createRevision - b.createRevision;
    case 'mod':
      return (a, b) => a.modRevision - b.modRevision;
    case 'value':
      return (a, b) => compareBytes(a.value, b.value);
    default:
      return (a, b) => compareBytes(a.key, b.key);
  }
}

/**
 * Merges the shards' answers in the order asked for (keys ascending by default) and cuts at the
 * limit.
 */
export function mergeRanges(parts: readonly ShardRangeResult[], order: MergeOrder): RangeResult {
  const limit = order.limit ?? 0;
  const shards = parts.map(({ shard, revision }) => ({ shard, revision }));
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  const [only] = parts;
  let entries: readonly Entry[] = only?.entries ?? [];
  if (parts.length > 1) {
    const compare = comparison(order.sortTarget ?? 'key');
    const sign = order.sortOrder === 'descend' ? -1 : 1;
    entries = parts.flatMap((part) => part.entries).sort((a, b) => sign * compare(a, b));
  }
  const cut = limit > 0 && entries.length > limit;
  return {
    entries: cut ? entries.slice(0, limit) : entries,
    count,
    more: cut || parts.some((part) => part.more),
    shards,
  };
}
