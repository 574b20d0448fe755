import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Rng } from '@kvorum/ports';
import { pick } from './links.ts';
import { nowMs } from './recorder.ts';
import type { World } from './world.ts';

/** Settings that would lose data in the long run, and harm nothing within minutes. */
const WEAK: readonly (readonly [setting: string, value: string])[] = [
  ['retention.ms', '86400000'],
  ['retention.bytes', '10737418240'],
  ['min.insync.replicas', '1'],
];
/** Members check the settings once a minute, and cannot while brokers are down. */
const NOTICED_MS = 180_000;
const ALTERED_MS = 180_000;
const POLL_MS = 500;

/** One setting of a shard's topic, weakened until every member has noticed and named it. */
export interface WeakTopic {
  readonly text: string;
  /** Answers what was not noticed. */
  readonly run: (world: World) => Promise<readonly string[]>;
}

export function drawWeakTopic(rng: Rng, shards: readonly string[]): WeakTopic {
  const [setting, value] = pick(rng, WEAK);
  const shard = pick(rng, shards);
  return {
    text: `${setting}=${value} on the topic of shard ${shard}`,
    run: async (world) => {
      const topic = world.topicOf(shard);
      const logs = Array.from({ length: world.members.size }, (_, i) =>
        join(world.members.directory, `m${i + 1}.log`),
      );
      const before = await insistently(world, () =>
        world.topics.alter(topic, { [setting]: value }),
      );
      try {
        return await untilNamed(world, logs, [topic, setting]);
      } finally {
        await insistently(world, () => world.topics.alter(topic, before));
      }
    },
  };
}

/** The brokers may be down at the moment. */
async function insistently<T>(world: World, action: () => Promise<T>): Promise<T> {
  const untilMs = nowMs() + ALTERED_MS;
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (nowMs() > untilMs) throw error;
      await world.pause(POLL_MS);
    }
  }
}

async function untilNamed(
  world: World,
  logs: readonly string[],
  [topic, setting]: readonly [topic: string, setting: string],
): Promise<readonly string[]> {
  const names = (line: string): boolean =>
    line.includes('the log is not safe') && line.includes(topic) && line.includes(setting);
  const untilMs = nowMs() + NOTICED_MS;
  for (;;) {
    const silent = logs.flatMap((path, i) =>
      readFileSync(path, 'utf8').split('\n').some(names) ? [] : [`member ${i + 1}`],
    );
    if (silent.length === 0) return [];
    if (nowMs() > untilMs) {
      return silent.map((who) => `${who} did not name ${setting} of ${topic} in ${NOTICED_MS} ms`);
    }
    await world.pause(POLL_MS);
  }
}
