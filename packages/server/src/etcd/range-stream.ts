import { concatBytes, type RangeRequest, type RangeResponse } from '@kvorum/base';
import { shardsOfRange } from '@kvorum/shard';
import { GrpcError } from './grpc-error.ts';
import type { ResponseHeader } from './header.ts';
import type { KvCalls } from './kv-calls.ts';
import type { Call } from './service.ts';

/** Keys in the first piece; etcd begins with as many. */
const KEYS_FIRST = 10;

/** Some keys of a streamed range; only the last piece has the header, `more` and `count`. */
export interface RangePiece {
  readonly response: RangeResponse;
  readonly header: ResponseHeader | undefined;
}

/** Errors: UNIMPLEMENTED in etcd's words for what it does not stream. */
export function checkStreamable(request: RangeRequest): void {
  const { sortOrder, sortTarget } = request;
  if (sortOrder !== 'none' && !(sortTarget === 'key' && sortOrder === 'ascend')) {
    throw new GrpcError('UNIMPLEMENTED', 'RangeStream does not support custom sort orders');
  }
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  const filters = [minModRevision, maxModRevision, minCreateRevision, maxCreateRevision];
  if (filters.some((revision) => revision !== 0)) {
    throw new GrpcError('UNIMPLEMENTED', 'RangeStream does not support revision filters');
  }
}

/**
 * A range piece by piece, all of it at the revision of the first one. Over several shards there is no such revision: then it is read
 * at once and only sent in pieces.
 */
export async function* rangePieces(
  calls: KvCalls,
  request: RangeRequest,
  call: Call,
): AsyncGenerator<RangePiece, void, undefined> {
  const { host } = calls;
  const inOneShard = shardsOfRange(host.map(), request.key, request.rangeEnd).length === 1;
  if (request.countOnly === true || !inOneShard) {
    const { response, header } = await calls.run(request, call);
    yield* cut(response, header, host.limits.requestBytesMax);
    return;
  }
  const total = (request.limit ?? 0) > 0 ? (request.limit ?? 0) : Number.POSITIVE_INFINITY;
  let sent = 0;
  let size = KEYS_FIRST;
  let first: { readonly header: ResponseHeader; readonly count: number } | undefined;
  let part = request;
  for (;;) {
    const limit = Math.min(size, total - sent);
    const { response, header } = await calls.run({ ...part, limit }, call);
    first ??= { header, count: response.count };
    sent += response.kvs.length;
    const last = response.kvs.at(-1);
    if (!response.more || sent >= total || last === undefined) {
      yield { response: { ...response, count: first.count }, header: first.header };
      return;
    }
    yield piece(response.kvs, response);
    size = nextSize(size, bytesOf(response), host.limits.requestBytesMax);
    const asked = part.revision ?? 0;
    const revision = asked > 0 ? asked : Number(first.header.revision);
    part = { ...part, revision, key: concatBytes(last.key, new Uint8Array(1)) };
  }
}

function piece(kvs: RangeResponse['kvs'], of: RangeResponse): RangePiece {
  return { response: { ...of, kvs, more: false, count: 0 }, header: undefined };
}

function* cut(
  response: RangeResponse,
  header: ResponseHeader,
  bytesMax: number,
): Generator<RangePiece, void, undefined> {
  let from = 0;
  let bytes = 0;
  for (const [at, { key, value }] of response.kvs.entries()) {
    bytes += key.length + value.length;
    if (bytes <= bytesMax || at === from) continue;
    yield piece(response.kvs.slice(from, at), response);
    from = at;
    bytes = key.length + value.length;
  }
  yield { response: { ...response, kvs: response.kvs.slice(from) }, header };
}

function bytesOf({ kvs }: RangeResponse): number {
  return kvs.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
}

/** So many keys that the next piece comes near `bytesMax`. */
function nextSize(size: number, bytes: number, bytesMax: number): number {
  if (bytes * 2 < bytesMax) return size * 2;
  return bytes > bytesMax * 2 ? Math.max(1, Math.floor(size / 2)) : size;
}
