import { compareBytes, concatBytes } from '@kvorum/base';
import type { RangeOptions } from './client.ts';
import type { Entry } from './entry.ts';
import type { Span } from './key-range.ts';
import type { RangeResult } from './range-merge.ts';

const PAGE_SIZE = 500;
const ZERO_BYTE = new Uint8Array([0]);

/** Pages through a range in key order; every page reads at the revisions at which the first one was answered. */
export async function* scanRange(
  span: Span,
  options: RangeOptions & { readonly pageSize?: number },
  fetch: (span: Span, options: RangeOptions) => Promise<RangeResult>,
): AsyncIterableIterator<Entry> {
  const pageSize = options.pageSize ?? PAGE_SIZE;
  let left = options.limit ?? 0;
  let revisions = options.revisions;
  let from = span.key;
  for (;;) {
    const limit = left > 0 ? Math.min(left, pageSize) : pageSize;
    // Pages follow one another by key, so an order of another kind cannot be paged.
    const asked = { ...options, sortOrder: 'ascend', sortTarget: 'key', limit } as const;
    const page = await fetch(
      { key: from, rangeEnd: span.rangeEnd },
      { ...asked, ...(revisions === undefined ? {} : { revisions }) },
    );
    if (options.revision === undefined && options.serializable !== true) {
      revisions ??= Object.fromEntries(page.shards.map((at) => [at.shard, at.revision]));
    }
    yield* page.entries;
    const last = page.entries.at(-1);
    if (left > 0) left -= page.entries.length;
    if (last === undefined || !page.more || (options.limit !== undefined && left <= 0)) return;
    from = concatBytes(last.key, ZERO_BYTE);
    if (compareBytes(from, span.rangeEnd) >= 0 && !isOpen(span.rangeEnd)) return;
  }
}

function isOpen(rangeEnd: Uint8Array): boolean {
  return rangeEnd.length === 1 && rangeEnd[0] === 0;
}
