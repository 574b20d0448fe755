import { equalBytes, KvError, toHex } from '@kvorum/base';
import type { SharedLog } from '@kvorum/ports';
import { decodeLogRecord } from '@kvorum/wire';
import { LOG_RETRY_MS, type OpenLogOptions } from './open-log.ts';
import { pause } from './system.ts';

const READ_BYTES_MAX = 65_536;
const READ_WAIT_MS = 500;

export interface LogOwner {
  readonly shardUid: Uint8Array;
  readonly generation: number;
}

/**
 * Refuses a log whose first record another shard wrote. To be called before this member may append: its first record would halt
 * the shard that owns the log. An empty log belongs to whoever writes first.
 *
 * Errors: KV_LOG_MISCONFIGURED; KV_LOG_UNAVAILABLE after `startupTimeoutMs`; KV_STOPPED on abort.
 */
export async function checkLogOwner(
  log: SharedLog,
  owner: LogOwner,
  options: Pick<OpenLogOptions, 'clock' | 'startupTimeoutMs' | 'signal'>,
): Promise<void> {
  const { clock, startupTimeoutMs, signal } = options;
  const untilMs = clock.nowMs() + startupTimeoutMs;
  for (;;) {
    const first = await firstRecord(log, signal);
    if (!(first instanceof KvError)) {
      if (first !== undefined) checkRecord(log.name, first, owner);
      return;
    }
    if (signal.aborted) throw new KvError('KV_STOPPED');
    if (clock.nowMs() >= untilMs) throw first;
    await pause(LOG_RETRY_MS, signal);
  }
}

/** The first record's bytes; undefined for an empty log; why it cannot be read. */
async function firstRecord(
  log: SharedLog,
  signal: AbortSignal,
): Promise<Uint8Array | KvError | undefined> {
  const bounds = await log.bounds();
  if ('kind' in bounds) return bounds.error;
  if (bounds.end <= bounds.start) return undefined;
  const options = { bytesMax: READ_BYTES_MAX, waitMs: READ_WAIT_MS, signal };
  const outcome = await log.read(bounds.start, options);
  if (outcome.kind === 'unavailable') return outcome.error;
  const [first] = outcome.kind === 'records' ? outcome.entries : [];
  // Truncated meanwhile, or slow: asked again by the caller's loop.
  return first?.bytes ?? new KvError('KV_LOG_UNAVAILABLE', `${log.name}: no first record came`);
}

function checkRecord(name: string, bytes: Uint8Array, owner: LogOwner): void {
  const record = decodeLogRecord(bytes);
  // A newer version's record is the filter's to judge.
  if (!record.ok && record.error === 'unknown-version') return;
  const hint =
    'give every cluster a log.topicPrefix of its own, or set clusterName and clusterToken to those of the cluster it belongs to';
  if (!record.ok) {
    throw new KvError('KV_LOG_MISCONFIGURED', `${name} holds records that are not Kvorum's`, {
      details: { hint },
    });
  }
  const { shardUid, generation } = record.value;
  if (equalBytes(shardUid, owner.shardUid) && generation === owner.generation) return;
  const wanted = `shard ${toHex(owner.shardUid)} generation ${owner.generation}`;
  const found = `shard ${toHex(shardUid)} generation ${generation}`;
  throw new KvError(
    'KV_LOG_MISCONFIGURED',
    `${name} belongs to another cluster: it holds records of ${found}, not of ${wanted}`,
    { details: { hint } },
  );
}
