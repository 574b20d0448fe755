import type { Result } from '@kvorum/base';
import {
  type LeaseCallParams,
  type LeaseGranted,
  type LeaseKeptAlive,
  type LeaseList,
  type LeaseMethod,
  type LeaseRevoked,
  type LeaseTimeInfo,
  parseLeaseGrantParams,
  parseLeaseListParams,
  parseLeaseParams,
  parseLeaseTimeParams,
} from '@kvorum/wire';
import type { Host } from '../host.ts';
import { TIMEOUT_MS_MAX } from './session-refusals.ts';

type LeaseAnswer = LeaseGranted | LeaseRevoked | LeaseKeptAlive | LeaseTimeInfo | LeaseList;

function accepted<T>(parsed: Result<T, Error>): T {
  if (parsed.ok) return parsed.value;
  throw parsed.error;
}

function deadlineOf({ clock, limits }: Host, { timeoutMs = 0 }: LeaseCallParams): number {
  return clock.nowMs() + Math.min(timeoutMs || limits.requestTimeoutMs, TIMEOUT_MS_MAX);
}

/** Answers a control method about leases. Errors: KV_MALFORMED; those of `Leases`. */
export async function leaseControl(
  host: Host,
  method: LeaseMethod,
  given: unknown,
): Promise<LeaseAnswer> {
  const refusal = host.refusal();
  if (refusal !== undefined) throw refusal;
  const { leases } = host;
  switch (method) {
    case 'leaseGrant': {
      const params = accepted(parseLeaseGrantParams(given));
      return leases.grant(params, deadlineOf(host, params));
    }
    case 'leaseRevoke': {
      const params = accepted(parseLeaseParams(given));
      return leases.revoke(params.id, deadlineOf(host, params));
    }
    case 'leaseKeepAlive': {
      const params = accepted(parseLeaseParams(given));
      return leases.keepAlive(params.id, deadlineOf(host, params));
    }
    case 'leaseTimeToLive': {
      const params = accepted(parseLeaseTimeParams(given));
      const wantsKeys = params.keys === true;
      return leases.timeToLive(params.id, { wantsKeys }, deadlineOf(host, params));
    }
    case 'leases':
      return leases.list(deadlineOf(host, accepted(parseLeaseListParams(given))));
  }
}
