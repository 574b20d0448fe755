import { errorSpec, isKvError, KvError, type MemberId, type ShardId } from '@kvorum/base';
import type { Clock, PeerTransport } from '@kvorum/ports';
import { RequestDeadline } from './request-deadline.ts';

/** How long past its deadline an answer is waited for before this member gives up on its own. */
export const GRACE_MS = 250;
const DELAY_MS_MAX = 200;

/** Between the first attempt and the second. */
export const FIRST_DELAY_MS = 25;

export function nextDelayMs(delayMs: number): number {
  return Math.min(delayMs * 2, DELAY_MS_MAX);
}

/** Errors that say "this did not happen here, it may elsewhere or later"; only these are tried again. */
const RETRIED: readonly string[] = ['KV_NO_LEADER', 'KV_NOT_LEADER', 'KV_DEPOSED', 'KV_HALTED'];

/**
 * Throws what the caller is told, unless another attempt is worth it: nothing has happened, and the shard may get a leader.
 *
 * @param shardHalt - why the shard as a whole stands still.
 */
export function checkWorthRetrying(error: KvError, shardHalt: () => KvError | undefined): void {
  if (!RETRIED.includes(error.code) || error.outcome !== 'not-applied') throw error;
  // One halted replica is replaced by the next leader; a shard that can have none says so at once.
  const halt = shardHalt();
  if (halt !== undefined) throw halt;
}

/** A request to the member that leads a shard. */
export interface LeaderCall {
  readonly leader: MemberId;
  readonly shard: ShardId;
  readonly message: unknown;
  readonly timeoutMs: number;
  /** It changes nothing, so that no outcome of it is unknown. */
  readonly readOnly: boolean;
}

/** What the leader's member answers. Errors: KV_NO_LEADER when it certainly did not get it, KV_TIMEOUT, KV_LEADER_CHANGED. */
export async function askLeader(
  {
    peers,
    clock,
  }: {
    readonly peers: Pick<PeerTransport, 'request' | 'isReachable'>;
    readonly clock: Pick<Clock, 'setTimer'>;
  },
  { leader, shard, message, timeoutMs, readOnly }: LeaderCall,
): Promise<unknown> {
  if (!peers.isReachable(leader)) {
    const text = 'the leader cannot be reached';
    throw new KvError('KV_NO_LEADER', text, { details: { shard } });
  }
  const signal = new RequestDeadline(clock, timeoutMs + GRACE_MS);
  try {
    return await peers.request(leader, message, { signal });
  } catch (error) {
    throw signal.aborted ? timedOut(shard, readOnly) : unreachable(shard, error, readOnly);
  }
}

/** A read that timed out changed nothing; a write may have. */
export function timedOut(shard: ShardId, readOnly: boolean): KvError {
  return new KvError('KV_TIMEOUT', `shard ${shard} did not answer`, {
    details: { shard },
    outcome: readOnly ? 'not-applied' : errorSpec('KV_TIMEOUT').outcome,
  });
}

/** A broken connection leaves a write's fate open, unless the transport knows that it never left. */
function unreachable(shard: ShardId, cause: unknown, readOnly: boolean): KvError {
  const text = cause instanceof Error ? cause.message : String(cause);
  const unsent = isKvError(cause) && cause.outcome === 'not-applied';
  if (unsent && cause.code !== 'KV_UNAVAILABLE') return cause;
  if (unsent || readOnly) return new KvError('KV_NO_LEADER', text, { cause, details: { shard } });
  return new KvError('KV_LEADER_CHANGED', `the connection to the leader broke (${text})`, {
    cause,
    details: { shard },
  });
}
