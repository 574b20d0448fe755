import { compareBytes, concatBytes, isOpenEnd } from '@kvorum/base';
import type { Entry } from './entry.ts';
import type { Span } from './key-range.ts';
import type { RangeResult } from './range-merge.ts';
import type { RangeOptions } from './request-options.ts';

const PAGE_SIZE = 500;
const ZERO_BYTE = new Uint8Array([0]);

/**
 * Pages through a range in key order; every page reads at the revisions at which the first one was
 * answered.
 */
export async function* scanRange(
  span: Span,
  options: RangeOptions & { readonly pageSize?: number },
  fetch: (span: Span, options: RangeOptions) => Promise<RangeResult>,
): AsyncIterableIterator<Entry> {
  const pageSize = options.pageSize ?? PAGE_SIZE;
  const { limit = 0 } = options;
  let left = limit > 0 ? limit : Number.POSITIVE_INFINITY;
  let { revisions } = options;
  let from: Uint8Array | undefined = span.key;
  while (from !== undefined && left > 0) {
    // Pages follow one another by key, so an order of another kind cannot be paged.
    const page: RangeResult = await fetch(
      { key: from, rangeEnd: span.rangeEnd },
      {
        ...options,
        sortOrder: 'ascend',
        sortTarget: 'key',
        limit: Math.min(left, pageSize),
        revisions,
      },
    );
    if (options.revision === undefined && options.serializable !== true) {
      revisions ??= Object.fromEntries(page.shards.map((at) => [at.shard, at.revision]));
    }
    yield* page.entries;
    left -= page.entries.length;
    from = page.more ? afterLast(page, span.rangeEnd) : undefined;
  }
}

/** First key of the next page; undefined when the range ends before it. */
function afterLast(page: RangeResult, rangeEnd: Uint8Array): Uint8Array | undefined {
  const last = page.entries.at(-1);
  if (last === undefined) return undefined;
  const next = concatBytes(last.key, ZERO_BYTE);
  return isOpenEnd(rangeEnd) || compareBytes(next, rangeEnd) < 0 ? next : undefined;
}
