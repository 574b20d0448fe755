import { formatId, KvError, type MemberId, type ShardId } from '@kvorum/base';
import type { HaltReport } from '@kvorum/raft';

/** Reasons in which this member failed, not the log. */
const OWN_FAILURES: ReadonlySet<HaltReport['reason']> = new Set(['apply-failed']);

/** What happened, in one line, for log lines and clients; a stack stays in the report. */
export function haltText({ reason, detail }: Pick<HaltReport, 'reason' | 'detail'>): string {
  const [first = ''] = detail.split('\n', 1);
  return OWN_FAILURES.has(reason)
    ? `this replica failed (${reason}): ${first}`
    : `its log contradicts this replica (${reason}): ${first}`;
}

function wayOn(shard: ShardId): string {
  return `kvctl shard recover ${shard}   # shows every replica and how to go on; docs/operations.md on halted shards`;
}

/** The answer of a halted replica. */
export function haltError(shard: ShardId, report: Pick<HaltReport, 'reason' | 'detail'>): KvError {
  const hint = OWN_FAILURES.has(report.reason)
    ? 'mend the disk if the log line of the member names it, restart the member; halted again: report it with that line'
    : wayOn(shard);
  return new KvError('KV_HALTED', haltText(report), { details: { shard, hint } });
}

/** Why a replica takes no writes: another one leads, or none is known to. */
export function notLeaderError(shard: ShardId, leader: MemberId | undefined): KvError {
  return leader === undefined
    ? new KvError('KV_NO_LEADER', undefined, { details: { shard } })
    : new KvError('KV_NOT_LEADER', undefined, { details: { shard, leader: formatId(leader) } });
}

/** For a report: with the stack, since it is a bug or a broken disk. */
export function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
