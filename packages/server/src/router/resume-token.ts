import { err, KvError, ok, type Result } from '@kvorum/base';

/**
 * Where a watch over several shards stands: per place (as `nameOfPlace` of @kvorum/shard calls it; in tokens of the version before, per
 * shard) the next revision to deliver. Opaque for clients: base64url of JSON `{"v":1,"s":{"<place>":<revision>}}`.
 */
export type WatchPosition = ReadonlyMap<string, number>;

export function encodeResumeToken(position: WatchPosition): string {
  const text = JSON.stringify({ v: 1, s: Object.fromEntries(position) });
  return Buffer.from(text).toString('base64url');
}

/** Errors: KV_INVALID_ARGUMENT when the text is not a token of this version. */
export function decodeResumeToken(token: string): Result<WatchPosition, KvError> {
  const bad = err(
    new KvError('KV_INVALID_ARGUMENT', 'the resume token is not one of this cluster'),
  );
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
  } catch {
    return bad; // JSON.parse reports bad input only by throwing
  }
  if (typeof value !== 'object' || value === null || !('v' in value) || !('s' in value)) return bad;
  if (value.v !== 1 || typeof value.s !== 'object' || value.s === null) return bad;
  const position = new Map<string, number>();
  for (const [shard, revision] of Object.entries(value.s)) {
    if (!Number.isSafeInteger(revision) || (revision as number) < 0) return bad;
    position.set(shard, revision as number);
  }
  return ok(position);
}
