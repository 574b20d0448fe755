import { create } from '@bufbuild/protobuf';
import {
  Health,
  type HealthCheckResponse,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from '@kvorum/wire/gen/grpc/health/v1/health_pb';
import type { Host } from '../../host.ts';
import { pause } from '../../member/system.ts';
import { GrpcError } from '../grpc-error.ts';
import { type Service, service } from '../service.ts';

/** A change of readiness that no leader change tells of is seen this late. */
const LOOK_MS = 1000;

type Readiness = Pick<Host, 'readiness' | 'onTopologyChange'>;

function answer(status: ServingStatus): HealthCheckResponse {
  return create(HealthCheckResponseSchema, { status });
}

function isReady(host: Readiness): boolean {
  return host.readiness().every((check) => check.ok);
}

/** Resolves at the next change of a leader or the map, after LOOK_MS, or when the call ends. */
async function change(host: Readiness, signal: AbortSignal): Promise<void> {
  const changed = new AbortController();
  const stop = host.onTopologyChange(() => changed.abort());
  try {
    await pause(LOOK_MS, AbortSignal.any([changed.signal, signal]));
  } finally {
    stop();
  }
}

/** `grpc.health.v1.Health` of the whole member, whose service name is empty, as etcd's: serving is what /readyz says. */
export function healthService(host: Readiness): Service {
  const current = (): ServingStatus =>
    isReady(host) ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
  return service(Health, {
    async check(request) {
      if (request.service !== '') throw new GrpcError('NOT_FOUND', 'unknown service');
      return answer(current());
    },
    async watch(request, outgoing, { signal }) {
      if (request.service !== '') {
        // By the protocol a watch of an unknown service waits for it to appear; none ever does here.
        outgoing.send(answer(ServingStatus.SERVICE_UNKNOWN));
        while (!signal.aborted) await pause(LOOK_MS, signal);
        return;
      }
      let sent: ServingStatus | undefined;
      while (!signal.aborted) {
        const status = current();
        if (status !== sent && !outgoing.send(answer(status))) await outgoing.drained();
        sent = status;
        await change(host, signal);
      }
    },
  });
}
