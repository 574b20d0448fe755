import type { KvError, LeaseId, Limits, ShardId } from '@kvorum/base';
import { type LeaseCommand, leaseCommandBytes } from '@kvorum/mvcc';
import type { Clock } from '@kvorum/ports';
import type { Command, ReplicaMetrics } from './api.ts';
import type { LeaseNetwork } from './lease-api.ts';
import type { ReplicaLogger } from './replica-options.ts';

/** What the leases of a shard need of its replica. */
export interface LeaseHost {
  readonly shard: ShardId;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly logger: ReplicaLogger;
  readonly metrics: Pick<ReplicaMetrics, 'leases'>;
  /** Absent: of a shard that is alone. */
  readonly leases?: LeaseNetwork;
  /** Queues a write on the leader; answers at once when it cannot. */
  readonly submit: (command: Command) => void;
  /** Resolves once the applied state is proven current, by a round that begins after the call. Errors: those of a read. */
  readonly confirm: (deadlineMs: number) => Promise<void>;
  readonly revision: () => number;
  /** The shard's own keys of a lease. Errors: KV_REQUEST_TOO_LARGE. */
  readonly keysOf: (id: LeaseId) => Promise<readonly Uint8Array[]>;
  /** Why this replica leads nothing at the moment. */
  readonly notLeading: () => KvError;
}

/** Logs a command about leases; resolves when it is applied. Errors: those of a write, and of the command. */
export function logLeases(
  host: Pick<LeaseHost, 'submit'>,
  request: LeaseCommand,
  deadlineMs: number,
): Promise<{ readonly revision: number; readonly isDone: boolean }> {
  return new Promise((resolve, reject) => {
    host.submit({
      request,
      session: undefined,
      deadlineMs,
      bytes: leaseCommandBytes(request),
      done: (result) => {
        if (!result.ok) reject(result.error);
        else {
          const { response } = result;
          const isDone = response.op === 'txn' && response.succeeded;
          resolve({ revision: response.revision, isDone });
        }
      },
    });
  });
}
