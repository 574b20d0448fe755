import type { ClusterId, Limits, MemberId } from '@kvorum/base';
import type { ElectionMetrics, KafkaElection } from '@kvorum/log-kafka';
import type { RaftMessage } from '@kvorum/raft';

export interface ElectionIdentity {
  readonly self: MemberId;
  readonly cluster: ClusterId;
  readonly limits: Limits;
  readonly metrics: ElectionMetrics;
}

/** Opens the transport of votes and heartbeats over the Kafka of the log. Errors: as of the log's opening. */
export type OpenElection = (identity: ElectionIdentity) => Promise<KafkaElection>;

/** What only a leader says unasked; the rest are votes and answers. */
const LEADERS: ReadonlySet<unknown> = new Set<RaftMessage['kind']>(['heartbeat', 'accepted']);

/** Whether the message belongs in the topic `raft-leader`. */
export function isLeaders(payload: unknown): boolean {
  return (
    typeof payload === 'object' &&
    payload !== null &&
    'kind' in payload &&
    LEADERS.has(payload.kind)
  );
}
