export const HALT_REASONS = [
  'wrong-shard',
  'wrong-generation',
  'genesis-missing',
  'unreadable-record',
  'barrier-missing',
  'seq-gap',
  'chain-mismatch',
  'log-rewritten',
  'log-end-moved-back',
  'log-start-passed',
  'history-contradicted',
  'apply-failed',
] as const;

/** Why a replica stands still for good. `apply-failed` is a failure of its own, the others are the log's. */
export type HaltReason = (typeof HALT_REASONS)[number];

const KNOWN: ReadonlySet<unknown> = new Set(HALT_REASONS);

export function isHaltReason(value: unknown): value is HaltReason {
  return KNOWN.has(value);
}
