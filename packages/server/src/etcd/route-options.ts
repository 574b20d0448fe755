import { type KvRequest, originOf } from '@kvorum/base';
import type { Host } from '../host.ts';
import { placeRequest } from '../router/place.ts';
import type { RouteOptions } from '../router/router.ts';
import { GrpcError } from './grpc-error.ts';
import type { Call } from './service.ts';

/** How long a call may take: what its caller said, at most `limits.requestTimeoutMs`. */
export function deadlineOf(host: Pick<Host, 'clock' | 'limits'>, call: Call): number {
  const latest = host.clock.nowMs() + host.limits.requestTimeoutMs;
  return Math.min(call.deadlineMs ?? latest, latest);
}

/** Whether the caller would rather be refused than wait for a leader. */
export function requiresLeader(call: Call): boolean {
  return call.metadata.get('hasleader') === 'true';
}

/** Errors: UNAVAILABLE "etcdserver: no leader". */
export function checkLeaders(host: Pick<Host, 'leaders'>, shards: readonly string[]): void {
  const leaders = host.leaders();
  if (shards.some((shard) => leaders[shard] === undefined)) {
    throw new GrpcError('UNAVAILABLE', 'etcdserver: no leader');
  }
}

/**
 * How the router is to take a request that came in a call. Errors: why the member serves nothing now; no leader of the request's
 * shards, when the caller requires one.
 */
export function routeOptionsOf(host: Host, call: Call, request: KvRequest): RouteOptions {
  const refusal = host.refusal();
  if (refusal !== undefined) throw refusal;
  if (requiresLeader(call)) checkLeaders(host, placeRequest(host.map(), request));
  const deadlineMs = deadlineOf(host, call);
  return call.user === undefined ? { deadlineMs } : { deadlineMs, origin: originOf(call.user, '') };
}
