import { setTimeout as pause } from 'node:timers/promises';
import type { KvorumClient } from '@kvorum/client';

const POLL_MS = 100;

/**
 * Whether every replica of every shard has the same content at the same index; waits for stragglers. Answers what is not so: a
 * shard whose replicas differ, or never came to one index. Nothing may be written meanwhile.
 */
export async function replicaDifferences(
  client: KvorumClient,
  endpoints: readonly string[],
  timeoutMs = 30_000,
): Promise<readonly string[]> {
  const untilMs = Date.now() + timeoutMs;
  const problems: string[] = [];
  for (const { shard } of await client.shards()) {
    for (;;) {
      // A member that was just restarted may not be connected yet.
      const hashes = await Promise.all(
        endpoints.map((endpoint) => client.hash(endpoint, shard).catch(() => undefined)),
      ).then((all) => all.flatMap((hash) => hash ?? []));
      // One that was left without slots goes some time after them.
      if (hashes.length === 0 && !(await isListed(client, shard))) break;
      const indexes = new Set(hashes.map(({ index }) => index));
      if (hashes.length === endpoints.length && indexes.size === 1) {
        const different = new Set(hashes.map(({ hash }) => hash));
        if (different.size > 1) {
          problems.push(`shard ${shard}: replicas differ at ${JSON.stringify(hashes)}`);
        }
        break;
      }
      if (Date.now() > untilMs) {
        problems.push(
          `shard ${shard}: replicas never came to one index: ${JSON.stringify(hashes)}`,
        );
        break;
      }
      await pause(POLL_MS);
    }
  }
  return problems;
}

async function isListed(client: KvorumClient, shard: string): Promise<boolean> {
  return (await client.shards()).some((line) => line.shard === shard);
}
