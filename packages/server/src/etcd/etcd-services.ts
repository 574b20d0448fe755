import { META_SHARD } from '@kvorum/base';
import { shardsWithSlots } from '@kvorum/shard';
import type { Host } from '../host.ts';
import { guarded } from './guard/guard.ts';
import { headersOf } from './header.ts';
import { requiringLeaders } from './require-leader.ts';
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
  const meta = (): readonly string[] => [META_SHARD];
  const services = [
    kvService(host),
    watchService(host),
    leaseService(host),
    requiringLeaders(host, clusterService(host), meta),
    requiringLeaders(host, maintenanceService(host), () => shardsWithSlots(host.map())),
    lockService(host),
    electionService(host),
    requiringLeaders(host, authService(host), meta),
    healthService(host),
  ];
  return guarded(services, { gate, source, headers: headersOf(host) });
}
