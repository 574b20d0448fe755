import type { Host } from '../host.ts';
import type { Service } from './service.ts';
import { healthService } from './services/health.ts';

/** Everything that clients of etcd may call, over gRPC or the JSON gateway. */
export function etcdServices(host: Host): readonly Service[] {
  return [healthService(host)];
}
