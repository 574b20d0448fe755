import type { LeaseId } from '@kvorum/base';
import type { Host } from '../host.ts';

/** What hangs on leases, of all shards. */
export interface LeaseKeys {
  /** Empty for a lease that does not exist. */
  keysOf(lease: LeaseId): Promise<readonly Uint8Array[]>;
  all(): Promise<readonly LeaseId[]>;
}

export function keysOfLeases(host: Pick<Host, 'clock' | 'leases' | 'limits'>): LeaseKeys {
  const deadlineMs = (): number => host.clock.nowMs() + host.limits.requestTimeoutMs;
  return {
    async keysOf(lease) {
      const { keys } = await host.leases.timeToLive(lease, { wantsKeys: true }, deadlineMs());
      return keys;
    },
    async all() {
      return (await host.leases.list(deadlineMs())).ids;
    },
  };
}
