import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type KvorumClient } from '@kvorum/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AvailableKafka, ensureKafka } from '../../scripts/kafka/index.ts';
import { ProcessCluster } from './process-cluster.ts';
import { verifyEqualReplicas } from './verify.ts';

const kafka = await ensureKafka();
if (kafka.kind === 'unavailable') {
  process.stderr.write(`SKIPPED snapshots on Kafka: ${kafka.reasons.join('; ')}\n`);
}
const AWAY = 2;
const WAIT = { timeout: 60_000, interval: 200 };

describe.skipIf(kafka.kind === 'unavailable')('a log that is truncated', () => {
  let cluster: ProcessCluster;
  let client: KvorumClient;

  beforeAll(async () => {
    const { bootstrap } = kafka as AvailableKafka;
    const limits = {
      durableMs: 200,
      truncateMs: 200,
      truncateSlackRecords: 5,
      truncateSlackBytes: 1,
      truncateSlackMs: 1,
      snapshotChunkBytes: 20_000,
    };
    cluster = await ProcessCluster.start({
      bootstrap,
      topicPrefix: `snapshots-${process.pid}-`,
      shards: 1,
      config: { limits },
    });
    client = await connect({ endpoints: cluster.endpoints, timeoutMs: 30_000 });
  });

  afterAll(async () => {
    await client?.close();
    await cluster?.stop();
    if (kafka.kind === 'available') await kafka.stop();
  });

  async function write(count: number, text: string): Promise<void> {
    for (let i = 0; i < count; i += 1) await client.put(`k/${i % 50}`, text.repeat(200));
  }

  /** Highest of a gauge of shard 0 over the members that run. */
  async function gauge(name: string): Promise<number> {
    const found = await Promise.all(
      cluster.endpoints.map(async (endpoint) => {
        const answer = await fetch(`${endpoint}/metrics`).catch(() => undefined);
        const text = (await answer?.text()) ?? '';
        return Number(new RegExp(`^${name}\\{shard="0"\\} (-?\\d+)$`, 'm').exec(text)?.[1] ?? -1);
      }),
    );
    return Math.max(...found);
  }

  it('gives a member that was away a snapshot, and all replicas the same content', async () => {
    await write(100, 'before');
    await expect.poll(() => gauge('kv_log_truncated_offset'), WAIT).toBeGreaterThan(20);
    await cluster.kill(AWAY);
    const reached = await gauge('kv_log_offset');
    await client.changeMember({ kind: 'exclude', member: `m${AWAY + 1}` });
    await write(150, 'meanwhile');
    await expect.poll(() => gauge('kv_log_truncated_offset'), WAIT).toBeGreaterThan(reached + 20);
    await cluster.restart(AWAY);
    await client.changeMember({ kind: 'exclude', member: `m${AWAY + 1}`, cancel: true });
    await write(20, 'after');
    await verifyEqualReplicas(client, cluster.endpoints);
    const log = readFileSync(join(cluster.directory, `m${AWAY + 1}.log`), 'utf8');
    expect(log).toContain('snapshot installed');
  });
});
