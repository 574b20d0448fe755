import type { ErrorCode, KvError } from '@kvorum/base';
import type { Call } from './call.ts';

/**
 * `retry` = the same shard again; `reroute` = look the shard up again; `reject` = tell the caller.
 */
export type Verdict = 'retry' | 'reroute' | 'reject';

/** The write certainly did not happen, and asking again (elsewhere, later) may help. */
const NOT_APPLIED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'KV_NOT_LEADER',
  'KV_NO_LEADER',
  'KV_DEPOSED',
  'KV_TOO_MANY_REQUESTS',
  'KV_LOG_UNAVAILABLE',
  'KV_STOPPED',
  'KV_UNAVAILABLE',
]);

/** Nobody knows yet; a session finds out by asking again. */
const UNKNOWN: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['KV_LEADER_CHANGED', 'KV_TIMEOUT']);

/**
 * What to do with a member's error. Reads are always free to be repeated; a write of unknown
 * outcome only when its session lets the server recognise it.
 */
export function decide(call: Call, error: KvError): Verdict {
  const { code } = error;
  if (code === 'KV_WRONG_SHARD') return decideMoved(call, error);
  if (error.outcome === 'unknown' && call.write) {
    return call.seq > 0 && (UNKNOWN.has(code) || NOT_APPLIED.has(code)) ? 'retry' : 'reject';
  }
  return NOT_APPLIED.has(code) || UNKNOWN.has(code) ? 'retry' : 'reject';
}

function decideMoved(call: Call, error: KvError): Verdict {
  if (call.pinned) return 'reject';
  // With a slot it is the shard's own decision: no attempt of it was, or ever will be, applied there.
  const isDecided = error.details.slot !== undefined;
  if (!call.write || !call.maybeApplied || isDecided) return 'reroute';
  return call.seq > 0 ? 'retry' : 'reject';
}
