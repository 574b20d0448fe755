import type { Host } from '../host.ts';
import { guarded } from './guard/guard.ts';
import { headersOf } from './header.ts';
import type { Service } from './service.ts';
import { authService } from './services/auth.ts';
import { clusterService } from './services/cluster.ts';
import { electionService } from './services/election.ts';
import { healthService } from './services/health.ts';
import { kvService } from './services/kv.ts';
import { leaseService } from './services/lease.ts';
import { lockService } from './services/lock.ts';
import { maintenanceService } from './services/maintenance.ts';
import { watchService } from './services/watch.ts';

/** Everything that clients of etcd may call, over gRPC or the JSON gateway; each method lets through whom its rule allows. */
export function etcdServices(host: Host): readonly Service[] {
  const { gate, source } = host.auth;
  const services = [
    kvService(host),
    watchService(host),
    leaseService(host),
    clusterService(host),
    maintenanceService(host),
    lockService(host),
    electionService(host),
    authService(host),
    healthService(host),
  ];
  return guarded(services, { gate, source, headers: headersOf(host) });
}
