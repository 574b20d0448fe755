import type { LeaseId } from '@kvorum/base';

interface OfLeases {
  readonly op: 'lease';
}

/** The leases' home lets another shard admit leases; void once the shard has heard of a later term or a higher floor. */
export interface LeasePermit {
  /** Term of the home's leader. */
  readonly term: number;
  /** Counts the permits of one term. */
  readonly seq: number;
}

/**
 * How a lease ends at its home.
 *
 * `alone`: in this step, since no other shard has ever owned a slot; `begin`: it cannot be used any more and its keys here go, the row
 * stays until every other shard has dropped it; `finish`: they all have.
 */
export type RevokeStage = 'alone' | 'begin' | 'finish';

/** What the leader of a shard logs about leases. The first two are for the shard that is the home of all leases. */
export type LeaseCommand =
  | (OfLeases & {
      readonly action: 'grant';
      readonly id: LeaseId;
      /** Within its bounds. */
      readonly ttlSeconds: number;
    })
  | (OfLeases & {
      readonly action: 'revoke';
      readonly ids: readonly LeaseId[];
      readonly stage: RevokeStage;
      readonly term: number;
    })
  /** Of a shard that is not the home: keys may be put on these leases there. */
  | (OfLeases & {
      readonly action: 'admit';
      readonly leases: readonly AdmittedLease[];
      readonly permit: LeasePermit;
    })
  /** Of a shard that is not the home: nothing of these leases stays there. Permits of the term below `floor` are void from then on. */
  | (OfLeases & {
      readonly action: 'drop';
      readonly ids: readonly LeaseId[];
      readonly term: number;
      readonly floor: number;
    });

/** A lease as another shard hears of it. */
export interface AdmittedLease {
  readonly id: LeaseId;
  readonly ttlSeconds: number;
}

/** About what a command takes in the queue. */
export function leaseCommandBytes(command: LeaseCommand): number {
  const count =
    command.action === 'grant'
      ? 1
      : command.action === 'admit'
        ? command.leases.length
        : command.ids.length;
  return 64 + count * 16;
}
