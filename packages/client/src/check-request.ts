import { isCount, KvError, type KvRequest } from '@kvorum/base';
import { parseKvRequest } from '@kvorum/wire';

/*
 * What a member cannot read it answers by closing the connection, with everything else that is under way on it; and the SDK would
 * send it again until its deadline. So nothing of the kind is sent.
 */

const invalid = (what: string): KvError => new KvError('KV_INVALID_ARGUMENT', what);

/** Errors: KV_INVALID_ARGUMENT naming the field and what was expected. */
export function checkRequest(request: KvRequest): void {
  const parsed = parseKvRequest(request);
  if (parsed.ok) return;
  const what = parsed.error.message.replace(/^kv: malformed message: request\./, '');
  throw new KvError('KV_INVALID_ARGUMENT', what, { cause: parsed.error });
}

interface WatchFields {
  readonly startRevision?: unknown;
  readonly revisions?: unknown;
  readonly prevKv?: unknown;
  readonly filters?: unknown;
}

/** Errors: KV_INVALID_ARGUMENT naming the option and what was expected. */
export function checkWatch(options: WatchFields): void {
  const { startRevision = 0, revisions = {}, prevKv = false, filters = [] } = options;
  if (!isCount(startRevision)) throw invalid('startRevision must be an integer of at least 0');
  if (typeof revisions !== 'object' || revisions === null) {
    throw invalid('revisions must be an object of shards and revisions');
  }
  for (const [shard, revision] of Object.entries(revisions)) {
    if (!isCount(revision)) throw invalid(`revisions.${shard} must be an integer of at least 0`);
  }
  if (typeof prevKv !== 'boolean') throw invalid('prevKv must be true or false');
  if (!Array.isArray(filters) || !filters.every((one) => one === 'no-put' || one === 'no-delete')) {
    throw invalid('filters must be a list of no-put, no-delete');
  }
}
