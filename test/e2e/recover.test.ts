import { isKvError } from '@kvorum/base';
import { connect, type KvorumClient } from '@kvorum/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AvailableKafka, ensureKafka } from '../../scripts/kafka/index.ts';
import { Command, KVCTL } from './command.ts';
import { KafkaTopics } from './kafka-topics.ts';
import { ProcessCluster } from './process-cluster.ts';
import { verifyEqualReplicas } from './verify.ts';

const kafka = await ensureKafka();
if (kafka.kind === 'unavailable') {
  process.stderr.write(`SKIPPED recovery of a shard on Kafka: ${kafka.reasons.join('; ')}\n`);
}
const AWAY = 2;
const WAIT = { timeout: 60_000, interval: 200 };

describe.skipIf(kafka.kind === 'unavailable')('a topic deleted and made anew', () => {
  const topicPrefix = `recover-${process.pid}-`;
  const topic = `${topicPrefix}raft-log-0`;
  let cluster: ProcessCluster;
  let client: KvorumClient;
  let topics: KafkaTopics;

  beforeAll(async () => {
    const { bootstrap, brokers } = kafka as AvailableKafka;
    cluster = await ProcessCluster.start({ bootstrap, topicPrefix, shards: 1 });
    client = await connect({ endpoints: cluster.endpoints, timeoutMs: 30_000 });
    topics = await KafkaTopics.connect(brokers);
  });

  afterAll(async () => {
    await client?.close();
    await topics?.close();
    await cluster?.stop();
    if (kafka.kind === 'available') await kafka.stop();
  });

  async function kvctl(...args: readonly string[]): Promise<string> {
    const command = new Command(KVCTL, args, {
      environment: { KVCTL_ENDPOINTS: cluster.endpoints.join(',') },
    });
    const { code, output } = await command.end();
    expect(code, output).toBe(0);
    return output;
  }

  async function haltedCount(of = '0'): Promise<number> {
    const all = await client.status();
    return all.filter(({ status }) =>
      status?.replicas.some(({ shard, halted }) => shard === of && halted !== undefined),
    ).length;
  }

  it('goes on from the chosen replica with every acknowledged write', async () => {
    for (let i = 0; i < 50; i += 1) await client.put(`k/${i}`, 'first');
    expect(await kvctl('shard', 'recover', '0')).toContain('there is nothing to recover');
    await cluster.kill(AWAY);
    for (let i = 0; i < 50; i += 1) await client.put(`k/${i}`, 'second');
    const before = (await client.get('k/0'))?.modRevision ?? 0;
    await topics.recreate(topic);
    await client.put('k/0', 'lost', { timeoutMs: 5000 }).catch((error: unknown) => {
      if (!isKvError(error)) throw error;
    });
    await expect.poll(haltedCount, WAIT).toBe(2);

    const shown = await kvctl('shard', 'recover', '0');
    const command = /^To do it: kvctl (.*)$/m.exec(shown)?.[1];
    expect(shown).toContain('halted log-end-moved-back');
    expect(shown).toContain('Not known: what m3 held');
    expect(command).toMatch(/^shard recover 0 --from m[12] --yes$/);
    expect(await kvctl(...(command ?? '').split(' '))).toContain('in generation 1 of its log');

    await client.put('after', 'recovery');
    for (let i = 0; i < 50; i += 1) expect((await client.get(`k/${i}`))?.text()).toBe('second');
    await cluster.restart(AWAY);
    await client.put('after', 'return');
    await verifyEqualReplicas(client, cluster.endpoints);
    expect((await client.get('after'))?.modRevision).toBeGreaterThan(before + 1_000_000_000);
    expect(await topics.end(`${topic}.g1`)).toBeGreaterThan(2);
    expect(await topics.end(topic)).toBeLessThan(5);
  });

  it('goes on also when it is that of the meta shard, with a member that was away', async () => {
    await topics.recreate(`${topicPrefix}raft-log-meta`);
    await expect.poll(() => haltedCount('meta'), WAIT).toBe(3);
    await client.put('meanwhile', 'the others go on');
    await cluster.kill(AWAY);
    const shown = await kvctl('shard', 'recover', 'meta');
    const command = /^To do it: kvctl (.*)$/m.exec(shown)?.[1];
    expect(command).toMatch(/^shard recover meta --from m[12] --yes$/);
    expect(await kvctl(...(command ?? '').split(' '))).toContain('in generation 1 of its log');
    await cluster.restart(AWAY);
    expect(await kvctl('--timeout', '60s', 'member', 'update', 'm3', '--zone', 'z')).toContain(
      'm3',
    );
    await expect
      .poll(() => kvctl('shard', 'recover', 'meta'), WAIT)
      .toContain('nothing to recover');
    expect(await kvctl('--timeout', '60s', 'status', '--wait')).toContain('3 of 3 members up');
  });
});
