import { fromUtf8, logOffset, shardId, utf8 } from '@kvorum/base';
import { openKafkaLogs } from '@kvorum/log-kafka';
import type { AppendOutcome, SharedLog, SharedLogs } from '@kvorum/ports';
import kafkajs from 'kafkajs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { freshPrefix, kafkaForTests } from './kafka.ts';

const kafka = await kafkaForTests({ faults: true });
const faults = kafka?.faults;
const SPEC = { shard: shardId(0), generation: 0 };
const never = new AbortController().signal;

describe.skipIf(faults === undefined)('loss of a broker of a real Kafka', () => {
  let logs: SharedLogs;
  let follower: SharedLogs;
  let log: SharedLog;
  let topic: string;

  beforeEach(async () => {
    const topicPrefix = freshPrefix();
    topic = `${topicPrefix}0`;
    const options = { brokers: kafka?.brokers ?? [], topicPrefix };
    logs = openKafkaLogs({ ...options, clientId: 'writer' });
    follower = openKafkaLogs({ ...options, clientId: 'follower' });
    log = await logs.open(SPEC, { create: true });
  });
  afterEach(async () => {
    await Promise.all([logs.close(), follower.close()]);
  });

  async function partitionLeader(): Promise<number> {
    const client = new kafkajs.Kafka({
      brokers: [...(kafka?.brokers ?? [])],
      logLevel: kafkajs.logLevel.NOTHING,
    });
    const admin = client.admin();
    await admin.connect();
    try {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
      return topics[0]?.partitions[0]?.leader ?? -1;
    } finally {
      await admin.disconnect();
    }
  }

  /** Reads like a follower, offset after offset, until told; nothing but records may be seen after the first. */
  async function follow(until: () => number | undefined): Promise<readonly string[]> {
    const reader = await follower.open(SPEC, { create: false });
    const texts: string[] = [];
    let next = 0;
    for (let end = until(); end === undefined || next < end; end = until()) {
      const outcome = await reader.read(logOffset(next), {
        bytesMax: 1 << 20,
        waitMs: 500,
        signal: never,
      });
      expect(outcome.kind).not.toBe('out-of-range');
      if (outcome.kind !== 'records') continue;
      for (const { offset, bytes } of outcome.entries) {
        texts[offset] = fromUtf8(bytes);
        next = offset + 1;
      }
    }
    return texts;
  }

  /** Appends until `count` were acknowledged after `fault` struck; the texts and what became of them. */
  async function appendThrough(
    fault: () => Promise<void>,
    count: number,
  ): Promise<{ readonly text: string; readonly outcome: AppendOutcome }[]> {
    const done: { text: string; outcome: AppendOutcome }[] = [];
    const appendOne = async (): Promise<AppendOutcome> => {
      const text = `record ${done.length}`;
      const outcome = await log.append(utf8(text));
      done.push({ text, outcome });
      return outcome;
    };
    for (let i = 0; i < 20; i += 1) expect((await appendOne()).kind).toBe('appended');
    let isStruck = false;
    const striking = fault().then(() => {
      isStruck = true;
    });
    for (let acknowledged = 0; acknowledged < count; ) {
      const { kind } = await appendOne();
      if (isStruck && kind === 'appended') acknowledged += 1;
      else if (kind !== 'appended') acknowledged = 0;
    }
    await striking;
    return done;
  }

  function check(
    done: readonly { readonly text: string; readonly outcome: AppendOutcome }[],
    seen: readonly string[],
  ): void {
    for (const { text, outcome } of done) {
      if (outcome.kind === 'appended') expect(seen[outcome.offset]).toBe(text);
      if (outcome.kind === 'absent') expect(seen).not.toContain(text);
    }
  }

  it('kill -9 of the partition leader: every acknowledged record stays, an absent one never shows', async () => {
    const leader = await partitionLeader();
    let end: number | undefined;
    const following = follow(() => end);
    const done = await appendThrough(async () => faults?.kill(leader), 50);
    expect(await partitionLeader()).not.toBe(leader);
    const last = done.at(-1)?.outcome;
    end = last?.kind === 'appended' ? last.offset + 1 : 0;
    check(done, await following);
    await faults?.restart(leader);
  });

  it('a frozen partition leader: the append is unknown, then the next leader takes over', async () => {
    const leader = await partitionLeader();
    let end: number | undefined;
    const following = follow(() => end);
    const done = await appendThrough(async () => faults?.pause(leader), 20);
    expect(done.map(({ outcome }) => outcome.kind)).toContain('unknown');
    await faults?.resume(leader);
    const last = done.at(-1)?.outcome;
    end = last?.kind === 'appended' ? last.offset + 1 : 0;
    check(done, await following);
  });

  it('all brokers frozen: appends and reads end by themselves, and go on afterwards', async () => {
    expect((await log.append(utf8('a'))).kind).toBe('appended');
    await Promise.all([1, 2, 3].map(async (broker) => faults?.pause(broker)));
    try {
      expect((await log.append(utf8('b'))).kind).toBe('unknown');
      expect((await log.append(utf8('c'))).kind).toBe('absent');
      const outcome = await log.read(logOffset(1), { bytesMax: 1000, waitMs: 100, signal: never });
      expect(outcome.kind).toBe('unavailable');
      expect(await log.bounds()).toMatchObject({ kind: 'unavailable' });
    } finally {
      await Promise.all([1, 2, 3].map(async (broker) => faults?.resume(broker)));
    }
    await expect
      .poll(async () => (await log.append(utf8('d'))).kind, { timeout: 30_000 })
      .toBe('appended');
  });
});
