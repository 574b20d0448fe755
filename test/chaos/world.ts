import { setTimeout as sleep } from 'node:timers/promises';
import { logTopic, shardId } from '@kvorum/base';
import type { KafkaTopics } from '../e2e/kafka-topics.ts';
import type { ProcessCluster } from '../e2e/process-cluster.ts';
import { headersOf } from './at-member.ts';
import type { ChaosGround } from './chaos-cluster.ts';
import { nowMs } from './recorder.ts';

interface ShardLine {
  readonly shard: string;
  readonly leader?: string;
}

interface MemberLine {
  readonly id: string;
  readonly name: string;
}

const START_MS = 180_000;
const POLL_MS = 50;

/** What a process is meant to do right now: the end of one that is meant to run is a crash. */
type Intent = 'run' | 'be gone';

/** What faults act on: one cluster and its ground. */
export class World {
  readonly ground: ChaosGround;
  readonly members: ProcessCluster;
  readonly topics: KafkaTopics;
  readonly #topicPrefix: string;
  readonly #signal: AbortSignal;
  readonly #token: string | undefined;
  readonly #intents: Intent[];

  constructor(from: {
    readonly ground: ChaosGround;
    readonly members: ProcessCluster;
    readonly topics: KafkaTopics;
    readonly topicPrefix: string;
    readonly signal: AbortSignal;
    /** Of root, where authorization is enabled. */
    readonly token: string | undefined;
  }) {
    this.ground = from.ground;
    this.members = from.members;
    this.topics = from.topics;
    this.#topicPrefix = from.topicPrefix;
    this.#signal = from.signal;
    this.#token = from.token;
    this.#intents = Array.from({ length: from.members.size }, () => 'run');
  }

  /** Rejects when the run is being stopped. */
  async pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#signal });
  }

  topicOf(shard: string): string {
    return logTopic(`${this.#topicPrefix}raft-log-`, shardId(shard), 0);
  }

  /** Index of the member that leads the shard, or any when nobody knows. */
  async leaderMember(shard: string): Promise<number> {
    for (const endpoint of this.members.endpoints) {
      const ask = async <T>(path: string): Promise<T> => {
        const headers = headersOf({ token: this.#token });
        const signal = AbortSignal.timeout(1000);
        const answer = await fetch(`${endpoint}${path}`, { headers, signal });
        return (await answer.json()) as T;
      };
      try {
        const shards = await ask<readonly ShardLine[]>('/v1/shards');
        const members = await ask<readonly MemberLine[]>('/v1/members');
        const leader = shards.find((line) => line.shard === shard)?.leader;
        const name = members.find(({ id }) => id === leader)?.name;
        if (name !== undefined) return Number(name.slice(1)) - 1;
      } catch {
        this.#signal.throwIfAborted();
      }
    }
    return 0;
  }

  /** Number of the broker that leads the shard's topic, or any when nobody knows. */
  async leaderBroker(shard: string): Promise<number> {
    return (await this.topics.leaderOf(this.topicOf(shard))) ?? 1;
  }

  async killMember(i: number, signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#intents[i] = 'be gone';
    await this.members.kill(i, signal);
  }

  /** Resolves once the process answers at all: from then on it has to recover. */
  async startMember(i: number): Promise<void> {
    this.members.spawn(i);
    this.#intents[i] = 'run';
    const untilMs = nowMs() + START_MS;
    const signal = (): AbortSignal => AbortSignal.timeout(1000);
    const url = `${this.members.endpoints[i]}/livez`;
    while (!(await fetch(url, { signal: signal() }).catch(() => undefined))?.ok) {
      if (!this.members.running(i)) return; // a crash, which is noticed elsewhere
      if (nowMs() > untilMs) throw new TypeError(`member ${i + 1} did not start in ${START_MS} ms`);
      await this.pause(POLL_MS);
    }
  }

  /** Members that ended although nobody ended them. */
  crashed(): readonly number[] {
    return this.#intents.flatMap((intent, i) =>
      intent === 'run' && !this.members.running(i) ? [i] : [],
    );
  }
}
