import type { Host } from '../host.ts';
import type { Service } from './service.ts';
import { clusterService } from './services/cluster.ts';
import { electionService } from './services/election.ts';
import { healthService } from './services/health.ts';
import { kvService } from './services/kv.ts';
import { leaseService } from './services/lease.ts';
import { lockService } from './services/lock.ts';
import { maintenanceService } from './services/maintenance.ts';
import { watchService } from './services/watch.ts';

/** Everything that clients of etcd may call, over gRPC or the JSON gateway. */
export function etcdServices(host: Host): readonly Service[] {
  return [
    kvService(host),
    watchService(host),
    leaseService(host),
    clusterService(host),
    maintenanceService(host),
    lockService(host),
    electionService(host),
    healthService(host),
  ];
}
