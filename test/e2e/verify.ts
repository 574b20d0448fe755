import type { KvorumClient } from '@kvorum/client';
import { expect } from 'vitest';
import { replicaDifferences } from './replica-hashes.ts';
import type { SeenEvent, Workload } from './workload.ts';

/** Whether the watcher has seen the last acknowledged write of every key. */
export function sawEverything(workload: Workload): (events: readonly SeenEvent[]) => boolean {
  return (events) => {
    const seen = new Set(events.map((event) => `${event.key} ${event.value}`));
    return workload.writes
      .filter((write) => write.outcome === 'acknowledged')
      .every((write) => seen.has(`${write.key} ${write.value}`));
  };
}

/**
 * What must hold after any fault: acknowledged writes are there, at their revision and once; failed ones are nowhere; watchers saw
 * every event once and in order; no read was stale.
 */
export async function verifyHistory(workload: Workload, client: KvorumClient): Promise<void> {
  expect(workload.staleReads).toEqual([]);
  expect(orderViolations(workload.events)).toEqual([]);
  expect(writeViolations(workload)).toEqual([]);
  expect(await storeViolations(workload, client)).toEqual([]);
}

/** Per shard strictly rising revisions (one write a revision here), so neither doubled nor reordered. */
export function orderViolations(events: readonly SeenEvent[]): readonly string[] {
  const last = new Map<string, number>();
  const violations: string[] = [];
  for (const event of events) {
    const before = last.get(event.shard) ?? 0;
    if (event.revision <= before) {
      violations.push(`shard ${event.shard}: revision ${event.revision} after ${before}`);
    }
    last.set(event.shard, event.revision);
  }
  return violations;
}

/** Acknowledged writes were seen once and at their revision, failed ones never. */
export function writeViolations(workload: Pick<Workload, 'writes' | 'events'>): readonly string[] {
  const seen = new Map<string, SeenEvent[]>();
  for (const event of workload.events) {
    const id = `${event.key} ${event.value}`;
    seen.set(id, [...(seen.get(id) ?? []), event]);
  }
  const violations: string[] = [];
  for (const write of workload.writes) {
    const id = `${write.key} ${write.value}`;
    const events = seen.get(id) ?? [];
    const [event] = events;
    if (events.length > 1) violations.push(`${id}: applied ${events.length} times`);
    if (write.outcome === 'failed' && events.length > 0) {
      violations.push(`${id}: reported as failed (${write.code}), yet applied`);
    }
    if (write.outcome !== 'acknowledged') continue;
    if (event === undefined)
      violations.push(`${id}: acknowledged at ${write.revision}, never seen`);
    else if (event.revision !== write.revision) {
      violations.push(`${id}: acknowledged at ${write.revision}, seen at ${event.revision}`);
    }
  }
  return violations;
}

/** The store holds each key's last seen value, with as many versions as were seen. */
export async function storeViolations(
  workload: Workload,
  client: KvorumClient,
): Promise<readonly string[]> {
  const newest = new Map<string, { readonly event: SeenEvent; readonly count: number }>();
  for (const event of workload.events) {
    const count = (newest.get(event.key)?.count ?? 0) + 1;
    newest.set(event.key, { event, count });
  }
  const violations: string[] = [];
  for (const [key, { event, count }] of newest) {
    const entry = await client.get(key);
    const found = `${entry?.text()} at ${entry?.modRevision}, version ${entry?.version}`;
    const expected = `${event.value} at ${event.revision}, version ${count}`;
    if (found !== expected) violations.push(`${key}: holds ${found}, expected ${expected}`);
  }
  for (const write of sample(workload)) {
    const entry = await client.get(write.key, { revision: write.revision });
    if (entry?.text() !== write.value) {
      violations.push(`${write.key}@${write.revision}: ${entry?.text()}, not ${write.value}`);
    }
  }
  return violations;
}

/** Some acknowledged writes of the whole run, to be read at their revision. */
function sample(workload: Workload): readonly { key: string; value: string; revision: number }[] {
  const acknowledged = workload.writes.flatMap(({ key, value, outcome, revision }) =>
    outcome === 'acknowledged' && revision !== undefined ? [{ key, value, revision }] : [],
  );
  const step = Math.max(1, Math.floor(acknowledged.length / 200));
  return acknowledged.filter((_, i) => i % step === 0);
}

/** Every replica of every shard has the same content at the same index; waits for stragglers. */
export async function verifyEqualReplicas(
  client: KvorumClient,
  endpoints: readonly string[],
): Promise<void> {
  expect(await replicaDifferences(client, endpoints)).toEqual([]);
}
