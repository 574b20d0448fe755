import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, isKvError, type KvorumClient } from '@kvorum/client';
import type { LocalKafka } from '../../scripts/kafka/index.ts';
import { KafkaTopics } from '../e2e/kafka-topics.ts';
import { ProcessCluster } from '../e2e/process-cluster.ts';
import { nowMs } from './recorder.ts';

export interface LostTailOptions {
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

export interface LostTail {
  /** For the report. */
  readonly text: string;
  readonly violations: readonly string[];
}

const SHARD = '0';
const KEY = 'tail/k';
const LEADER_MS = 90_000;
const HALTED_MS = 60_000;
const POLL_MS = 200;

/**
 * Makes Kafka lose acknowledged records of a topic for good, and expects the cluster that lives on it to halt and to say so. A broker
 * that missed the newest records is elected, uncleanly, while the only complete one is gone. Two brokers stay up, the
 * third is not brought back.
 */
export async function loseTail(kafka: LocalKafka, options: LostTailOptions): Promise<LostTail> {
  const topicPrefix = `chaos-tail-${process.pid}-`;
  const cluster = await ProcessCluster.start({
    shards: 1,
    bootstrap: kafka.bootstrap,
    topicPrefix,
    clusterName: topicPrefix,
  });
  const topics = await KafkaTopics.connect(kafka.brokers);
  const client = await connect({ endpoints: cluster.endpoints, timeoutMs: 20_000 });
  try {
    const topic = `${topicPrefix}raft-log-${SHARD}`;
    const acknowledged = await rewriteTail({ kafka, topics, client, topic, ...options });
    options.say(`the tail is rewritten; ${acknowledged} writes were acknowledged before`);
    const violations = await untilHalted(cluster, client, acknowledged);
    const how = violations.length === 0 ? 'every replica halted and said so' : 'NOT noticed';
    return { text: `tail rewritten by an unclean election: ${how}`, violations };
  } finally {
    await client.close();
    await topics.close();
    await cluster.stop();
  }
}

interface Scene extends LostTailOptions {
  readonly kafka: LocalKafka;
  readonly topics: KafkaTopics;
  readonly client: KvorumClient;
  readonly topic: string;
}

/** Answers the number of writes that were acknowledged: the value that the key has to hold. */
async function rewriteTail(scene: Scene): Promise<number> {
  const { kafka, topics, topic, signal } = scene;
  let value = await write(scene.client, 0, 50);
  await topics.alter(topic, { 'unclean.leader.election.enable': 'true' });
  const leader = (await topics.leaderOf(topic)) ?? 1;
  const [behind = 0, complete = 0] = [1, 2, 3].filter((broker) => broker !== leader);
  await kafka.kill(behind);
  value = await write(scene.client, value, 200);
  // Both at once: neither sees the other go.
  await Promise.all([kafka.kill(leader), kafka.kill(complete)]);
  loseTopic(kafka, leader, topic);
  // They count as started when records with acks=all are stored everywhere, which the lost broker may prevent.
  for (const broker of [behind, leader]) kafka.restart(broker).catch(() => undefined);
  const untilMs = nowMs() + LEADER_MS;
  for (;;) {
    const elected = await topics.leaderOf(topic);
    if (elected === behind || elected === leader) return value;
    if (nowMs() > untilMs)
      throw new TypeError(`no unclean election of ${topic}: the leader is ${elected}`);
    await sleep(POLL_MS, undefined, { signal });
  }
}

async function write(client: KvorumClient, from: number, count: number): Promise<number> {
  for (let i = from + 1; i <= from + count; i += 1) await client.put(KEY, `${i}`);
  return from + count;
}

/** The broker's disk comes back without the topic. */
function loseTopic(kafka: LocalKafka, broker: number, topic: string): void {
  const data = join(kafka.directory, `broker-${broker}`, 'data');
  for (const name of readdirSync(data)) {
    if (name.startsWith(`${topic}-`)) rmSync(join(data, name), { recursive: true });
  }
}

/** Every replica stands still, members say why, nothing but an explicitly stale read is answered. */
async function untilHalted(
  cluster: ProcessCluster,
  client: KvorumClient,
  acknowledged: number,
): Promise<readonly string[]> {
  const untilMs = nowMs() + HALTED_MS;
  let halted: readonly boolean[] = [];
  while (nowMs() < untilMs) {
    halted = await Promise.all(cluster.endpoints.map(saysHalted));
    if (halted.every(Boolean)) break;
    // Something has to be read or written for a difference to be seen.
    await client.put(KEY, 'after', { timeoutMs: 1000 }).catch(() => undefined);
    await sleep(POLL_MS);
  }
  const violations = halted.flatMap((is, i) =>
    is ? [] : [`member ${i + 1} goes on with a rewritten log:\n${cluster.output(i).slice(-2000)}`],
  );
  for (let i = 0; i < cluster.size; i += 1) {
    if (!cluster.running(i)) violations.push(`member ${i + 1} ended instead of halting its shard`);
    const log = readFileSync(join(cluster.directory, `m${i + 1}.log`), 'utf8');
    if (!log.includes('shard halted')) violations.push(`member ${i + 1} did not log its halt`);
  }
  violations.push(...(await answers(client, acknowledged)));
  return violations;
}

async function saysHalted(endpoint: string): Promise<boolean> {
  const signal = AbortSignal.timeout(2000);
  const answer = await fetch(`${endpoint}/readyz`, { signal }).catch(() => undefined);
  return ((await answer?.text()) ?? '').includes(`halted: shard ${SHARD}`);
}

async function answers(client: KvorumClient, acknowledged: number): Promise<readonly string[]> {
  const violations: string[] = [];
  const read = await client.get(KEY, { timeoutMs: 3000 }).then(
    (entry) => `answered ${entry?.text()}`,
    (error: unknown) => (isKvError(error) ? error.code : String(error)),
  );
  if (read !== 'KV_HALTED') violations.push(`a linearizable read of a halted shard: ${read}`);
  const stale = await client.get(KEY, { serializable: true, timeoutMs: 3000 });
  // A follower that halts may not have read the last of them: it lets a trickle of records gather (docs/adr/0018).
  const found = Number(stale?.text());
  if (!(found >= 1 && found <= acknowledged)) {
    violations.push(`a stale read found ${stale?.text()}, acknowledged was ${acknowledged}`);
  }
  return violations;
}
