import type { LogOffset } from '@kvorum/base';
import type { FencedReason } from '@kvorum/raft';
import type { ReplicaOptions } from './replica-options.ts';

/** What metrics and log hear of a leader's batches. */
export function batchReports({
  logger,
  metrics,
  shard,
}: Pick<ReplicaOptions, 'logger' | 'metrics' | 'shard'>): {
  readonly sealed: (commands: number) => void;
  readonly settled: (commands: number, committed: boolean) => void;
} {
  return {
    sealed: (commands) => metrics.batchCommands(shard, commands),
    settled: (commands, committed) => {
      if (committed) metrics.proposalCommitted(shard, commands);
      else metrics.proposalFailed(shard, commands);
      logger.debug({ commands, committed }, 'batch settled');
    },
  };
}

export function appendReport({
  metrics,
  shard,
}: Pick<ReplicaOptions, 'metrics' | 'shard'>): (
  ms: number,
  outcome: 'appended' | 'absent' | 'unknown',
) => void {
  return (ms, outcome) => {
    metrics.appendMs(shard, ms);
    if (outcome === 'unknown') metrics.unknownOutcome(shard);
  };
}

export function reportFenced(
  { logger, metrics, shard }: Pick<ReplicaOptions, 'logger' | 'metrics' | 'shard'>,
  { offset, reason }: { readonly offset: LogOffset; readonly reason: FencedReason },
): void {
  metrics.fenced(shard);
  logger.info({ offset, reason }, 'record fenced');
}
