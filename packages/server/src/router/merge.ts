import {
  compareBytes,
  type KeyValue,
  type RangeRequest,
  type RangeResponse,
  revision,
} from '@kvorum/base';

const TARGETS: Readonly<Record<string, (a: KeyValue, b: KeyValue) => number>> = {
  key: (a, b) => compareBytes(a.key, b.key),
  version: (a, b) => a.version - b.version,
  create: (a, b) => a.createRevision - b.createRevision,
  mod: (a, b) => a.modRevision - b.modRevision,
  value: (a, b) => compareBytes(a.value, b.value),
};

/** Order of a merged answer: the asked one; keys ascending where none was asked, and among equals. */
function orderOf(request: RangeRequest): (a: KeyValue, b: KeyValue) => number {
  const order = request.sortOrder ?? 'none';
  const byTarget = TARGETS[request.sortTarget ?? 'key'] ?? compareKeys;
  if (order === 'none' && (request.sortTarget ?? 'key') === 'key') return compareKeys;
  const sign = order === 'descend' ? -1 : 1;
  return (a, b) => sign * byTarget(a, b) || compareKeys(a, b);
}

function compareKeys(a: KeyValue, b: KeyValue): number {
  return compareBytes(a.key, b.key);
}

/**
 * One answer out of the answers of several shards to the same range request. Each shard answered at its own revision: the
 * merged `revision` is the greatest and orders nothing across shards.
 */
export function mergeRanges(request: RangeRequest, parts: readonly RangeResponse[]): RangeResponse {
  const all = parts.flatMap((part) => part.kvs).sort(orderOf(request));
  const limit = request.limit !== undefined && request.limit > 0 ? request.limit : all.length;
  return {
    op: 'range',
    revision: revision(Math.max(...parts.map((part) => part.revision))),
    kvs: all.slice(0, limit),
    more: all.length > limit || parts.some((part) => part.more),
    count: parts.reduce((sum, part) => sum + part.count, 0),
  };
}
