import type { ReplicaMetrics } from '@kvorum/replica';

/** Nobody counts what a simulated replica tells. */
export const quietMetrics: ReplicaMetrics = {
  proposalCommitted: () => undefined,
  proposalFailed: () => undefined,
  appendMs: () => undefined,
  applyMs: () => undefined,
  batchCommands: () => undefined,
  fenced: () => undefined,
  readRound: () => undefined,
  unknownOutcome: () => undefined,
  autoCompacted: () => undefined,
  compactedRows: () => undefined,
  leases: {
    granted: () => undefined,
    revoked: () => undefined,
    renewed: () => undefined,
    expired: () => undefined,
  },
};
