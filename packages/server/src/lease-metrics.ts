import type { ReplicaMetrics } from '@kvorum/replica';
import { Counter, Histogram, type Registry } from 'prom-client';

/** From a second to half a year, as etcd's. */
const TTL_SECONDS = Array.from({ length: 24 }, (_, i) => 2 ** i);

/** What the home of the leases counts, under etcd's names. */
export function leaseMetrics(registry: Registry): ReplicaMetrics['leases'] {
  const add = (name: string, help: string): Counter =>
    new Counter({ name, help, registers: [registry] });
  const granted = add('etcd_debugging_lease_granted_total', 'Leases granted.');
  const revoked = add('etcd_debugging_lease_revoked_total', 'Leases that ended, by whatever.');
  const renewed = add('etcd_debugging_lease_renewed_total', 'Keep-alives that this leader took.');
  const expired = add(
    'etcd_debugging_server_lease_expired_total',
    'Leases whose time had passed, as this leader saw it.',
  );
  const ttl = new Histogram({
    name: 'etcd_debugging_lease_ttl_total',
    help: 'Times to live of granted leases, in seconds.',
    buckets: TTL_SECONDS,
    registers: [registry],
  });
  return {
    granted(ttlSeconds) {
      granted.inc();
      ttl.observe(ttlSeconds);
    },
    revoked: () => revoked.inc(),
    renewed: () => renewed.inc(),
    expired: (count) => expired.inc(count),
  };
}
