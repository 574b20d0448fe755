import { connect } from '@kvorum/client';
import type { Driver } from './driver.ts';

/** Long enough that a failover is ridden out by the SDK and shows as latency, not as errors. */
const CALL_TIMEOUT_MS = 30_000;

/** Drives a Kvorum cluster through the SDK with its defaults: exactly-once sessions, linearizable reads. */
export async function openKvorum(endpoints: readonly string[]): Promise<Driver> {
  const client = await connect({ endpoints, name: 'kvorum-bench', timeoutMs: CALL_TIMEOUT_MS });
  return {
    put: (key, value) => client.put(key, value),
    get: (key) => client.get(key),
    hop: (key) => client.get(key, { serializable: true }),
    laneOf: (key) => client.shardOf(key),
    close: () => client.close(),
  };
}
