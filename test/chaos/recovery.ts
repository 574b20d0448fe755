import type { KvorumClient } from '@kvorum/client';
import type { Load } from './load.ts';
import { nowMs } from './recorder.ts';
import type { World } from './world.ts';

/** After so long it is not slow, it does not recover. */
const GIVE_UP_MS = 90_000;
const ATTEMPT_MS = 3000;
const PAUSE_MS = 50;

export interface Recovery {
  /** From the last heal until everything worked again. */
  readonly ms: number;
  /** What took longest: `writes on shard 2`, `reads at member 1 on shard 0`, `member 3 ready`. */
  readonly last: string;
  /** What never came back. */
  readonly missing: readonly string[];
}

/**
 * Waits until every shard takes writes, every member answers linearizable reads of every shard, and every member is ready: each
 * asked for anew from now on.
 */
export async function untilRecovered(
  world: World,
  load: Load,
  client: KvorumClient,
  healedMs: number,
): Promise<Recovery> {
  const waits: Promise<{ readonly what: string; readonly ms: number | undefined }>[] = [];
  const wait = (what: string, attempt: () => Promise<boolean>): void => {
    waits.push(until(world, attempt).then((at) => ({ what, ms: at && at - healedMs })));
  };
  for (const shard of load.shards) {
    wait(`writes on shard ${shard}`, () => load.writeOnce(client, shard, ATTEMPT_MS));
    for (let member = 0; member < world.members.size; member += 1) {
      wait(`reads at member ${member + 1} on shard ${shard}`, () =>
        load.readOnce(member, shard, ATTEMPT_MS),
      );
    }
  }
  for (const [i, endpoint] of world.members.endpoints.entries()) {
    wait(`member ${i + 1} ready`, () => isReady(endpoint));
  }
  const ended = await Promise.all(waits);
  const missing = ended.flatMap(({ what, ms }) => (ms === undefined ? [what] : []));
  const slowest = ended.reduce((a, b) => ((b.ms ?? GIVE_UP_MS) > (a.ms ?? GIVE_UP_MS) ? b : a));
  return { ms: Math.round(slowest.ms ?? GIVE_UP_MS), last: slowest.what, missing };
}

/** When it first succeeded. */
async function until(world: World, attempt: () => Promise<boolean>): Promise<number | undefined> {
  const untilMs = nowMs() + GIVE_UP_MS;
  while (nowMs() < untilMs) {
    if (await attempt()) return nowMs();
    await world.pause(PAUSE_MS);
  }
  return undefined;
}

async function isReady(endpoint: string): Promise<boolean> {
  const signal = AbortSignal.timeout(ATTEMPT_MS);
  const answer = await fetch(`${endpoint}/readyz`, { signal }).catch(() => undefined);
  return answer?.ok ?? false;
}
