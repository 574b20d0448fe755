import { concatBytes, isKvError, prefixEnd, RANGE_END_OPEN, utf8 } from '@kvorum/base';
import type { Entry, KeyRange, KvorumClient, RangeResult } from '@kvorum/client';
import type { Call } from './context.ts';

/** Keys of one page: enough to be quick, few enough for values of some hundred kilobytes. */
const PAGE_KEYS = 500;

export interface PageOptions {
  readonly keysOnly?: boolean;
  readonly serializable?: boolean;
  /** Only what this shard holds. */
  readonly shard?: string | undefined;
  /** Of the one shard that holds the range. */
  readonly revision?: number | undefined;
  readonly pageKeys?: number;
}

/** The keys behind the last one of a page, up to the end of the whole range. */
function rest(last: Uint8Array, end: Uint8Array | undefined): KeyRange {
  const from = concatBytes(last, Uint8Array.of(0));
  return end === undefined ? { from } : { range: [from, end] };
}

function endOf(range: KeyRange): Uint8Array | undefined {
  if ('range' in range)
    return typeof range.range[1] === 'string' ? utf8(range.range[1]) : range.range[1];
  if (!('prefix' in range) || range.prefix.length === 0) return undefined;
  const prefix = typeof range.prefix === 'string' ? utf8(range.prefix) : range.prefix;
  const end = prefixEnd(prefix);
  return end.length === RANGE_END_OPEN.length && end[0] === 0 ? undefined : end;
}

/**
 * A range in the order of its keys, page by page, in memory that does not grow with it. Every shard is read at the revision that its
 * first page had, so that what happens meanwhile is not seen. Pages shrink where the values are large. Errors: KV_COMPACTED when a
 * compaction passes that revision, ...
 */
export async function* pagesOf(
  client: Pick<KvorumClient, 'range'>,
  range: KeyRange,
  { pageKeys = PAGE_KEYS, ...options }: PageOptions,
  call: () => Call,
): AsyncGenerator<RangeResult> {
  const end = endOf(range);
  let next: KeyRange | undefined = range;
  let revisions: Readonly<Record<string, number>> = {};
  let limit = pageKeys;
  while (next !== undefined) {
    const asked: KeyRange = next;
    const page: RangeResult | undefined = await client
      .range(asked, {
        ...options,
        ...(options.revision === undefined ? { revisions } : {}),
        ...call(),
        limit,
      })
      .catch((error: unknown) => {
        const tooLarge = isKvError(error) && error.code === 'KV_REQUEST_TOO_LARGE';
        if (!tooLarge || limit === 1) throw error;
        return undefined;
      });
    if (page === undefined) {
      limit = Math.max(1, Math.floor(limit / 4));
      continue;
    }
    limit = Math.min(pageKeys, limit * 2);
    for (const { shard, revision } of page.shards) {
      revisions = { [shard]: revision, ...revisions };
    }
    yield page;
    const last: Entry | undefined = page.entries.at(-1);
    next = page.more && last !== undefined ? rest(last.key, end) : undefined;
  }
}

/** The entries of all pages. */
export async function* entriesOf(
  ...args: Parameters<typeof pagesOf>
): AsyncGenerator<Entry, undefined> {
  for await (const page of pagesOf(...args)) yield* page.entries;
}
