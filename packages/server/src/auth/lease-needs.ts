import { type Needs, noNeeds } from '@kvorum/auth';
import { type LeaseId, NO_LEASE } from '@kvorum/base';

/** What requests about leases need of whoever sends them, on every interface. Granting and keeping alive: that somebody has logged in. */

/** To end a lease, or to hang a key on it. */
export function needsOfLease(id: bigint): Needs {
  return { ...noNeeds(), leases: id === NO_LEASE ? [] : [id as LeaseId] };
}

/** To see how long it lives, and with `keys` what hangs on it. */
export function needsOfLeaseTime(id: bigint, { keys }: { readonly keys: boolean }): Needs {
  return { ...noNeeds(), leaseReads: keys ? [id as LeaseId] : [] };
}

/** To list all leases there are, whoever they belong to. */
export function needsOfLeaseList(): Needs {
  return { ...noNeeds(), allLeases: true };
}
