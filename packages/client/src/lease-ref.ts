import { KvError, type LeaseId, leaseIdOf } from '@kvorum/base';

/** A lease, or its id. */
export type LeaseRef = bigint | { readonly id: bigint };

/** Errors: KV_INVALID_ARGUMENT. */
export function idOfLease(lease: LeaseRef): LeaseId {
  const given: unknown = typeof lease === 'object' && lease !== null ? lease.id : lease;
  const id = leaseIdOf(given);
  if (id !== undefined) return id;
  throw new KvError('KV_INVALID_ARGUMENT', 'a lease is a Lease or its id: a bigint of 64 bits');
}
